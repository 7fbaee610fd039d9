import type pg from 'pg';
import { beforeEach, describe, expect, it } from 'vitest';
import { FailoverLab, type WatchedClient } from '../../support/failover-lab.ts';
import { settle } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

const UPDATE = 'UPDATE seat SET n = n + 1 WHERE id = 1';
const BARRIER_MILLIS = 1_000;
const TIMEOUTS = { timeoutMillis: 20_000, barrierTimeoutMillis: BARRIER_MILLIS };

describe('a replay does not come to its end, as somebody else holds its lock on the new primary', () => {
  const lab = FailoverLab.forThisSuite({ setUp: 'CREATE TABLE seat (id int PRIMARY KEY, n int NOT NULL)' });
  beforeEach(async () => {
    await lab.primary.query('TRUNCATE seat; INSERT INTO seat VALUES (1, 0)');
    await lab.cluster.waitForReplay();
  });

  async function begin(...work: readonly string[]): Promise<WatchedClient> {
    const client = await lab.connect({ failover: TIMEOUTS });
    for (const sql of ['BEGIN', ...work]) await client.query(sql);
    return client;
  }

  /** A standby is promoted, and the foreign session has its lock there before any of ours arrives. */
  async function replacePrimaryAndLock(): Promise<pg.Client> {
    for (const proxy of lab.standbyProxies) await proxy.refuse();
    await lab.killPrimary();
    await lab.cluster.failover();
    const foreign = await lab.stock();
    await foreign.query('BEGIN');
    await foreign.query('SELECT FROM seat WHERE id = 1 FOR UPDATE');
    return foreign;
  }

  it('a ready session goes on at the deadline of the barrier, though the replay begins again and again', async () => {
    const ready = await begin(`INSERT INTO note VALUES ('a')`);
    const blocked = await begin(`SET LOCAL lock_timeout = '100ms'`, UPDATE);
    const failed: string[] = [];
    blocked.failover!.on('replayFailed', ({ reason }) => failed.push(reason));
    const foreign = await replacePrimaryAndLock();
    const started = performance.now();
    const waiting = settle(blocked.query('COMMIT'));
    const pending = ready.query('SELECT count(*)::int AS count FROM note');
    await lab.proxy.pass();
    expect((await pending).rows).toEqual([{ count: 1 }]);
    expect(performance.now() - started).toBeLessThan(4 * BARRIER_MILLIS);
    await ready.query('COMMIT');
    await waitFor(() => failed.length >= 3, { message: 'the replay to begin again' });
    await foreign.query('ROLLBACK');
    expect((await waiting).value?.command).toBe('COMMIT');
    expect(await lab.notes()).toEqual(['a']);
  });

  it('a replay of many statements whose order matters waits for it once', async () => {
    const locks = Array.from({ length: 12 }, (_none, key) => `SELECT pg_try_advisory_xact_lock(${key})`);
    const blocked = await begin(UPDATE);
    const ready = await begin(...locks, `INSERT INTO note VALUES ('a')`);
    const foreign = await replacePrimaryAndLock();
    const started = performance.now();
    const waiting = settle(blocked.query('COMMIT'));
    const pending = ready.query('COMMIT');
    await lab.proxy.pass();
    expect((await pending).command).toBe('COMMIT');
    expect(performance.now() - started).toBeLessThan(4 * BARRIER_MILLIS);
    await foreign.query('ROLLBACK');
    expect((await waiting).value?.command).toBe('COMMIT');
    expect(await lab.notes()).toEqual(['a']);
  });
});
