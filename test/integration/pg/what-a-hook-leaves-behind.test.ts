import type pg from 'pg';
import { to as copyTo } from 'pg-copy-streams';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { OnReconnect } from '../../../src/options.ts';
import { FailoverLab, type WatchedClient } from '../../support/failover-lab.ts';
import { waitFor } from '../../support/wait-for.ts';

const backendOf = (client: WatchedClient): number =>
  (client as unknown as { readonly processID: number }).processID;

/** At run time it is a client of pg. */
const clientOf = (session: Parameters<OnReconnect>[0]): pg.ClientBase => session as unknown as pg.ClientBase;

describe('a hook that rebuilds a session leaves something else behind', () => {
  const lab = FailoverLab.forThisSuite({ standbys: 0 });
  const unhandled: unknown[] = [];
  const note = (error: unknown): void => {
    unhandled.push(error);
  };
  let known: NodeJS.UnhandledRejectionListener[] = [];
  beforeEach(() => {
    unhandled.length = 0;
    known = process.listeners('unhandledRejection');
    process.removeAllListeners('unhandledRejection');
    process.on('unhandledRejection', note);
  });
  afterEach(() => {
    process.off('unhandledRejection', note);
    for (const one of known) process.on('unhandledRejection', one);
  });

  async function withTable(rebuild: OnReconnect, setUp: readonly (string | pg.QueryConfig)[] = []) {
    const client = await lab.connect({
      failover: {
        onReconnect: async (session, lost) => {
          await session.query('CREATE TEMP TABLE kept (id int)');
          await rebuild(session, lost);
        },
      },
    });
    for (const one of setUp) await client.query(one as string);
    await client.query('CREATE TEMP TABLE kept (id int)');
    return client;
  }

  /** Cut when its state has been read back; it is back, or has ended. */
  async function cut(client: WatchedClient): Promise<void> {
    const lost = backendOf(client);
    await waitFor(
      async () => {
        const { rows } = await lab.primary.query<{ query: string; state: string }>(
          `SELECT query, state FROM pg_stat_activity WHERE pid = ${lost}`,
        );
        return rows[0]?.state === 'idle' && rows[0].query.includes('before.effective_user');
      },
      { message: 'the state to be read back' },
    );
    lab.proxy.cut();
    await waitFor(() => backendOf(client) !== lost || client.seen.errors.length > 0);
  }

  it('a named statement never takes the place of the one of the application', async () => {
    const look = { name: 'look', text: `SELECT 'of the application' AS whose` };
    const client = await withTable(
      async (session) =>
        await clientOf(session).query({ name: 'look', text: `SELECT 'of the hook' AS whose` }),
      [look],
    );
    await cut(client);
    expect((await client.query(look)).rows).toEqual([{ whose: 'of the application' }]);
  });

  it('a named statement is no obstacle to one of that name that the application makes later', async () => {
    const only = { name: 'only', text: 'SELECT 1 AS one' };
    const client = await withTable(async (session) => await clientOf(session).query(only));
    await cut(client);
    expect((await client.query(only)).rows).toEqual([{ one: 1 }]);
  });

  it('one temporary table is missing of very many', async () => {
    const other = await lab.stock();
    await other.query(`CREATE TABLE IF NOT EXISTS t70 (who text); INSERT INTO t70 VALUES ('another tenant')`);
    const client = await withTable(async (session) => {
      for (let n = 1; n <= 69; n++) await session.query(`CREATE TEMP TABLE t${n} (who text)`);
    });
    for (let n = 1; n <= 70; n++) await client.query(`CREATE TEMP TABLE t${n} (who text)`);
    await client.query('SELECT count(*) FROM t70');
    await cut(client);
    await waitFor(() => client.seen.errors.length > 0);
    expect(client.seen.errors[0]?.message).toContain('has not rebuilt every temporary-object');
  });

  it('nothing of very many locks, which it has taken in another order', async () => {
    const client = await withTable(
      async (session) =>
        await session.query('SELECT pg_try_advisory_lock(301 - n) FROM generate_series(1, 300) AS n'),
      ['SELECT pg_try_advisory_lock(n) FROM generate_series(1, 300) AS n'],
    );
    await cut(client);
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  it.each([`SET app.unheard_of = 'other'`, `SELECT set_config('app.unheard_of', 'other', false)`])(
    'a setting of which nobody else has heard: %s',
    async (sql) => {
      const client = await withTable(async (session) => await session.query(sql));
      await cut(client);
      await waitFor(() => client.seen.errors.length > 0);
      expect(client.seen.errors[0]?.message).toContain('has changed setting "app.unheard_of"');
    },
  );

  it('a setting whose name is made when it runs', async () => {
    const client = await withTable(
      async (session) => await session.query('SELECT set_config($1, $2, false)', ['app.unheard_of', 'other']),
    );
    await cut(client);
    await waitFor(() => client.seen.errors.length > 0);
    expect(client.seen.errors[0]?.message).toContain('names are made when it runs');
  });

  it('a query for which it did not wait', async () => {
    const client = await lab.connect({
      failover: {
        onReconnect: (session) => {
          void session.query('SELECT pg_sleep(0.1)');
          void session.query('CREATE TEMP TABLE kept (id int)');
        },
      },
    });
    await client.query('CREATE TEMP TABLE kept (id int)');
    await cut(client);
    expect((await client.query('SELECT * FROM kept')).rows).toEqual([]);
    expect(unhandled).toEqual([]);
  });

  it('a COPY that nobody reads', async () => {
    const client = await withTable((session) => {
      const stream = copyTo(`COPY (SELECT repeat('x', 9999) FROM generate_series(1, 5000)) TO STDOUT`);
      stream.on('error', () => undefined);
      clientOf(session).query(stream);
    });
    await cut(client);
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    expect(client.seen.isQuiet).toBe(true);
  });
});
