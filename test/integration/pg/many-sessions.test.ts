import pg from 'pg';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { PoolClient } from '../../../src/pg.ts';
import { Pool } from '../../../src/pg.ts';
import type { FailoverStarted, FailoverSucceeded } from '../../../src/events.ts';
import { FailoverLab } from '../../support/failover-lab.ts';
import type { PostgresNode } from '../../support/postgres-node.ts';
import { waitFor } from '../../support/wait-for.ts';

const MANY = 200;
/** Beside the sessions themselves: those who look for the new primary on behalf of all (`drainConcurrency`). */
const MOST_CONNECTIONS = MANY + 40;

let lab: FailoverLab | undefined;
afterEach(async () => {
  await lab?.stop();
});

async function start(setUp = ''): Promise<FailoverLab> {
  lab = await FailoverLab.start({ standbys: 2, setUp });
  return lab;
}

/** Connections of the application's roles, those that are just being closed too. */
async function connectionsOf(node: PostgresNode): Promise<number> {
  const { rows } = await node.query<{ n: number }>(
    `SELECT count(*)::int AS n FROM pg_stat_activity WHERE backend_type = 'client backend' AND usename <> 'postgres'`,
  );
  return rows[0]!.n;
}

/** Looks again and again until it is stopped. */
function watchConnections(nodes: readonly PostgresNode[]): () => Promise<number> {
  const state = { isOver: false, most: 0 };
  const watching = (async () => {
    while (!state.isOver) {
      for (const node of nodes) {
        if (!node.isReady) continue;
        state.most = Math.max(state.most, await connectionsOf(node).catch(() => 0));
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  })();
  return async () => {
    state.isOver = true;
    await watching;
    return state.most;
  };
}

/** Sockets and timers that keep this process alive. */
function resources(): number {
  return process.getActiveResourcesInfo().filter((name) => /TCP|Pipe|Timeout/.test(name)).length;
}

async function openTransactions(clients: readonly PoolClient[]): Promise<void> {
  await Promise.all(
    clients.map(async (client, index) => {
      await client.query('BEGIN');
      await client.query('INSERT INTO note VALUES ($1)', [`${index}`]);
      await client.query('SELECT count(*) FROM note WHERE text = $1', [`${index}`]);
    }),
  );
}

describe('200 sessions with open transactions fail over at once', () => {
  it('all go on without an error, and nothing is left open', async () => {
    const { cluster } = await start();
    const handlesBefore = resources();
    const pool = lab!.pool({ max: MANY });
    const clients = await Promise.all(Array.from({ length: MANY }, async () => await pool.connect()));
    await openTransactions(clients);
    await lab!.shipAll();
    const old = lab!.primary;
    const survivors = cluster.standbys;

    const stopWatching = watchConnections(survivors);
    const killedAt = performance.now();
    await old.kill();
    await cluster.failover();
    const writableAt = performance.now();
    const stalls = await Promise.all(
      clients.map(async (client, index) => {
        await client.query('INSERT INTO note VALUES ($1)', [`${index} again`]);
        const goesOnAt = performance.now();
        await client.query('COMMIT');
        return goesOnAt - writableAt;
      }),
    );
    const overAt = performance.now();
    const mostConnections = await stopWatching();

    const sorted = stalls.sort((a, b) => a - b);
    const at = (share: number) => Math.round(sorted[Math.floor((sorted.length - 1) * share)]!);
    console.log(
      `${MANY} sessions: promoted ${Math.round(writableAt - killedAt)} ms after the kill; they went on after ${at(0)} to ` +
        `${at(1)} ms more (median ${at(0.5)}), all had committed after ${Math.round(overAt - writableAt)} ms; ` +
        `at most ${mostConnections} connections to one server`,
    );
    expect(mostConnections).toBeLessThanOrEqual(MOST_CONNECTIONS);
    expect(pool.failover!.snapshot()).toMatchObject({
      failovers: 1,
      failoversFailed: 0,
      replays: MANY,
      replaysDiverged: 0,
    });
    expect(pool.failover!.snapshot()).toMatchObject({ waitingSessions: 0, journalBytes: 0 });
    const expected = clients.flatMap((_, index) => [`${index}`, `${index} again`]).sort();
    expect((await lab!.notes()).sort()).toEqual(expected);

    for (const client of clients) client.release();
    expect(pool.seen.errors).toEqual([]);
    await pool.end();
    for (const node of survivors) {
      await waitFor(async () => (await connectionsOf(node)) === 0, {
        message: `${node.name} to have no connections`,
      });
    }
    await waitFor(() => resources() <= handlesBefore, {
      message: `${resources()} handles to become ${handlesBefore}`,
    });
    expect(pool.failover!.snapshot()).toMatchObject({ sessions: 0, waitingSessions: 0, journalBytes: 0 });
  });

  it('all go on when they are idle, each with its next statement only', async () => {
    const { cluster } = await start();
    const pool = lab!.pool({ max: MANY });
    const clients = await Promise.all(Array.from({ length: MANY }, async () => await pool.connect()));
    await lab!.replacePrimary();
    expect(await connectionsOf(cluster.primary)).toBeLessThan(10);
    const results = await Promise.all(clients.map(async (client) => await client.query('SELECT 1 AS one')));
    expect(results.map(({ rows }) => rows)).toEqual(clients.map(() => [{ one: 1 }]));
    for (const client of clients) client.release();
    expect(pool.seen.errors).toEqual([]);
  });
});

describe('a pool that is full during a failover', () => {
  it('serves those who wait for a client as soon as there is one again', async () => {
    await start();
    const pool = lab!.pool({ max: 4 });
    const clients = await Promise.all(Array.from({ length: 4 }, async () => await pool.connect()));
    await openTransactions(clients);
    const waiting = Array.from({ length: 12 }, async (_, index) => {
      await pool.query('INSERT INTO note VALUES ($1)', [`waited ${index}`]);
    });
    expect(pool.waitingCount).toBe(12);
    await lab!.replacePrimary();
    await Promise.all(
      clients.map(async (client) => {
        await client.query('COMMIT');
        client.release();
      }),
    );
    await Promise.all(waiting);
    expect(await lab!.notes()).toHaveLength(4 + 12);
    expect(pool.totalCount).toBeLessThanOrEqual(4);
    expect(pool.seen.errors).toEqual([]);
  });

  it('has new clients wait for the failover instead of failing', async () => {
    const { cluster } = await start();
    const pool = lab!.pool({ max: 8 });
    const first = await pool.connect();
    await first.query('BEGIN');
    await lab!.shipAll();
    await lab!.primary.kill();
    const pending = first.query(`INSERT INTO note VALUES ('first')`);
    await waitFor(() => pool.failover!.snapshot().waitingSessions > 0);
    const others = Array.from({ length: 7 }, async (_, index) => {
      await pool.query('INSERT INTO note VALUES ($1)', [`new ${index}`]);
    });
    await cluster.failover();
    await pending;
    await first.query('COMMIT');
    first.release();
    await Promise.all(others);
    expect(await lab!.notes()).toHaveLength(8);
    expect(pool.seen.errors).toEqual([]);
  });
});

interface SeenFailovers {
  readonly started: FailoverStarted[];
  readonly succeeded: FailoverSucceeded[];
}

function watchFailovers(pool: Pool): SeenFailovers {
  const seen: SeenFailovers = { started: [], succeeded: [] };
  pool.failover!.on('failoverStarted', (event) => seen.started.push(event));
  pool.failover!.on('failoverSucceeded', (event) => seen.succeeded.push(event));
  return seen;
}

/** Both have sessions with open transactions when the primary is replaced. Says what each has heard. */
async function failOverTogether(one: Pool, other: Pool): Promise<readonly [SeenFailovers, SeenFailovers]> {
  const seen = [watchFailovers(one), watchFailovers(other)] as const;
  const clients = await Promise.all(
    [one, one, one, other, other, other].map(async (pool) => await pool.connect()),
  );
  for (const client of clients) {
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('x')`);
  }
  await lab!.replacePrimary();
  await Promise.all(
    clients.map(async (client) => {
      await client.query(`INSERT INTO note VALUES ('y')`);
      await client.query('COMMIT');
      client.release();
    }),
  );
  return seen;
}

function expectOneFailover([one, other]: readonly [SeenFailovers, SeenFailovers]): void {
  expect(one.started).toHaveLength(1);
  expect(one.succeeded).toMatchObject([{ id: one.started[0]!.id, sessions: 6 }]);
  expect(other).toEqual(one);
}

describe('two pools on one cluster share one failover', () => {
  it('with different databases and users', async () => {
    await start();
    await lab!.primary.query(`CREATE ROLE second LOGIN PASSWORD 'second'`);
    await lab!.primary.query('CREATE DATABASE second OWNER second');
    const setUp = new pg.Client(lab!.primary.superuserConfig({ database: 'second' }));
    await setUp.connect();
    await setUp.query('CREATE TABLE note (text text); ALTER TABLE note OWNER TO second');
    await setUp.end();
    const connectionString = lab!.cluster.connectionString({
      hosts: lab!.proxies,
      user: 'second',
      password: 'second',
      database: 'second',
    });
    const one = lab!.pool();
    const other = lab!.pool({ connectionString });
    const seen = await failOverTogether(one, other);
    expectOneFailover(seen);
    expect((await one.query('SELECT FROM note')).rowCount).toBe(6);
    expect((await other.query('SELECT FROM note')).rowCount).toBe(6);
    expect((await other.query<{ who: string }>('SELECT current_user AS who')).rows).toEqual([
      { who: 'second' },
    ]);
  });

  it('of two copies of the package, as when both ESM and CommonJS are loaded', async () => {
    await start();
    vi.resetModules();
    const copy = await import('../../../src/pg.ts');
    expect(copy.Pool).not.toBe(Pool);
    const one = lab!.pool();
    const other = new copy.Pool({ connectionString: lab!.connectionString() });
    const seen = await failOverTogether(one, other);
    await other.end();
    expectOneFailover(seen);
    expect((await one.query('SELECT FROM note')).rowCount).toBe(12);
    expect(one.failover!.snapshot()).toMatchObject({ failovers: 1, replays: 6, replaysDiverged: 0 });
  });
});
