import { beforeEach, describe, expect, it } from 'vitest';
import { FailoverLab, type WatchedClient } from '../../support/failover-lab.ts';
import { settle } from '../../support/settle.ts';

/** Far longer than any of these replays takes. */
const BARRIER_MILLIS = 4_000;

/** How the first session takes the locks that its ROLLBACK TO gives back. */
const LOCKS: readonly (readonly [name: string, sql: string])[] = [
  ['an UPDATE', 'UPDATE seat SET n = n + 100 WHERE id = 1 RETURNING n'],
  ['FOR UPDATE', 'SELECT n FROM seat WHERE id = 1 FOR UPDATE'],
  ['an advisory lock', 'SELECT pg_advisory_xact_lock(1)'],
  ['LOCK TABLE', 'LOCK TABLE seat IN SHARE ROW EXCLUSIVE MODE'],
];

/** What takes them then in the second session. */
const TAKES: Readonly<Record<string, string>> = {
  'an UPDATE': 'UPDATE seat SET n = n + 1 WHERE id = 1 RETURNING n',
  'FOR UPDATE': 'UPDATE seat SET n = n + 1 WHERE id = 1 RETURNING n',
  'an advisory lock': 'SELECT pg_advisory_xact_lock(1)',
  'LOCK TABLE': 'LOCK TABLE seat IN SHARE ROW EXCLUSIVE MODE',
};

/** Slower than the other session, whichever of the two it is. */
const LATE = 'SELECT pg_sleep(0.3)';

/** Review B: a lock given back by ROLLBACK TO and then taken by another session, both transactions open. */
describe('locks that one session gave back with ROLLBACK TO and another one took, when the primary dies', () => {
  const lab = FailoverLab.forThisSuite({ setUp: 'CREATE TABLE seat (id int PRIMARY KEY, n int NOT NULL)' });
  beforeEach(async () => {
    await lab.primary.query('TRUNCATE seat; INSERT INTO seat SELECT id, 0 FROM generate_series(1, 16) AS id');
    await lab.cluster.waitForReplay();
  });

  async function connect(): Promise<WatchedClient> {
    return await lab.connect({
      failover: { timeoutMillis: 2 * BARRIER_MILLIS, barrierTimeoutMillis: BARRIER_MILLIS },
    });
  }

  async function run(client: WatchedClient, statements: readonly string[]): Promise<void> {
    for (const sql of statements) await client.query(sql);
  }

  /** Both go on by themselves, and neither waits for the other one to end. */
  async function expectBothGoOn(clients: readonly WatchedClient[]): Promise<void> {
    const before = clients[0]!.failover!.snapshot();
    await lab.replacePrimary();
    const startedAt = performance.now();
    const results = await Promise.all(
      clients.map(
        async (client, index) => await settle(client.query('INSERT INTO note VALUES ($1)', [index])),
      ),
    );
    const tookMillis = performance.now() - startedAt;
    expect(results.map(({ error }) => error?.message)).toEqual(clients.map(() => undefined));
    // At the barrier's deadline nobody waited for anybody any more.
    expect(tookMillis).toBeLessThan(BARRIER_MILLIS);
    for (const client of clients) await client.query('COMMIT');
    expect(await lab.notes()).toEqual(clients.map((_, index) => String(index)));
    expect(clients[0]!.failover!.snapshot()).toMatchObject({ replaysDiverged: before.replaysDiverged });
    for (const client of clients) expect(client.seen.isQuiet).toBe(true);
  }

  describe.each(LOCKS)('taken by %s', (name, lock) => {
    it.each([
      ['both replays are equally fast', [], []],
      ['the replay of the first is late', [LATE], []],
      ['the replay of the second is late', [], [LATE]],
    ])('go to the second again when %s', async (_when, first, second) => {
      const [former, holder] = [await connect(), await connect()];
      await run(former, ['BEGIN', ...first, 'SAVEPOINT attempt', lock, 'ROLLBACK TO attempt']);
      await run(holder, ['BEGIN', ...second, TAKES[name]!]);
      await expectBothGoOn([former, holder]);
    });
  });

  it('go to the second again when it began first and had written before', async () => {
    const [former, holder] = [await connect(), await connect()];
    await run(holder, ['BEGIN', 'UPDATE seat SET n = 7 WHERE id = 2']);
    await run(former, [
      'BEGIN',
      'SAVEPOINT attempt',
      'UPDATE seat SET n = 5 WHERE id = 1',
      'ROLLBACK TO attempt',
    ]);
    await run(holder, ['UPDATE seat SET n = 8 WHERE id = 1 RETURNING n']);
    await expectBothGoOn([former, holder]);
    const { rows } = await lab.primary.query('SELECT id, n FROM seat WHERE n > 0 ORDER BY id');
    expect(rows).toEqual([
      { id: 1, n: 8 },
      { id: 2, n: 7 },
    ]);
  });

  it('go along a chain of sessions, each of which gave them back but the last', async () => {
    const clients = await Promise.all(Array.from({ length: 6 }, async () => await connect()));
    for (const client of clients) await client.query('BEGIN');
    for (const [index, client] of clients.entries()) {
      await run(client, ['SAVEPOINT attempt', 'UPDATE seat SET n = n + 1 WHERE id = 1 RETURNING n']);
      if (index < clients.length - 1) await client.query('ROLLBACK TO attempt');
    }
    await expectBothGoOn(clients);
    const { rows } = await lab.primary.query('SELECT n FROM seat WHERE id = 1');
    expect(rows).toEqual([{ n: 1 }]);
  });
});
