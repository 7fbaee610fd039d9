import type pg from 'pg';
import { beforeEach, describe, expect, it } from 'vitest';
import type { FailoverOptions } from '../../../src/options.ts';
import { FailoverLab, type WatchedClient } from '../../support/failover-lab.ts';
import { rejectionOf, settle } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

const LOCK = 'SELECT FROM seat WHERE id = 1 FOR UPDATE';
const UPDATE = 'UPDATE seat SET n = n + 1 WHERE id = 1 RETURNING n';
const SHORT_BARRIER_MILLIS = 200;

/** Decision 0003: a replay has no lock timeout of its own. It waits as the statement itself would. */
describe('somebody else holds a lock on the new primary that a replay needs', () => {
  const lab = FailoverLab.forThisSuite({ setUp: 'CREATE TABLE seat (id int PRIMARY KEY, n int NOT NULL)' });
  beforeEach(async () => {
    await lab.primary.query('TRUNCATE seat; INSERT INTO seat SELECT id, 0 FROM generate_series(1, 3) AS id');
    await lab.cluster.waitForReplay();
  });

  async function begin(work: string, failover: FailoverOptions = {}): Promise<WatchedClient> {
    const client = await lab.connect({
      failover: { timeoutMillis: 20_000, barrierTimeoutMillis: SHORT_BARRIER_MILLIS, ...failover },
      application_name: 'holdfast-session',
    });
    await client.query('BEGIN');
    await client.query(work);
    return client;
  }

  /** A standby is promoted, and the foreign session takes its lock there before any of ours arrives. */
  async function replacePrimaryAndLock(sql = LOCK): Promise<pg.Client> {
    for (const proxy of lab.standbyProxies) await proxy.refuse();
    await lab.killPrimary();
    await lab.cluster.failover();
    const foreign = await lab.stock({ application_name: 'foreign' });
    await foreign.query('BEGIN');
    await foreign.query(sql);
    await lab.proxy.pass();
    return foreign;
  }

  async function lockWaiters(): Promise<number> {
    const { rowCount } = await lab.primary.query(
      `SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'holdfast-session'`,
    );
    return rowCount!;
  }

  async function waitForReplayToWait(): Promise<void> {
    await waitFor(async () => (await lockWaiters()) === 1, { message: 'the replay to wait for the lock' });
  }

  async function seats(): Promise<number[]> {
    const { rows } = await lab.primary.query<{ n: number }>('SELECT n FROM seat ORDER BY id');
    return rows.map(({ n }) => n);
  }

  it.each([
    ['a row', LOCK, UPDATE],
    ['a table', 'LOCK TABLE seat IN ACCESS EXCLUSIVE MODE', UPDATE],
    ['an advisory lock', 'SELECT pg_advisory_xact_lock(7)', 'SELECT pg_advisory_xact_lock(7)'],
    ['a key', 'INSERT INTO seat VALUES (9, 9)', 'INSERT INTO seat VALUES (9, 1)'],
  ])('waits for %s, and goes on when it is given back', async (_what, lock, work) => {
    const client = await begin(work);
    const other = await begin(`INSERT INTO note VALUES ('other')`);
    const foreign = await replacePrimaryAndLock(lock);
    const failed: string[] = [];
    client.failover!.on('replayFailed', ({ reason }) => failed.push(reason));
    let isAnswered = false;
    const pending = settle(client.query(`INSERT INTO note VALUES ('a')`)).finally(() => {
      isAnswered = true;
    });
    // The deadline of the barrier, which this one has waited for, is not that of the replay.
    await other.query('COMMIT');
    await waitForReplayToWait();
    expect(isAnswered).toBe(false);
    await foreign.query('ROLLBACK');
    expect((await pending).error).toBeUndefined();
    expect(failed).toEqual([]);
    await client.query('COMMIT');
    expect(await lab.notes()).toEqual(['a', 'other']);
    expect(client.failover!.snapshot()).toMatchObject({ waitingSessions: 0 });
    expect(client.seen.isQuiet).toBe(true);
  });

  it('waits in front of a COMMIT that was given after the loss, which then takes effect once', async () => {
    const client = await begin(UPDATE);
    const foreign = await replacePrimaryAndLock();
    const pending = settle(client.query('COMMIT'));
    await waitForReplayToWait();
    await foreign.query('ROLLBACK');
    expect((await pending).value?.command).toBe('COMMIT');
    expect(await seats()).toEqual([1, 0, 0]);
  });

  it('does not go on if the row is another one when the lock is given back', async () => {
    const client = await begin(UPDATE);
    const foreign = await replacePrimaryAndLock();
    const pending = settle(client.query(`INSERT INTO note VALUES ('a')`));
    await waitForReplayToWait();
    await foreign.query('UPDATE seat SET n = 10 WHERE id = 1');
    await foreign.query('COMMIT');
    expect((await pending).error).toMatchObject({
      code: '40001',
      kind: 'replay-diverged',
      outcome: 'rolled-back',
    });
    await client.query('ROLLBACK');
    expect(await seats()).toEqual([10, 0, 0]);
    expect(await lab.notes()).toEqual([]);
  });

  it('lets the others go on at the deadline of the barrier', async () => {
    const waiting = await begin(UPDATE);
    const other = await begin('UPDATE seat SET n = n + 1 WHERE id = 2 RETURNING n');
    const foreign = await replacePrimaryAndLock();
    const pending = settle(waiting.query('COMMIT'));
    await other.query('COMMIT');
    expect(await seats()).toEqual([0, 1, 0]);
    await waitForReplayToWait();
    await foreign.query('ROLLBACK');
    expect((await pending).value?.command).toBe('COMMIT');
    expect(await seats()).toEqual([1, 1, 0]);
  });

  it('leaves the settings of the transaction as they were, behind its savepoints too', async () => {
    const client = await begin(UPDATE);
    await client.query('SAVEPOINT before_loss');
    const foreign = await replacePrimaryAndLock();
    const pending = client.query('SHOW lock_timeout');
    await waitForReplayToWait();
    await foreign.query('ROLLBACK');
    expect((await pending).rows).toEqual([{ lock_timeout: '0' }]);
    await client.query('ROLLBACK TO before_loss');
    expect((await client.query('SHOW lock_timeout')).rows).toEqual([{ lock_timeout: '0' }]);
    await client.query('COMMIT');
    expect((await client.query('SHOW lock_timeout')).rows).toEqual([{ lock_timeout: '0' }]);
  });

  it('begins again after a lock_timeout of the transaction itself, until the lock is free (R10)', async () => {
    const client = await lab.connect({ application_name: 'holdfast-session' });
    const failed: string[] = [];
    client.failover!.on('replayFailed', ({ reason }) => failed.push(reason));
    await client.query('BEGIN');
    await client.query(`SET LOCAL lock_timeout TO '50ms'`);
    await client.query(UPDATE);
    const foreign = await replacePrimaryAndLock();
    const pending = settle(client.query('COMMIT'));
    await waitFor(() => failed.length >= 2);
    expect(new Set(failed)).toEqual(new Set(['SQLSTATE 55P03']));
    await foreign.query('ROLLBACK');
    expect((await pending).value?.command).toBe('COMMIT');
    expect(await seats()).toEqual([1, 0, 0]);
    expect(client.seen.isQuiet).toBe(true);
  });

  describe('beyond failover.timeoutMillis', () => {
    const TIMEOUT_MILLIS = 1_500;

    async function ourBackends(): Promise<number> {
      const { rowCount } = await lab.primary.query(
        `SELECT FROM pg_stat_activity WHERE application_name = 'holdfast-session'`,
      );
      return rowCount!;
    }

    it.each([
      ['a statement', `INSERT INTO note VALUES ('a')`],
      ['a COMMIT', 'COMMIT'],
    ])('rejects %s with FailoverFailedError, and nothing of it takes effect', async (_what, sql) => {
      const client = await begin(UPDATE, { timeoutMillis: TIMEOUT_MILLIS });
      const foreign = await replacePrimaryAndLock();
      expect(await rejectionOf(client.query(sql))).toMatchObject({
        code: '08006',
        kind: 'failover-failed',
        outcome: 'not-executed',
      });
      await waitFor(() => client.seen.ends === 1);
      await foreign.query('ROLLBACK');
      await waitFor(async () => (await ourBackends()) === 0);
      expect(await seats()).toEqual([0, 0, 0]);
      expect(await lab.notes()).toEqual([]);
    });

    it('leaves nothing open on the server, though the lock is still held', async () => {
      const client = await begin('UPDATE seat SET n = n + 1 WHERE id = 2', { timeoutMillis: TIMEOUT_MILLIS });
      await client.query(UPDATE);
      const foreign = await replacePrimaryAndLock();
      const pending = rejectionOf(client.query('COMMIT'));
      await waitForReplayToWait();
      await pending;
      // What was replayed before the lock would keep its own locks, so that the application could not try again.
      await waitFor(async () => (await ourBackends()) === 0, { message: 'the replay to end on the server' });
      const { rowCount } = await foreign.query('SELECT FROM seat WHERE id = 2 FOR UPDATE NOWAIT');
      expect(rowCount).toBe(1);
    });

    it('does not say that no server was found', async () => {
      const client = await begin(UPDATE, { timeoutMillis: TIMEOUT_MILLIS });
      await replacePrimaryAndLock();
      const { message } = await rejectionOf(client.query('COMMIT'));
      expect(message).toContain(`${TIMEOUT_MILLIS} ms`);
      expect(message).not.toContain('no host can be the primary');
      expect(message).not.toContain('no host was asked yet');
    });
  });
});
