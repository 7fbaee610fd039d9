import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import type { LostCommit } from '../../../src/events.ts';
import type { Client, Pool } from '../../../src/pg.ts';
import { FailoverLab } from '../../support/failover-lab.ts';

/** The events of one client or pool, in order. */
function lostOf(application: Client | Pool): LostCommit[] {
  const lost: LostCommit[] = [];
  application.failover!.on('lostCommit', (event) => lost.push(event));
  return lost;
}

/** From now on nothing reaches the standbys any more; then the primary dies, and one of them takes its place. */
async function loseFromHere(lab: FailoverLab, work: () => Promise<unknown>): Promise<void> {
  await lab.shipAll();
  await lab.primary.freezeWalSender();
  await work();
  await lab.primary.kill();
  await lab.cluster.failover();
}

describe('an acknowledged transaction that the promoted standby lacks', () => {
  const lab = FailoverLab.forThisSuite();

  it('is reported, with its statements, before its session goes on', async () => {
    const client = await lab.connect();
    const lost = lostOf(client);
    await loseFromHere(lab, async () => {
      await client.query('BEGIN');
      await client.query('INSERT INTO note VALUES ($1)', ['secret value']);
      await client.query(`INSERT INTO note VALUES ('b')`);
      await client.query('COMMIT');
    });
    await client.query(`INSERT INTO note VALUES ('later')`);
    expect(lost).toHaveLength(1);
    expect(lost[0]).toMatchObject({
      outcome: 'lost',
      statements: ['BEGIN', 'INSERT INTO note VALUES ($1)', `INSERT INTO note VALUES ('b')`, 'COMMIT'],
    });
    expect(lost[0]!.parameters()).toEqual([[], ['secret value'], [], []]);
    expect(inspect(lost[0], { depth: null, showHidden: true })).not.toContain('secret value');
    expect(JSON.stringify(lost[0])).not.toContain('secret value');
    expect(await lab.notes()).toEqual(['later']);
    expect(client.failover!.snapshot()).toMatchObject({ commitsLost: 1, commitsMaybeLost: 0 });
  });

  it('is not reported if the standby had it', async () => {
    const client = await lab.connect();
    const lost = lostOf(client);
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    await client.query('COMMIT');
    await lab.replacePrimary();
    await client.query(`INSERT INTO note VALUES ('later')`);
    expect(await lab.notes()).toEqual(['a', 'later']);
    expect(lost).toEqual([]);
  });
});
