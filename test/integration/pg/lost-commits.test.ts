import { setTimeout as sleep } from 'node:timers/promises';
import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import type { LimitReached } from '../../../src/events.ts';
import type { Client, Pool } from '../../../src/pg.ts';
import { FailoverLab, type WatchedClient } from '../../support/failover-lab.ts';
import { loseFromHere, lostOf, transaction } from '../../support/lost-commits.ts';
import { onMessage } from '../../support/on-message.ts';
import { settle } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

/** All that was acknowledged so far is known to be everywhere. */
async function purged(client: Client | Pool): Promise<void> {
  await waitFor(() => client.failover!.snapshot().committedLogTransactions === 0, {
    message: 'the committed log to be empty',
  });
}

/**
 * Resolves when a position is known that was asked for from now on; none comes behind it for a while. The first question that
 * passes may have been asked before. When the third one is asked, the second is answered; that third one is not.
 */
async function positionIsTheLast({ proxy }: FailoverLab): Promise<void> {
  const third = { from: 'client', type: 'P', text: 'pg_current_wal_flush_lsn', after: 2 } as const;
  await onMessage(proxy, third, (connection) => {
    proxy.onFrontendMessage = (_type, _body, from) => (from === connection ? 'drop' : undefined);
    return 'drop';
  });
}

const POLLS_OFTEN = { positionIntervalMillis: 20 };

describe.each([
  { by: 'log positions', tokens: false },
  { by: 'tokens', tokens: true },
])('an acknowledged transaction that the promoted standby lacks, judged by $by', ({ tokens }) => {
  const lab = FailoverLab.forThisSuite({ tokens });

  it('is reported, with its statements, before its session goes on', async () => {
    const client = await lab.connect();
    const lost = lostOf(client);
    const before = Date.now();
    await loseFromHere(lab, async () => {
      await client.query('BEGIN');
      await client.query('INSERT INTO note VALUES ($1)', ['secret value']);
      await client.query(`INSERT INTO note VALUES ('b')`);
      await client.query('COMMIT');
    });
    const { rows } = await client.query('SELECT text FROM note');
    expect(lost).toHaveLength(1);
    expect(rows).toEqual([]);
    const [event] = lost;
    expect(event).toMatchObject({
      outcome: 'lost',
      reason: tokens ? 'token-fenced' : 'switched-before-mark',
      statements: ['BEGIN', 'INSERT INTO note VALUES ($1)', `INSERT INTO note VALUES ('b')`, 'COMMIT'],
      database: 'app',
      user: 'app',
      recoveredTo: { timeline: lab.primary === lab.cluster.nodes[1] ? 2 : (expect.any(Number) as number) },
    });
    if (tokens) expect(event!.transactionId).toBeNull();
    else expect(event!.transactionId).toMatch(/^\d+$/);
    expect(event!.from).not.toBe(event!.to);
    for (const date of [event!.sentAt, event!.acknowledgedAt]) {
      expect(date.getTime()).toBeGreaterThanOrEqual(before);
      expect(date.getTime()).toBeLessThanOrEqual(Date.now());
    }
    expect(client.failover!.snapshot()).toMatchObject({ commitsLost: 1, commitsMaybeLost: 0 });
  });

  it('shows its parameters only to who asks for them', async () => {
    const client = await lab.connect();
    const lost = lostOf(client);
    await loseFromHere(lab, async () => {
      await client.query('BEGIN');
      await client.query({ name: 'named', text: 'INSERT INTO note VALUES ($1)', values: ['secret one'] });
      await client.query({ name: 'named', text: 'INSERT INTO note VALUES ($1)', values: ['secret two'] });
      await client.query('INSERT INTO note SELECT $1::bytea::text || $2', [Buffer.from([1, 2]), null]);
      await client.query('COMMIT');
    });
    await client.query('SELECT');
    expect(lost).toHaveLength(1);
    expect(lost[0]!.parameters()).toEqual([
      [],
      ['secret one'],
      ['secret two'],
      [Buffer.from([1, 2]), null],
      [],
    ]);
    expect(inspect(lost[0], { depth: null, showHidden: true, getters: true })).not.toContain('secret');
    expect(JSON.stringify(lost[0])).not.toContain('secret');
    expect({ ...lost[0] }).not.toHaveProperty('parameters');
  });

  it('does not show the password of a role', async () => {
    const client = await lab.connect();
    const lost = lostOf(client);
    await loseFromHere(lab, async () => {
      await client.query('BEGIN');
      await client.query(`ALTER USER app PASSWORD 'app'; INSERT INTO note VALUES ('a')`);
      await client.query('COMMIT');
    });
    // Its own session can't be restored behind such a definition.
    await settle(client.query('SELECT'));
    expect(lost.map(({ statements }) => statements)).toEqual([['BEGIN', 'ALTER USER …', 'COMMIT']]);
  });

  it('is not reported if the standby had it', async () => {
    const client = await lab.connect();
    const lost = lostOf(client);
    await transaction(client, 'a');
    await lab.replacePrimary();
    await client.query(`INSERT INTO note VALUES ('later')`);
    expect(await lab.notes()).toEqual(['a', 'later']);
    expect(lost).toEqual([]);
  });

  it('is told from those that the standby had, each exactly', async () => {
    const pool = lab.pool({ max: 8 });
    const lost = lostOf(pool);
    const write = async (name: string): Promise<void> => {
      const client = await pool.connect();
      try {
        await transaction(client as unknown as WatchedClient, name);
      } finally {
        client.release();
      }
    };
    const writeAll = async (prefix: string): Promise<void> => {
      await Promise.all(Array.from({ length: 40 }, (_, i) => write(`${prefix}${i}`)));
    };
    await writeAll('kept');
    await loseFromHere(lab, () => writeAll('gone'));
    await pool.query('SELECT');
    const told = lost.map((event) => event.parameters()[1]![0] as string).sort();
    expect(told).toEqual(Array.from({ length: 40 }, (_, i) => `gone${i}`).sort());
    expect((await lab.notes()).every((note) => note.startsWith('kept'))).toBe(true);
    expect(lost.every(({ outcome }) => outcome === 'lost')).toBe(true);
  });

  it('is reported once, also if the next primary dies as well', async () => {
    const client = await lab.connect();
    const lost = lostOf(client);
    await loseFromHere(lab, () => transaction(client, 'lost'));
    await transaction(client, 'kept');
    expect(lost).toHaveLength(1);
    await lab.cluster.rejoin(lab.cluster.nodes.find((node) => node !== lab.primary)!);
    await purged(client);
    await lab.replacePrimary();
    await client.query('SELECT');
    expect(lost).toHaveLength(1);
    expect(await lab.notes()).toEqual(['kept']);
  });

  it('is reported to a session that comes later, when nobody had a statement in flight', async () => {
    const pool = lab.pool({ max: 1 });
    const lost = lostOf(pool);
    await loseFromHere(lab, async () => {
      const client = await pool.connect();
      await transaction(client as unknown as WatchedClient, 'lost');
      client.release(true);
      await waitFor(() => lab.proxy.connections.length === 0);
    });
    const client = await pool.connect();
    expect(lost.map(({ outcome }) => outcome)).toEqual(['lost']);
    client.release();
  });

  it('is found as well when its COMMIT was acknowledged by a tag alone', async () => {
    const client = await lab.connect();
    const lost = lostOf(client);
    await loseFromHere(lab, async () => {
      await client.query('BEGIN');
      await client.query(`INSERT INTO note VALUES ('a')`);
      lab.proxy.onBackendMessage = (type, body) =>
        type === 'Z' && body.toString('latin1') === 'I' ? 'drop' : undefined;
      const commit = client.query('COMMIT');
      await waitFor(async () => (await lab.notes()).length === 1);
      commit.catch(() => undefined);
    });
    await client.query('SELECT');
    expect(lost.map(({ outcome }) => outcome)).toEqual(['lost']);
  });
});

describe('an acknowledged statement outside of a transaction', () => {
  const lab = FailoverLab.forThisSuite();

  it('is lost for certain if the standby had not even come to where it was sent', async () => {
    const client = await lab.connect({ failover: POLLS_OFTEN });
    const lost = lostOf(client);
    const size = (): number => client.failover!.snapshot().committedLogTransactions;
    await loseFromHere(lab, async () => {
      await client.query('INSERT INTO note VALUES ($1)', ['first']);
      // What is known to read is not kept. Texts are judged in the order in which they come, so this one is known as well.
      await waitFor(async () => {
        const before = size();
        await client.query('SELECT text FROM note');
        return size() === before;
      });
      await positionIsTheLast(lab);
      await client.query('INSERT INTO note VALUES ($1)', ['next']);
    });
    await client.query('SELECT');
    expect(lost).toHaveLength(2);
    expect(lost.at(-1)).toMatchObject({
      outcome: 'lost',
      statements: ['INSERT INTO note VALUES ($1)'],
      transactionId: null,
    });
    expect(lost.at(-1)!.parameters()).toEqual([['next']]);
  });

  it('that only reads is no matter of anybody', async () => {
    const client = await lab.connect();
    const lost = lostOf(client);
    await client.query('SELECT text FROM note');
    await client.query('SELECT $1::int', [1]);
    await client.query('SHOW work_mem');
    await client.query(`SET work_mem = '5MB'`);
    await client.query('BEGIN');
    await client.query('SELECT text FROM note');
    await client.query('COMMIT');
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    await client.query('ROLLBACK');
    await loseFromHere(lab, async () => {
      await client.query('SELECT text FROM note');
    });
    await client.query('SELECT');
    expect(lost).toEqual([]);
  });
});

describe('an acknowledged statement outside of a transaction, with tokens', () => {
  const lab = FailoverLab.forThisSuite({ tokens: true });

  it('is judged exactly; what wrote nothing is no matter of anybody', async () => {
    const pool = lab.pool({ max: 4 });
    const lost = lostOf(pool);
    const write = async (name: string): Promise<void> => {
      await pool.query('INSERT INTO note VALUES ($1)', [name]);
      await pool.query(`INSERT INTO note VALUES ('${name}')`);
      await pool.query('SELECT pg_sleep(0)');
      await pool.query(`SELECT set_config('app.name', $1, true)`, [name]);
      await pool.query(`UPDATE note SET text = text WHERE text = 'nobody'`);
    };
    const writeAll = async (prefix: string): Promise<void> => {
      await Promise.all(Array.from({ length: 20 }, (_, i) => write(`${prefix}${i}`)));
    };
    await writeAll('kept');
    await loseFromHere(lab, () => writeAll('gone'));
    await pool.query('SELECT');
    expect(lost.every(({ outcome }) => outcome === 'lost')).toBe(true);
    expect(lost).toHaveLength(40);
    const told = lost.filter((event) => event.parameters()[0]!.length === 1);
    expect(told.map((event) => event.parameters()[0]![0] as string).sort()).toEqual(
      Array.from({ length: 20 }, (_, i) => `gone${i}`).sort(),
    );
    expect(await lab.notes()).toHaveLength(40);
  });

  it('is judged exactly as well if it is a string that begins and commits a transaction', async () => {
    const client = await lab.connect();
    const lost = lostOf(client);
    const write = async (name: string): Promise<void> => {
      await client.query(`BEGIN; INSERT INTO note VALUES ('${name}'); COMMIT`);
      await client.query(`INSERT INTO note VALUES ('${name} by END'); END`);
      await client.query(`BEGIN; SELECT text FROM note WHERE pg_sleep(0) IS NULL; COMMIT`);
    };
    await write('kept');
    await loseFromHere(lab, () => write('gone'));
    await client.query('SELECT');
    expect(lost.map(({ outcome, statements }) => [outcome, ...statements])).toEqual([
      ['lost', `BEGIN; INSERT INTO note VALUES ('gone'); COMMIT`],
      ['lost', `INSERT INTO note VALUES ('gone by END'); END`],
    ]);
    expect(await lab.notes()).toEqual(['kept', 'kept by END']);
  });

  it('survives a crash of its server, and is known to', async () => {
    const client = await lab.connect();
    const lost = lostOf(client);
    for (let i = 0; i < 10; i++) await client.query('INSERT INTO note VALUES ($1)', [i]);
    await transaction(client, 'a');
    await lab.primary.kill();
    await lab.primary.start();
    await client.query('SELECT');
    expect(lost).toEqual([]);
    expect(await lab.notes()).toHaveLength(11);
    expect(client.failover!.snapshot().commitsMaybeLost).toBe(0);
  });
});

describe('the committed log', () => {
  const lab = FailoverLab.forThisSuite({ standbys: 2 });
  const size = (client: Client | Pool): number => client.failover!.snapshot().committedLogTransactions;

  it('is empty as soon as every standby has replayed all of it', async () => {
    const client = await lab.connect({ failover: POLLS_OFTEN });
    await transaction(client, 'a');
    await client.query(`INSERT INTO note VALUES ('b')`);
    expect(size(client)).toBeGreaterThan(0);
    expect(client.failover!.snapshot().committedLogBytes).toBeGreaterThan(100);
    await purged(client);
    expect(client.failover!.snapshot()).toMatchObject({ committedLogBytes: 0, committedLogDropped: 0 });
  });

  it('waits for a standby that lags behind', async () => {
    const client = await lab.connect({ failover: POLLS_OFTEN });
    await transaction(client, 'before');
    await purged(client);
    const [standby] = lab.cluster.standbys;
    const session = await lab.stock({ host: standby!.host, port: standby!.port });
    await standby!.query('SELECT pg_wal_replay_pause()');
    try {
      await transaction(client, 'a');
      const other = lab.cluster.standbys[1]!;
      await waitFor(async () => {
        const { rows } = await other.query<{ count: string }>('SELECT count(*) FROM note');
        return rows[0]!.count === '2';
      });
      await sleep(200);
      expect(size(client)).toBe(1);
    } finally {
      await standby!.query('SELECT pg_wal_replay_resume()');
      await session.end();
    }
    await purged(client);
  });

  it('waits for a standby that can not be asked: it may be the one that is promoted (A15)', async () => {
    const client = await lab.connect({ failover: POLLS_OFTEN });
    const [standby] = lab.cluster.standbys;
    await standby!.stop('fast');
    await transaction(client, 'a');
    await sleep(200);
    expect(size(client)).toBe(1);
    await standby!.start();
    await purged(client);
  });

  it('tells which statements the promoted standby has, but for those behind the last position', async () => {
    const client = await lab.connect({ failover: POLLS_OFTEN });
    const lost = lostOf(client);
    // It can't be asked, so nothing leaves the log.
    await lab.cluster.standbys[0]!.stop('fast');
    for (let i = 0; i < 20; i++) await client.query('INSERT INTO note VALUES ($1)', [`early ${i}`]);
    await positionIsTheLast(lab);
    for (let i = 0; i < 3; i++) await client.query('INSERT INTO note VALUES ($1)', [`late ${i}`]);
    await transaction(client, 'marked');
    expect(size(client)).toBe(24);
    await lab.replacePrimary();
    await client.query('SELECT');
    expect(await lab.notes()).toHaveLength(24);
    expect(lost.map((event) => [event.outcome, event.reason, ...event.parameters()[0]!])).toEqual(
      [0, 1, 2].map((i) => ['unknown', 'no-mark', `late ${i}`]),
    );
    expect(client.failover!.snapshot()).toMatchObject({ commitsLost: 0, commitsMaybeLost: 3 });
  });

  it('is empty as well behind a failover, as soon as the others follow', async () => {
    const client = await lab.connect({ failover: POLLS_OFTEN });
    await transaction(client, 'a');
    await lab.replacePrimary();
    await transaction(client, 'b');
    await lab.cluster.rejoin(lab.cluster.nodes.find((node) => !node.isRunning)!);
    await waitFor(async () => {
      await transaction(client, 'c');
      return size(client) === 0 || (await purged(client).then(() => true));
    });
  });

  it('finds on the third primary what the second had acknowledged, and not what the first had', async () => {
    const client = await lab.connect({ failover: POLLS_OFTEN });
    const lost = lostOf(client);
    await transaction(client, 'on the first');
    // Nobody polls any more: that the third follows the second must be seen by the survey that a new timeline begins.
    await purged(client);
    await lab.replacePrimary();
    await transaction(client, 'on the second, shipped');
    await loseFromHere(lab, () => transaction(client, 'on the second, lost'));
    await client.query('SELECT');
    expect(lost.map((event) => [event.outcome, ...event.parameters()[1]!])).toEqual([
      ['lost', 'on the second, lost'],
    ]);
    expect(await lab.notes()).toEqual(['on the first', 'on the second, shipped']);
  });
});

describe('what is on a single server', () => {
  const lab = FailoverLab.forThisSuite({ standbys: 0, settings: { wal_writer_delay: '10s' } });

  it('is kept only until that has flushed it, which a crash does not take back', async () => {
    const client = await lab.connect({ failover: POLLS_OFTEN });
    const lost = lostOf(client);
    await transaction(client, 'a');
    await purged(client);
    await lab.primary.kill();
    await lab.primary.start();
    await client.query('SELECT');
    expect(lost).toEqual([]);
    expect(await lab.notes()).toEqual(['a']);
  });

  it('can be lost if nobody had waited for that', async () => {
    const client = await lab.connect({ failover: POLLS_OFTEN });
    const lost = lostOf(client);
    await transaction(client, 'kept');
    await purged(client);
    await client.query('SET synchronous_commit = off');
    await transaction(client, 'lost');
    await client.query('SELECT pg_sleep(0.1)');
    await lab.primary.kill();
    await lab.primary.start();
    await client.query('SELECT');
    expect(await lab.notes()).toEqual(['kept']);
    expect(lost.map((event) => [event.outcome, ...event.parameters()[1]!])).toEqual([['lost', 'lost']]);
  });
});

describe('with synchronous replication', () => {
  const lab = FailoverLab.forThisSuite({ synchronous: true });

  it('nothing is lost, and nothing reported', async () => {
    const pool = lab.pool({ max: 4 });
    const lost = lostOf(pool);
    await Promise.all(
      Array.from({ length: 40 }, async (_, i) => {
        await pool.query('INSERT INTO note VALUES ($1)', [`s${i}`]);
        const client = await pool.connect();
        await transaction(client as unknown as WatchedClient, `t${i}`);
        client.release();
      }),
    );
    await lab.primary.kill();
    await lab.cluster.failover();
    await pool.query('SELECT');
    expect(await lab.notes()).toHaveLength(80);
    expect(lost.filter(({ outcome }) => outcome === 'lost')).toEqual([]);
  });
});

describe('an acknowledgement that comes when another primary is in force already (R12)', () => {
  const lab = FailoverLab.forThisSuite();

  it('is looked into as well', async () => {
    const late = await lab.connect();
    const other = await lab.connect();
    const lost = lostOf(late);
    const old = lab.primary;
    const oldProxy = lab.proxy;
    await late.query('SELECT');
    await lab.cluster.failover();
    await oldProxy.refuse();
    oldProxy.connections[1]!.cut();
    await transaction(late, 'on the old one');
    await other.query('SELECT');
    await late.query('SELECT');
    expect(lost.map(({ outcome }) => outcome)).toEqual(['lost']);
    await old.stop('immediate');
  });
});

describe('the limits of the committed log', () => {
  const limits = { ...POLLS_OFTEN, maxCommittedLogTransactions: 3 };
  const lab = FailoverLab.forThisSuite();

  it('make the oldest fall out, with one event, and the loss of these is not told', async () => {
    const client = await lab.connect({ failover: limits });
    const lost = lostOf(client);
    const told: LimitReached[] = [];
    client.failover!.on('limitReached', (event) => told.push(event));
    await loseFromHere(lab, async () => {
      for (let i = 0; i < 6; i++) await transaction(client, String(i));
    });
    await client.query('SELECT');
    expect(told).toMatchObject([{ session: null, limit: 'failover.maxCommittedLogTransactions', value: 3 }]);
    expect(client.failover!.snapshot().committedLogDropped).toBe(3);
    expect(lost.map((event) => event.parameters()[1]![0])).toEqual(['3', '4', '5']);
  });
});

describe(`lostCommits: 'ignore'`, () => {
  const lab = FailoverLab.forThisSuite();

  it('keeps nothing, asks nobody, and tells nothing', async () => {
    const client = await lab.connect({ failover: { lostCommits: 'ignore', ...POLLS_OFTEN } });
    const lost = lostOf(client);
    await loseFromHere(lab, async () => {
      await transaction(client, 'a');
      await client.query(`INSERT INTO note VALUES ('b')`);
      await client.query('SELECT pg_sleep(0.2)');
      expect(client.failover!.snapshot().committedLogTransactions).toBe(0);
      expect(lab.proxy.connections).toHaveLength(1);
    });
    await client.query('SELECT');
    expect(lost).toEqual([]);
    expect(await lab.notes()).toEqual([]);
  });
});
