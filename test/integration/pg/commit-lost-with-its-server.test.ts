import { describe, expect, it } from 'vitest';
import type { CommitResolved } from '../../../src/events.ts';
import type { WatchedClient } from '../../support/failover-lab.ts';
import { FailoverLab } from '../../support/failover-lab.ts';
import { loseAnswers, onMessage } from '../../support/on-message.ts';
import { settle } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

describe('the primary is lost around a COMMIT', () => {
  const lab = FailoverLab.forThisSuite();

  async function beginWork(): Promise<WatchedClient & { readonly verdicts: string[] }> {
    const client = await lab.connect();
    const verdicts: string[] = [];
    client.failover!.on('commitResolved', ({ outcome }: CommitResolved) => verdicts.push(outcome));
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    await client.query(`INSERT INTO note VALUES ('b')`);
    return Object.assign(client, { verdicts });
  }

  async function goesOn(client: WatchedClient): Promise<void> {
    await client.query(`INSERT INTO note VALUES ('later')`);
    expect(await lab.notes()).toEqual(['a', 'b', 'later']);
    expect(client.seen.isQuiet).toBe(true);
  }

  it('commits once if COMMIT was given after the loss', async () => {
    const client = await beginWork();
    await lab.replacePrimary();
    expect((await client.query('COMMIT')).command).toBe('COMMIT');
    expect(client.verdicts).toEqual([]);
    await goesOn(client);
  });

  it('commits once if COMMIT never reached the server', async () => {
    const client = await beginWork();
    const sent = onMessage(lab.proxy, { from: 'client', type: 'Q', text: 'COMMIT' }, 'drop');
    const commit = client.query('COMMIT');
    await sent;
    await lab.replacePrimary();
    expect((await commit).command).toBe('COMMIT');
    expect(client.verdicts).toEqual(['not-committed']);
    await goesOn(client);
  });

  it('commits once if it was committed, and the standby had it, before the acknowledgement', async () => {
    const client = await beginWork();
    const lost = onMessage(lab.proxy, { from: 'server', type: 'C', text: 'COMMIT' }, (from) =>
      loseAnswers(lab.proxy, from),
    );
    const commit = client.query('COMMIT');
    await lost;
    await lab.replacePrimary();
    expect((await commit).command).toBe('COMMIT');
    expect(client.verdicts).toEqual(['committed']);
    await goesOn(client);
  });

  it('commits once if it was committed, and the standby did not have it, before the acknowledgement', async () => {
    const client = await beginWork();
    await lab.shipAll();
    await lab.primary.freezeWalSender();
    const lost = onMessage(lab.proxy, { from: 'server', type: 'C', text: 'COMMIT' }, (from) =>
      loseAnswers(lab.proxy, from),
    );
    const commit = client.query('COMMIT');
    await lost;
    expect(await lab.notes()).toEqual(['a', 'b']);
    await lab.primary.kill();
    await lab.cluster.failover();
    expect((await commit).command).toBe('COMMIT');
    expect(client.verdicts).toEqual(['not-committed']);
    await goesOn(client);
  });

  it('commits once if nothing of the transaction had reached the standby', async () => {
    await lab.primary.freezeWalSender();
    const client = await beginWork();
    const lost = onMessage(lab.proxy, { from: 'server', type: 'C', text: 'COMMIT' }, (from) =>
      loseAnswers(lab.proxy, from),
    );
    const commit = client.query('COMMIT');
    await lost;
    await lab.primary.kill();
    await lab.cluster.failover();
    expect((await commit).command).toBe('COMMIT');
    expect(client.verdicts).toEqual(['not-committed']);
    await goesOn(client);
  });

  it('believes the tag if it is lost between CommandComplete and ReadyForQuery', async () => {
    const client = await beginWork();
    const lost = onMessage(lab.proxy, { from: 'server', type: 'Z' }, (from) => loseAnswers(lab.proxy, from));
    const commit = client.query('COMMIT');
    await lost;
    await lab.replacePrimary();
    expect((await commit).command).toBe('COMMIT');
    await goesOn(client);
  });

  it('commits once a transaction of one statement with parameters, whose mark came with it', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query('INSERT INTO note VALUES ($1), ($2)', ['a', 'b']);
    const lost = onMessage(lab.proxy, { from: 'server', type: 'C', text: 'COMMIT' }, (from) =>
      loseAnswers(lab.proxy, from),
    );
    const commit = client.query('COMMIT');
    await lost;
    await lab.replacePrimary();
    expect((await commit).command).toBe('COMMIT');
    await goesOn(client);
  });

  it('ends a transaction that only read, without looking for what became of it', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query('SELECT text FROM note');
    const sent = onMessage(lab.proxy, { from: 'client', type: 'Q', text: 'COMMIT' }, 'drop');
    const commit = client.query('COMMIT');
    await sent;
    await lab.replacePrimary();
    expect((await commit).command).toBe('COMMIT');
    expect(client.failover!.snapshot()).toMatchObject({ commitsUnknown: 0 });
  });

  it('rolls back if the lost statement was ROLLBACK', async () => {
    const client = await beginWork();
    const sent = onMessage(lab.proxy, { from: 'client', type: 'Q', text: 'ROLLBACK' }, 'drop');
    const rollback = client.query('ROLLBACK');
    await sent;
    await lab.replacePrimary();
    expect((await rollback).command).toBe('ROLLBACK');
    await client.query(`INSERT INTO note VALUES ('later')`);
    expect(await lab.notes()).toEqual(['later']);
  });

  it('never guesses: a server that crashed and came back may have lost it', async () => {
    const client = await beginWork();
    const lost = onMessage(lab.proxy, { from: 'server', type: 'C', text: 'COMMIT' }, (from) =>
      loseAnswers(lab.proxy, from),
    );
    const commit = settle(client.query('COMMIT'));
    await lost;
    await lab.primary.kill();
    await lab.primary.start();
    const { value, error } = await commit;
    // After crash recovery 'committed' can't be proved (A4); what is in the table must fit in any case.
    expect(value).toBeUndefined();
    expect(error).toMatchObject({ code: '08007', kind: 'outcome-unknown', outcome: 'unknown' });
    expect(await lab.notes()).toEqual(['a', 'b']);
    await goesOn(client);
  });

  it('commits once if the server crashed before COMMIT came and is back', async () => {
    const client = await beginWork();
    await lab.shipAll();
    const sent = onMessage(lab.proxy, { from: 'client', type: 'Q', text: 'COMMIT' }, 'drop');
    const commit = client.query('COMMIT');
    await sent;
    await lab.primary.kill();
    await lab.primary.start();
    expect((await commit).command).toBe('COMMIT');
    expect(client.verdicts).toEqual(['not-committed']);
    await goesOn(client);
  });

  it('resolves many at once, each by itself', async () => {
    const clients = await Promise.all(Array.from({ length: 12 }, async () => await lab.connect()));
    for (const [i, client] of clients.entries()) {
      await client.query('BEGIN');
      await client.query('INSERT INTO note VALUES ($1)', [`c${String(i).padStart(2, '0')}`]);
    }
    // Half of the COMMITs reach the server, no answer reaches a client.
    let commits = 0;
    lab.proxy.onFrontendMessage = (type, body) =>
      type === 'Q' && body.includes('COMMIT') && commits++ % 2 === 0 ? 'drop' : undefined;
    lab.proxy.onBackendMessage = () => 'drop';
    const pending = clients.map((client) => client.query('COMMIT'));
    await waitFor(
      async () => commits === clients.length && (await lab.notes()).length === clients.length / 2,
    );
    const { proxy } = lab;
    await lab.replacePrimary();
    const results = await Promise.all(pending);
    await proxy.reset();
    expect(results.map(({ command }) => command)).toEqual(clients.map(() => 'COMMIT'));
    expect(await lab.notes()).toEqual(clients.map((_, i) => `c${String(i).padStart(2, '0')}`));
  });
});
