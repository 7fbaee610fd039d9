import type pg from 'pg';
import { describe, expect, it } from 'vitest';
import type { WatchedClient } from '../../support/failover-lab.ts';
import { FailoverLab } from '../../support/failover-lab.ts';
import type { Settled } from '../../support/settle.ts';
import { settle } from '../../support/settle.ts';
import type { WatchedEvents } from '../../support/watched-events.ts';
import { waitFor } from '../../support/wait-for.ts';

type AnyClient = pg.Client & { readonly seen: WatchedEvents };

/** Review A12, rule R14: somebody meant this one session; its work is not brought back behind his back. */
describe('a session is ended on purpose and its server goes on', () => {
  const lab = FailoverLab.forThisSuite({
    standbys: 0,
    setUp: 'CREATE TABLE hot (id int); INSERT INTO hot VALUES (1)',
  });

  async function terminate(client: AnyClient): Promise<void> {
    const { processID } = client as unknown as { processID: number };
    const { rows } = await lab.primary.query('SELECT pg_terminate_backend($1, 5000) AS done', [processID]);
    expect(rows).toEqual([{ done: true }]);
  }

  function brief({ error, value }: Settled<unknown>): unknown {
    if (error === undefined) return value;
    const { code, message, severity } = error as { code?: string; message: string; severity?: string };
    return { code, message, severity };
  }

  /** Everything an application can see of it. */
  async function observe(client: AnyClient, pending: Promise<unknown>[]): Promise<unknown> {
    const answers = await Promise.all(pending.map(async (one) => brief(await settle(one))));
    await waitFor(() => client.seen.ends > 0);
    const later = brief(await settle(client.query('SELECT 1')));
    const { errors, ends, notices } = client.seen;
    return { answers, later, errors: errors.map((error) => brief({ error })), ends, notices };
  }

  const KILLS: readonly (readonly [
    name: string,
    kill: (client: AnyClient) => Promise<Promise<unknown>[]>,
  ])[] = [
    [
      'pg_terminate_backend between two statements',
      async (client) => {
        await client.query('BEGIN');
        await client.query(`INSERT INTO note VALUES ('a')`);
        await terminate(client);
        return [];
      },
    ],
    [
      'pg_terminate_backend during a statement of a transaction',
      async (client) => {
        await client.query('BEGIN');
        await client.query(`INSERT INTO note VALUES ('a')`);
        const pending = [settle(client.query('SELECT pg_sleep(60)'))];
        await waitForSleep();
        await terminate(client);
        return unsettle(pending);
      },
    ],
    [
      'pg_terminate_backend during a statement outside a transaction',
      async (client) => {
        const pending = [settle(client.query('SELECT pg_sleep(60)'))];
        await waitForSleep();
        await terminate(client);
        return unsettle(pending);
      },
    ],
    [
      'idle_in_transaction_session_timeout (25P03)',
      async (client) => {
        await client.query('BEGIN');
        await client.query(`INSERT INTO note VALUES ('a')`);
        await client.query(`SET LOCAL idle_in_transaction_session_timeout TO '50ms'`);
        await waitFor(() => client.seen.ends > 0);
        return [];
      },
    ],
    [
      'transaction_timeout (25P04) during a statement',
      async (client) => {
        await client.query('BEGIN');
        await client.query(`INSERT INTO note VALUES ('a')`);
        return [client.query(`SET LOCAL transaction_timeout TO '50ms'; SELECT pg_sleep(60)`)];
      },
    ],
    [
      'transaction_timeout (25P04) between two statements',
      async (client) => {
        await client.query('BEGIN');
        await client.query(`INSERT INTO note VALUES ('a')`);
        await client.query(`SET LOCAL transaction_timeout TO '50ms'`);
        await waitFor(() => client.seen.ends > 0);
        return [];
      },
    ],
  ];

  async function waitForSleep(): Promise<void> {
    await waitFor(async () => {
      const { rowCount } = await lab.primary.query(
        `SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'`,
      );
      return rowCount === 1;
    });
  }

  function unsettle(settled: Promise<Settled<unknown>>[]): Promise<unknown>[] {
    return settled.map(async (one) => {
      const { value, error } = await one;
      if (error !== undefined) throw error;
      return value;
    });
  }

  it.each(KILLS)('gives errors and events as stock pg does: %s', async (_name, kill) => {
    const stock = await lab.stock();
    const expected = await observe(stock, await kill(stock));
    await lab.primary.query('TRUNCATE note');
    const client = await lab.connect();
    const seen = await observe(client, await kill(client));
    expect(seen).toEqual(expected);
    expect(await lab.notes()).toEqual([]);
  });

  it('lets the pool drop the client and go on, as stock pg does', async () => {
    const pool = lab.pool({ max: 1 });
    const client = await pool.connect();
    client.on('error', () => undefined);
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    const { rows } = await client.query('SELECT pg_backend_pid() AS pid');
    await lab.primary.query('SELECT pg_terminate_backend($1, 5000)', [rows[0].pid]);
    expect(await settle(client.query(`INSERT INTO note VALUES ('b')`))).toHaveProperty('error');
    client.release();
    await pool.query(`INSERT INTO note VALUES ('c')`);
    expect(await lab.notes()).toEqual(['c']);
    expect(pool.totalCount).toBe(1);
  });

  it('reconnects a session that was idle, silently', async () => {
    const client = await lab.connect();
    await client.query(`INSERT INTO note VALUES ('a')`);
    await terminate(client);
    await client.query(`INSERT INTO note VALUES ('b')`);
    expect(await lab.notes()).toEqual(['a', 'b']);
    expect(client.seen.isQuiet).toBe(true);
  });

  it('leaves all other sessions where they are', async () => {
    const [victim, other] = [await lab.connect(), await lab.connect()];
    await other.query('BEGIN');
    const { rows: before } = await other.query('SELECT pg_backend_pid() AS pid');
    await victim.query('BEGIN');
    await terminate(victim);
    await waitFor(() => victim.seen.ends > 0);
    await other.query(`INSERT INTO note VALUES ('other')`);
    const { rows: after } = await other.query('SELECT pg_backend_pid() AS pid');
    expect(after).toEqual(before);
    await other.query('COMMIT');
    expect(await lab.notes()).toEqual(['other']);
  });

  describe(`with onTerminated: 'replay'`, () => {
    async function connect(): Promise<WatchedClient> {
      return await lab.connect({ failover: { onTerminated: 'replay' } });
    }

    it('replays after pg_terminate_backend between two statements', async () => {
      const client = await connect();
      await client.query('BEGIN');
      await client.query(`INSERT INTO note VALUES ('a')`);
      await terminate(client);
      await client.query(`INSERT INTO note VALUES ('b')`);
      await client.query('COMMIT');
      expect(await lab.notes()).toEqual(['a', 'b']);
      expect(client.seen.isQuiet).toBe(true);
    });

    it('runs the statement again that was at work', async () => {
      const client = await connect();
      await client.query('BEGIN');
      await client.query(`INSERT INTO note VALUES ('a')`);
      const pending = client.query(`INSERT INTO note SELECT 'b' FROM pg_sleep(0.3)`);
      await waitForSleep();
      await terminate(client);
      expect((await pending).rowCount).toBe(1);
      await client.query('COMMIT');
      expect(await lab.notes()).toEqual(['a', 'b']);
    });

    it('replays after transaction_timeout (25P04)', async () => {
      const client = await connect();
      await client.query('BEGIN');
      await client.query(`INSERT INTO note VALUES ('a')`);
      await client.query(`SET LOCAL transaction_timeout TO '200ms'`);
      const { processID } = client as unknown as { processID: number };
      await waitFor(async () => {
        const { rowCount } = await lab.primary.query('SELECT FROM pg_stat_activity WHERE pid = $1', [
          processID,
        ]);
        return rowCount === 0;
      });
      await client.query('SET LOCAL transaction_timeout TO 0');
      await client.query('COMMIT');
      expect(await lab.notes()).toEqual(['a']);
      expect(client.seen.isQuiet).toBe(true);
    });

    it('replays after idle_in_transaction_session_timeout', async () => {
      const client = await connect();
      await client.query('BEGIN');
      await client.query(`INSERT INTO note VALUES ('a')`);
      await client.query(`SET LOCAL idle_in_transaction_session_timeout TO '200ms'`);
      const { processID } = client as unknown as { processID: number };
      await waitFor(async () => {
        const { rowCount } = await lab.primary.query('SELECT FROM pg_stat_activity WHERE pid = $1', [
          processID,
        ]);
        return rowCount === 0;
      });
      await client.query('SET LOCAL idle_in_transaction_session_timeout TO 0');
      await client.query('COMMIT');
      expect(await lab.notes()).toEqual(['a']);
      expect(client.seen.isQuiet).toBe(true);
    });
  });

  it('brings an idle session back that idle_session_timeout has ended (57P05): nobody loses anything', async () => {
    const client = await lab.connect();
    await client.query(`SET application_name = 'patient'`);
    await client.query(`SET idle_session_timeout TO '100ms'`);
    const { accepted } = lab.proxy;
    await waitFor(() => lab.proxy.connections.length === 0);
    const { rows } = await client.query('SHOW application_name');
    expect(rows).toEqual([{ application_name: 'patient' }]);
    expect(lab.proxy.accepted).toBeGreaterThan(accepted);
    expect(client.seen.isQuiet).toBe(true);
  });
});
