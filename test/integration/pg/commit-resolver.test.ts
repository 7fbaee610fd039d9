import { afterEach, describe, expect, it } from 'vitest';
import { UNKNOWN_LINEAGE } from '../../../src/pg/lineage.ts';
import { parseLsn } from '../../../src/pg/lsn.ts';
import type { PostgresClusterOptions } from '../../support/postgres-cluster.ts';
import type { PostgresNode } from '../../support/postgres-node.ts';
import type { MarkedTransaction } from '../../support/resolver-lab.ts';
import { ResolverLab } from '../../support/resolver-lab.ts';
import { waitFor } from '../../support/wait-for.ts';

const SAVEPOINTS = [
  'SAVEPOINT kept',
  `INSERT INTO note VALUES ('$note')`,
  'RELEASE kept',
  'SAVEPOINT undone',
  'INSERT INTO other VALUES (1)',
];

let lab: ResolverLab;

async function start(options?: PostgresClusterOptions): Promise<ResolverLab> {
  lab = await ResolverLab.start(options);
  return lab;
}

afterEach(async () => {
  await lab.stop();
});

/** Commits on the primary, whose standbys do not get it, and loses the primary. */
async function commitAndLose(transaction: MarkedTransaction): Promise<PostgresNode> {
  const { cluster } = lab;
  await cluster.primary.freezeWalSender();
  await transaction.client.query('COMMIT');
  await cluster.primary.kill();
  return await cluster.failover();
}

// The letters are those of the experiments that found the ways to go wrong; A3 to A5 are the design review's.
describe('a COMMIT in doubt after the promotion of a standby', () => {
  it('is committed if the standby had it (c), also if the mark was taken in a savepoint that was undone (f)', async () => {
    const { cluster } = await start();
    const plain = await lab.begin(cluster.primary);
    const nested = await lab.begin(cluster.primary, { statements: SAVEPOINTS });
    await nested.client.query('ROLLBACK TO undone');
    await plain.client.query('COMMIT');
    await nested.client.query('COMMIT');
    await cluster.waitForReplay();
    await cluster.primary.kill();
    const next = await cluster.failover();
    for (const transaction of [plain, nested]) {
      expect(await lab.resolve(transaction, next)).toEqual({ outcome: 'committed', reason: 'shared-log' });
      expect(await lab.isThere(transaction, next)).toBe(true);
    }
  });

  it('is not committed if it never reached the server (d)', async () => {
    const { cluster } = await start();
    const open = await lab.begin(cluster.primary);
    const other = await lab.begin(cluster.primary);
    await other.client.query('COMMIT'); // Flushes the mark of the open one as well.
    await cluster.waitForReplay();
    await cluster.primary.kill();
    const next = await cluster.failover();
    expect(await lab.resolve(open, next)).toEqual({ outcome: 'not-committed', reason: 'status-aborted' });
  });

  it('is not committed if the standby lacks it, though another transaction has its xid and is committed (b2)', async () => {
    const { cluster } = await start();
    const lost = await lab.begin(cluster.primary);
    const next = await commitAndLose(lost);
    await lab.useUp(lost.mark.xid, next);
    expect(await lab.statusOf(lost.mark.xid, next)).toBe('committed');
    expect(await lab.isThere(lost, next)).toBe(false);
    expect(await lab.resolve(lost, next)).toEqual({
      outcome: 'not-committed',
      reason: 'switched-before-mark',
    });
  });

  it('is not committed if its xid was assigned before any WAL carried it and is used again (A3)', async () => {
    const { cluster } = await start();
    const early = await lab.dial(cluster.primary);
    await early.query('BEGIN');
    await early.query('SELECT txid_current()');
    const { rows } = await early.query<{ position: string }>(
      'SELECT pg_current_wal_insert_lsn()::text AS position',
    );
    await early.query('ROLLBACK');
    await cluster.waitForReplay();
    await cluster.primary.freezeWalSender();
    const lost = await lab.begin(cluster.primary, {
      statements: ['SELECT txid_current()', `INSERT INTO note VALUES ('$note')`],
    });
    const next = await commitAndLose(lost);
    await lab.useUp(lost.mark.xid, next);
    expect(await lab.resolve(lost, next)).toEqual({
      outcome: 'not-committed',
      reason: 'switched-before-mark',
    });
    // The position alone, without a record of this xid before it, would have been believed.
    const bare = { ...lost, mark: { ...lost.mark, lsn: parseLsn(rows[0]!.position) } };
    expect(await lab.resolve(bare, next)).toMatchObject({ outcome: 'committed' });
  });

  it('is never called committed if the promoted server itself crashed and recovered (j)', async () => {
    const { cluster } = await start();
    const lost = await lab.begin(cluster.primary);
    const next = await commitAndLose(lost);
    await lab.useUp(lost.mark.xid, next);
    await lab.crash(next);
    expect(await lab.statusOf(lost.mark.xid, next)).toBe('committed');
    expect(await lab.resolve(lost, next)).toEqual({ outcome: 'unknown', reason: 'lineage-unproved' });
    // Who may read the history of the timelines knows it for sure.
    expect(await lab.resolve(lost, next, { config: next.superuserConfig() })).toEqual({
      outcome: 'not-committed',
      reason: 'switched-before-mark',
    });
  });

  it('is committed on a promoted server that crashed later, if its promotion had been seen', async () => {
    const { cluster } = await start();
    const kept = await lab.begin(cluster.primary);
    await kept.client.query('COMMIT');
    await cluster.waitForReplay();
    await cluster.primary.kill();
    const next = await cluster.failover();
    await lab.watch();
    await lab.useUp(kept.mark.xid, next);
    await lab.crash(next);
    expect(await lab.resolve(kept, next)).toEqual({ outcome: 'committed', reason: 'shared-log' });
    expect(await lab.isThere(kept, next)).toBe(true);
  });

  it('is known after a second promotion, if standbys were watched (i)', async () => {
    const { cluster } = await start({ standbys: 2 });
    const [first, ...others] = cluster.nodes;
    const kept = await lab.begin(first!);
    await kept.client.query('COMMIT');
    await cluster.waitForReplay();
    await first!.freezeWalSender();
    const lost = await lab.begin(first!);
    await lost.client.query('COMMIT');
    await first!.kill();
    const second = await cluster.failover();
    await lab.watch();
    await lab.useUp(lost.mark.xid, second);
    const keptOnSecond = await lab.begin(second);
    await keptOnSecond.client.query('COMMIT');
    await cluster.waitForReplay();
    await second.kill();
    const third = await cluster.failover();
    expect(others).toContain(third);

    for (const transaction of [kept, keptOnSecond]) {
      expect(await lab.resolve(transaction, third)).toEqual({ outcome: 'committed', reason: 'shared-log' });
      expect(await lab.isThere(transaction, third)).toBe(true);
    }
    expect(await lab.statusOf(lost.mark.xid, third)).toBe('committed');
    expect(await lab.resolve(lost, third)).toEqual({ outcome: 'unknown', reason: 'lineage-unproved' });
    expect(await lab.isThere(lost, third)).toBe(false);
    // Who saw nothing of all that proves nothing, unless the history can be read.
    const blind = { lineage: UNKNOWN_LINEAGE };
    expect(await lab.resolve(kept, third, blind)).toEqual({ outcome: 'unknown', reason: 'lineage-unproved' });
    expect(await lab.resolve(lost, third, { config: third.superuserConfig() })).toMatchObject({
      outcome: 'not-committed',
    });
  });

  // Two standbys, promoted one after the other, the second of which never followed the first: with a WAL archive in
  // common it takes the number after the first one's timeline, and is taken for its successor by every number it shows.
  it('is not believed by a server on the next timeline that does not follow the captured one', async () => {
    const { cluster } = await start({ standbys: 2 });
    const [first, behind, ahead] = cluster.nodes as [PostgresNode, PostgresNode, PostgresNode];
    await first.freezeWalSender(behind);
    const old = await lab.begin(first);
    await old.client.query('INSERT INTO other SELECT generate_series(1, 10000)');
    await old.client.query('COMMIT');
    await waitFor(async () => await lab.isThere(old, ahead));
    await first.kill();
    await behind.promote();
    await lab.watch();
    const lost = await lab.begin(behind);
    await lost.client.query('COMMIT');
    const { rows } = await behind.query<{ history: string }>(
      `SELECT pg_read_file('pg_wal/00000002.history') AS history`,
    );
    await behind.kill();
    await ahead.writeDataFile('00000002.history', rows[0]!.history);
    await ahead.configure({ restore_command: 'cp %f %p' });
    await ahead.promote();

    expect(lost.mark.xid).toBe(old.mark.xid);
    expect(await lab.statusOf(lost.mark.xid, ahead)).toBe('committed');
    expect(await lab.isThere(lost, ahead)).toBe(false);
    await lab.watch();
    expect(lab.lineage.timelines.get(3)).toMatchObject({ host: ahead.name, followsPrevious: false });
    expect(lab.lineage.timelines.get(3)!.start! > lost.mark.lsn).toBe(true);
    expect(await lab.resolve(lost, ahead)).toEqual({ outcome: 'unknown', reason: 'lineage-unproved' });
    expect(await lab.resolve(lost, ahead, { config: ahead.superuserConfig() })).toEqual({
      outcome: 'unknown',
      reason: 'not-an-ancestor',
    });
  });

  it('knows a PREPARE TRANSACTION by its identifier (e)', async () => {
    const { cluster } = await start();
    const prepared = await lab.begin(cluster.primary);
    const never = await lab.begin(cluster.primary);
    await prepared.client.query(`PREPARE TRANSACTION 'one'`);
    await cluster.waitForReplay();
    await cluster.primary.kill();
    const next = await cluster.failover();
    expect(await lab.resolve(prepared, next, { preparedAs: 'one' })).toEqual({
      outcome: 'committed',
      reason: 'shared-log',
    });
    expect(await lab.resolve(prepared, next, { preparedAs: 'other', millis: 200 })).toMatchObject({
      outcome: 'unknown',
    });
    expect(await lab.resolve(never, next, { preparedAs: 'two' })).toMatchObject({ outcome: 'not-committed' });
  });
});
