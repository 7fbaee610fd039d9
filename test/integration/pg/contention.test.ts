import { afterEach, describe, expect, it } from 'vitest';
import type { FailoverOptions } from '../../../src/options.ts';
import { FailoverLab, type WatchedClient } from '../../support/failover-lab.ts';
import { settle, type Settled } from '../../support/settle.ts';
import { measureHotRows } from '../../support/torture/hot-rows.ts';
import { waitFor } from '../../support/wait-for.ts';

const SESSIONS = 16;

let lab: FailoverLab | undefined;
afterEach(async () => {
  await lab?.stop();
});

/** `seat (id, n)` has a row for each of 16 sessions, `job (id, state)` and `done (job, session)` are a queue. */
async function start(): Promise<FailoverLab> {
  lab = await FailoverLab.start({
    standbys: 2,
    setUp: `
      CREATE TABLE seat (id int PRIMARY KEY, n int NOT NULL);
      INSERT INTO seat SELECT id, 1 FROM generate_series(1, ${SESSIONS}) AS id;
      CREATE TABLE job (id int PRIMARY KEY, state text NOT NULL);
      CREATE TABLE done (job int NOT NULL, session int NOT NULL);
      CREATE FUNCTION next_job() RETURNS SETOF int LANGUAGE plpgsql AS $$BEGIN
        RETURN QUERY SELECT id FROM job WHERE state = 'new' ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1;
      END$$`,
  });
  return lab;
}

async function connectAll(count: number, failover: FailoverOptions = {}): Promise<WatchedClient[]> {
  return await Promise.all(Array.from({ length: count }, async () => await lab!.connect({ failover })));
}

async function each<T>(
  clients: readonly WatchedClient[],
  work: (client: WatchedClient, index: number) => Promise<T>,
) {
  return await Promise.all(clients.map(async (client, index) => await settle(work(client, index))));
}

function errorsOf(results: readonly Settled<unknown>[]): string[] {
  return results.flatMap(({ error }) =>
    error === undefined ? [] : [`${error.kind ?? ''} ${error.code ?? ''} ${error.message}`],
  );
}

async function waitForLockWaiters(count: number): Promise<void> {
  await waitFor(
    async () => {
      const { rowCount } = await lab!.primary.query(
        `SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'`,
      );
      return rowCount === count;
    },
    { timeoutMillis: 30_000, message: `${count} sessions to wait for locks` },
  );
}

interface Contest {
  readonly holders: readonly Settled<number>[];
  readonly waiters: readonly Settled<number>[];
  readonly diverged: number;
  readonly seats: readonly number[];
}

/**
 * 16 sessions hold one seat each and have read its number; 16 more wait for one of them, when the primary dies. The
 * holders write what follows from what they have read. Some of their replays take long.
 */
async function holdAndWait(failover: FailoverOptions, latencyMillis = 0): Promise<Contest> {
  const { primary, cluster } = await start();
  // The waiters first: they are then the first that reach the new server.
  const waiters = await connectAll(SESSIONS, failover);
  const holders = await connectAll(SESSIONS, failover);
  const seen = await Promise.all(
    holders.map(async (client, index) => {
      await client.query('BEGIN');
      // What comes before the lock makes its replay late.
      if (index % 2 === 0) await client.query('SELECT pg_sleep(0.1)');
      const { rows } = await client.query<{ n: number }>('SELECT n FROM seat WHERE id = $1 FOR UPDATE', [
        index + 1,
      ]);
      return rows[0]!.n;
    }),
  );
  const waiting = each(waiters, async (client, index) => {
    await client.query('BEGIN');
    const { rows } = await client.query<{ n: number }>(
      'UPDATE seat SET n = n * 10 WHERE id = $1 RETURNING n',
      [index + 1],
    );
    await client.query('COMMIT');
    return rows[0]!.n;
  });
  await waitForLockWaiters(SESSIONS);
  await lab!.shipAll();
  for (const node of cluster.standbys) lab!.proxyOf(node).latency(latencyMillis);
  await primary.kill();
  await cluster.failover();
  const held = await each(holders, async (client, index) => {
    await client.query('UPDATE seat SET n = $1 WHERE id = $2', [seen[index]! + 7, index + 1]);
    await client.query('COMMIT');
    return seen[index]!;
  });
  const waited = await waiting;
  const { rows } = await lab!.primary.query<{ n: number }>('SELECT n FROM seat ORDER BY id');
  const diverged = holders[0]!.failover!.snapshot().replaysDiverged;
  for (const client of [...holders, ...waiters]) expect(client.seen.isQuiet).toBe(true);
  return { holders: held, waiters: waited, diverged, seats: rows.map(({ n }) => n) };
}

describe('sessions hold row locks, and others wait for them, when the primary dies', () => {
  it('lets every holder go on first and then the waiters, as on the old server', async () => {
    const { holders, waiters, diverged, seats } = await holdAndWait({ barrierTimeoutMillis: 20_000 });
    expect(errorsOf([...holders, ...waiters])).toEqual([]);
    expect(diverged).toBe(0);
    expect(waiters.map(({ value }) => value)).toEqual(Array<number>(SESSIONS).fill(80));
    expect(seats).toEqual(Array<number>(SESSIONS).fill(80));
  });

  it('does so too when connecting takes longer than the deadline of the barrier, as with many sessions', async () => {
    const { holders, waiters, diverged } = await holdAndWait(
      { barrierTimeoutMillis: 1_000, drainConcurrency: 2 },
      20,
    );
    expect(errorsOf([...holders, ...waiters])).toEqual([]);
    expect(diverged).toBe(0);
    expect(waiters.map(({ value }) => value)).toEqual(Array<number>(SESSIONS).fill(80));
  });

  it('has waiters overtake holders without the barrier, so it is the barrier that keeps the order', async () => {
    const { holders, waiters, diverged, seats } = await holdAndWait({ barrierTimeoutMillis: 1 });
    // A waiter that came first has multiplied 1; its holder then finds another number than it was given.
    const overtaken = seats.filter((n) => n !== 80).length;
    expect(overtaken).toBeGreaterThan(0);
    expect(diverged).toBeGreaterThan(0);
    expect(errorsOf(waiters)).toEqual([]);
    // Also then nobody is told a lie: who could not go on was told so.
    const kinds = holders.flatMap(({ error }) => (error === undefined ? [] : [error.kind]));
    expect(kinds.filter((kind) => kind !== 'replay-diverged')).toEqual([]);
    expect(kinds).toHaveLength(diverged);
  });
});

describe('a job queue with SKIP LOCKED, killed with every transaction open', () => {
  it('diverges nowhere and does every job exactly once when jobs are taken one after the other', async () => {
    await workThroughQueue('one after the other');
  });

  it('diverges nowhere and does every job exactly once when all look for a job at the same time', async () => {
    await workThroughQueue('at the same time');
  });

  it('diverges nowhere where the transaction begins and takes its job in one string', async () => {
    await workThroughQueue('one after the other', async (client) => {
      const results = await client.query(`BEGIN; ${NEXT_JOB}`);
      const [, { rows }] = results as unknown as [unknown, { rows: Job[] }];
      return rows;
    });
  });

  it('diverges nowhere where a function takes the job', async () => {
    await workThroughQueue('one after the other', async (client) => {
      await client.query('BEGIN');
      return (await client.query<Job>('SELECT next_job() AS id')).rows;
    });
  });
});

interface Job {
  readonly id: number;
}

const NEXT_JOB = `SELECT id FROM job WHERE state = 'new' ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1`;

async function beginAndTake(client: WatchedClient): Promise<readonly Job[]> {
  await client.query('BEGIN');
  return (await client.query<Job>(NEXT_JOB)).rows;
}

async function workThroughQueue(
  taking: 'one after the other' | 'at the same time',
  begin: (client: WatchedClient) => Promise<readonly Job[]> = beginAndTake,
): Promise<void> {
  const rounds = 4;
  await start();
  await lab!.primary.query(
    `INSERT INTO job SELECT id, 'new' FROM generate_series(1, ${SESSIONS * rounds}) AS id`,
  );
  const clients = await connectAll(SESSIONS);
  const taken: number[] = [];
  const errors: string[] = [];
  for (let round = 0; round < rounds; round++) {
    const jobs: number[] = [];
    const take = async (client: WatchedClient, session: number): Promise<void> => {
      const rows = await begin(client);
      jobs[session] = rows[0]!.id;
      await client.query('INSERT INTO done VALUES ($1, $2)', [rows[0]!.id, session]);
    };
    if (taking === 'at the same time') await Promise.all(clients.map(take));
    else for (const [session, client] of clients.entries()) await take(client, session);
    const old = lab!.primary;
    await lab!.replacePrimary();
    const results = await each(clients, async (client, session) => {
      await client.query(`UPDATE job SET state = 'done' WHERE id = $1`, [jobs[session]]);
      await client.query('COMMIT');
    });
    errors.push(...errorsOf(results));
    taken.push(...jobs.filter((_, session) => results[session]!.error === undefined));
    await each(clients, async (client, session) => {
      if (results[session]!.error !== undefined) await client.query('ROLLBACK');
    });
    await lab!.cluster.rejoin(old);
  }
  const inOrder = (numbers: readonly number[]): number[] => [...numbers].sort((a, b) => a - b);
  // First that nothing false was said, then that nothing had to be said.
  const { rows: done } = await lab!.primary.query<{ job: number }>('SELECT job FROM done ORDER BY job');
  expect(done.map(({ job }) => job)).toEqual(inOrder(taken));
  expect(new Set(taken).size).toBe(taken.length);
  expect(errors).toEqual([]);
  expect(taken).toHaveLength(SESSIONS * rounds);
  expect((await lab!.primary.query(`SELECT FROM job WHERE state <> 'done'`)).rowCount).toBe(0);
  expect(clients[0]!.failover!.snapshot()).toMatchObject({ replaysDiverged: 0, commitsUnknown: 0 });
}

describe('NOWAIT in a savepoint', () => {
  it('stays refused in the replay: what was rolled back to the savepoint is not tried again', async () => {
    await start();
    const clients = await connectAll(SESSIONS);
    const [holder, ...others] = clients as [WatchedClient, ...WatchedClient[]];
    // The others begin first: replayed in that order they would find the row free.
    for (const client of others) {
      await client.query('BEGIN');
      await client.query(`INSERT INTO note VALUES ('before')`);
    }
    await holder.query('BEGIN');
    await holder.query('SELECT n FROM seat WHERE id = 1 FOR UPDATE');
    for (const client of others) {
      await client.query('SAVEPOINT attempt');
      await client.query(`INSERT INTO note VALUES ('undone')`);
      const { error } = await settle(client.query('SELECT n FROM seat WHERE id = 1 FOR UPDATE NOWAIT'));
      expect(error?.code).toBe('55P03');
      await client.query('ROLLBACK TO attempt');
      await client.query(`INSERT INTO note VALUES ('after')`);
    }
    // On the new server it must be the holder's again, or its update would block for ever on one of the others.
    await lab!.replacePrimary();
    const results = await each(clients, async (client) => {
      if (client === holder) await client.query('UPDATE seat SET n = 1 WHERE id = 1');
      await client.query('COMMIT');
    });
    expect(errorsOf(results)).toEqual([]);
    const expected = others.flatMap(() => ['after', 'before']).sort();
    expect(await lab!.notes()).toEqual(expected);
    expect(holder.failover!.snapshot().replaysDiverged).toBe(0);
  });
});

describe('a replay that takes longer than the session may', () => {
  it('takes nobody along that only comes behind it in the recorded order', async () => {
    await start();
    const failover = { timeoutMillis: 2_000, barrierTimeoutMillis: 200 };
    const [slow, other] = (await connectAll(2, failover)) as [WatchedClient, WatchedClient];
    await slow.query('BEGIN');
    await slow.query(`INSERT INTO note SELECT 'slow' FROM pg_sleep(3)`);
    await other.query('BEGIN');
    await other.query('SET LOCAL search_path = public');
    await other.query(`SELECT id FROM job FOR UPDATE SKIP LOCKED`);
    await other.query(`INSERT INTO note VALUES ('other')`);
    lab!.proxy.cut();
    const [slowEnd, otherEnd] = await Promise.all(
      [slow, other].map(async (client) => await settle(client.query('COMMIT'))),
    );
    expect(slowEnd!.error).toBeDefined();
    expect(otherEnd!.error).toBeUndefined();
    expect(await lab!.notes()).toEqual(['other']);
  });
});

describe('advisory locks that are only tried', () => {
  it('go to the same session again, and stay refused to the others', async () => {
    await start();
    const clients = await connectAll(SESSIONS);
    const [holder, ...others] = clients as [WatchedClient, ...WatchedClient[]];
    const tryLock = async (client: WatchedClient): Promise<boolean> =>
      (await client.query<{ got: boolean }>('SELECT pg_try_advisory_xact_lock(7) AS got')).rows[0]!.got;
    // The others begin first: replayed in that order they would get it.
    for (const client of clients.toReversed()) {
      await client.query('BEGIN');
      await client.query(`INSERT INTO note VALUES ('a')`);
    }
    expect(await tryLock(holder)).toBe(true);
    for (const client of others) expect(await tryLock(client)).toBe(false);
    await lab!.replacePrimary();
    const results = await each(clients, async (client) => (await client.query('COMMIT')).command);
    expect(errorsOf(results)).toEqual([]);
    expect(await lab!.notes()).toHaveLength(SESSIONS);
    expect(holder.failover!.snapshot().replaysDiverged).toBe(0);
  });
});

describe('reads of hot rows', () => {
  it('never diverge with FOR UPDATE; without it the share is measured', async () => {
    await start();
    for (const rows of [1, 10, 100]) {
      const plain = await measureHotRows(lab!, { sessions: SESSIONS, rows, forUpdate: false });
      const locked = await measureHotRows(lab!, { sessions: SESSIONS, rows, forUpdate: true });
      const percent = ({ diverged, open }: { diverged: number; open: number }) =>
        Math.round((100 * diverged) / open);
      console.log(
        `${rows} hot rows: ${percent(plain)} % of ${plain.open} open transactions diverged; ` +
          `with FOR UPDATE ${percent(locked)} % of ${locked.open}`,
      );
      if (rows === 1) expect(plain.diverged).toBeGreaterThan(0);
      expect(plain.unexpected).toEqual([]);
      expect(locked.unexpected).toEqual([]);
      expect(locked.diverged).toBe(0);
    }
  });
});
