import { describe, expect, it } from 'vitest';
import type { FailoverFailed } from '../../../src/events.ts';
import type { WatchedClient } from '../../support/failover-lab.ts';
import { FailoverLab } from '../../support/failover-lab.ts';
import { rejectionOf, settle } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

/** Enough for a dozen rounds of asking. */
const TIMEOUT_MILLIS = 800;

describe('all hosts are dead and the deadline passes', () => {
  const lab = FailoverLab.forThisSuite({ standbys: 0 });

  async function connect(): Promise<WatchedClient> {
    return await lab.connect({ failover: { timeoutMillis: TIMEOUT_MILLIS } });
  }

  async function killAll(): Promise<void> {
    await lab.primary.kill();
  }

  it('rejects the waiting statement with the reason, and then ends as pg does', async () => {
    const client = await connect();
    const failed: FailoverFailed[] = [];
    client.failover!.on('failoverFailed', (event) => failed.push(event));
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    await killAll();
    const error = await rejectionOf(client.query(`INSERT INTO note VALUES ('b')`));
    expect(error).toMatchObject({ code: '08006', kind: 'failover-failed' });
    expect(error.message).toContain(`${TIMEOUT_MILLIS} ms`);
    expect(error.message).toContain(`${lab.proxy.host}:${lab.proxy.port} refuses`);
    expect((error as { cause?: unknown }).cause).toBeInstanceOf(Error);
    await waitFor(() => client.seen.ends === 1);
    expect((await rejectionOf(client.query('SELECT 1'))).message).toBe(
      'Client has encountered a connection error and is not queryable',
    );
    expect(client.seen.errors.length).toBeLessThanOrEqual(2);
    expect(client.seen.errors.length).toBeGreaterThanOrEqual(1);
    expect(failed).toHaveLength(1);
    expect(failed[0]!.durationMillis).toBeGreaterThanOrEqual(TIMEOUT_MILLIS * 0.9);
    await lab.primary.start();
    expect(await lab.notes()).toEqual([]);
  });

  it('tells an open transaction without a waiting statement by the events that pg has', async () => {
    const client = await connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    await killAll();
    await waitFor(() => client.seen.ends === 1);
    expect(client.seen.errors[0]).toMatchObject({ code: '08006' });
    await lab.primary.start();
    expect(await lab.notes()).toEqual([]);
  });

  it("gives the server's own last words as the cause", async () => {
    const client = await connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    const pending = rejectionOf(client.query('SELECT pg_sleep(60)'));
    await waitFor(async () => {
      const { rowCount } = await lab.primary.query(
        `SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'`,
      );
      return rowCount === 1;
    });
    await lab.primary.stop('fast');
    const error = await pending;
    expect(error).toMatchObject({ code: '08006', kind: 'failover-failed' });
    expect((error as { cause?: unknown }).cause).toMatchObject({ code: '57P01', severity: 'FATAL' });
    await waitFor(() => client.seen.ends === 1);
    await lab.primary.start();
  });

  it('says of a COMMIT in flight that its outcome is unknown', async () => {
    const client = await connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    lab.proxy.onBackendMessage = (type, body) => {
      if (type !== 'C' || !body.includes('COMMIT')) return undefined;
      void lab.proxy.refuse();
      return 'cut-before';
    };
    const error = await rejectionOf(client.query('COMMIT'));
    expect(error).toMatchObject({ code: '08007', kind: 'outcome-unknown', outcome: 'unknown' });
    expect((error as { cause?: unknown }).cause).toMatchObject({ code: '08006' });
    await waitFor(() => client.seen.ends === 1);
    expect(await lab.notes()).toEqual(['a']);
  });

  it('says of an autocommit write in flight that its outcome is unknown', async () => {
    const client = await connect();
    lab.proxy.onBackendMessage = (type, body) => {
      if (type !== 'C' || !body.includes('INSERT')) return undefined;
      void lab.proxy.refuse();
      return 'cut-before';
    };
    const error = await rejectionOf(client.query(`INSERT INTO note VALUES ('a')`));
    expect(error).toMatchObject({ code: '08007', outcome: 'unknown' });
    expect(await lab.notes()).toEqual(['a']);
  });

  it('says of each statement in line that it failed', async () => {
    const client = await connect();
    await killAll();
    const pending = ['a', 'b', 'c'].map((text) =>
      settle(client.query('INSERT INTO note VALUES ($1)', [text])),
    );
    const results = await Promise.all(pending);
    for (const { error } of results) expect(error).toBeInstanceOf(Error);
    await lab.primary.start();
    expect(await lab.notes()).toEqual([]);
  });

  it('leaves an idle client alone, which goes on when the server is back', async () => {
    const client = await connect();
    await client.query(`INSERT INTO note VALUES ('a')`);
    await killAll();
    await expect(
      rejectionOf(lab.connect({ failover: { timeoutMillis: TIMEOUT_MILLIS } })),
    ).resolves.toBeInstanceOf(Error);
    await lab.primary.start();
    await client.query(`INSERT INTO note VALUES ('b')`);
    expect(await lab.notes()).toEqual(['a', 'b']);
    expect(client.seen.isQuiet).toBe(true);
  });

  it('lets a pool drop the client and serve again when the server is back', async () => {
    const pool = lab.pool({ max: 2, failover: { timeoutMillis: TIMEOUT_MILLIS } });
    const client = await pool.connect();
    client.on('error', () => undefined);
    await client.query('BEGIN');
    await killAll();
    expect(await rejectionOf(client.query('SELECT 1'))).toMatchObject({ code: '08006' });
    client.release();
    await lab.primary.start();
    await pool.query(`INSERT INTO note VALUES ('b')`);
    expect(await lab.notes()).toEqual(['b']);
    expect(pool.totalCount).toBe(1);
  });

  it('gives plain pg’s error for a first connect, and waits for nothing', async () => {
    await killAll();
    // A list of hosts that this process has never worked with.
    const { port } = lab.primary;
    const error = await rejectionOf(
      lab.connect({ connectionString: `postgres://app:app@localhost:${port}/app`, host: 'localhost' }),
    );
    expect(error).toMatchObject({ code: 'ECONNREFUSED' });
  });

  it('goes on if the server comes back just in time', async () => {
    const client = await lab.connect({ failover: { timeoutMillis: 20_000 } });
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    await lab.shipAll();
    await killAll();
    const pending = client.query(`INSERT INTO note VALUES ('b')`);
    await waitFor(() => client.failover!.snapshot().waitingSessions === 1);
    await lab.primary.start();
    await pending;
    await client.query('COMMIT');
    expect(await lab.notes()).toEqual(['a', 'b']);
  });
});
