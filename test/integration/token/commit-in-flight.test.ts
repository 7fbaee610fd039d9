import { describe, expect, it } from 'vitest';
import type { CommitResolved } from '../../../src/events.ts';
import type { ClientConfig } from '../../../src/pg.ts';
import { FailoverLab, type WatchedClient } from '../../support/failover-lab.ts';
import { loseAnswers, loseQuestions, onMessage, onMessageOfAny } from '../../support/on-message.ts';
import { rejectionOf, settle } from '../../support/settle.ts';

interface Form {
  readonly name: string;
  readonly commit: (client: WatchedClient) => Promise<unknown>;
  /** What its tag is. */
  readonly tag: string;
}

const query =
  (text: string) =>
  async (client: WatchedClient): Promise<unknown> =>
    await client.query(text);

const FORMS: readonly Form[] = [
  { name: 'COMMIT', commit: query('COMMIT'), tag: 'COMMIT' },
  { name: 'END with a comment', commit: query('/* a */ end work; -- b'), tag: 'COMMIT' },
  {
    name: 'COMMIT by the extended protocol',
    commit: (client) => client.query({ text: 'COMMIT', queryMode: 'extended' } as never),
    tag: 'COMMIT',
  },
  {
    name: 'COMMIT by a named statement',
    commit: (client) => client.query({ name: 'end', text: 'COMMIT' }),
    tag: 'COMMIT',
  },
  {
    name: 'a string that ends in COMMIT',
    commit: query(`INSERT INTO note VALUES ('c'); COMMIT`),
    tag: 'COMMIT',
  },
];

describe('R6: a COMMIT with a token is in flight', () => {
  const lab = FailoverLab.forThisSuite({ tokens: true });

  async function beginWork(
    config: ClientConfig = {},
  ): Promise<WatchedClient & { readonly verdicts: string[] }> {
    const client = await lab.connect({ ...config, failover: { commitOutcome: 'token' } });
    const verdicts: string[] = [];
    client.failover!.on('commitResolved', ({ outcome, reason }: CommitResolved) =>
      verdicts.push(`${outcome} ${reason}`),
    );
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    await client.query('INSERT INTO note VALUES ($1)', ['b']);
    return Object.assign(client, { verdicts });
  }

  for (const { name, commit, tag } of FORMS) {
    const written = name.startsWith('a string') ? ['a', 'b', 'c'] : ['a', 'b'];

    it(`${name}: as ever`, async () => {
      const client = await beginWork();
      expect(lastTag(await commit(client))).toBe(tag);
      expect(await lab.notes()).toEqual(written);
      await client.query('BEGIN');
      expect(lastTag(await commit(client))).toBe(tag);
      expect(client.verdicts).toEqual([]);
    });

    it(`${name}: never reached the server`, async () => {
      const client = await beginWork();
      const sent = loseQuestions(lab.proxy);
      const committed = commit(client);
      await sent;
      await lab.replacePrimary();
      expect(lastTag(await committed)).toBe(tag);
      expect(client.verdicts).toEqual(['not-committed token-fenced']);
      expect(await lab.notes()).toEqual(written);
    });

    it(`${name}: is committed, and the standby has it`, async () => {
      const client = await beginWork();
      // The answer of the token, which comes in front of that of the COMMIT.
      const lost = onMessage(lab.proxy, { from: 'server', type: 'D' }, (from) =>
        loseAnswers(lab.proxy, from),
      );
      const committed = commit(client);
      await lost;
      await lab.replacePrimary();
      expect(lastTag(await committed)).toBe(tag);
      expect(client.verdicts).toEqual(['committed token-committed']);
      expect(await lab.notes()).toEqual(written);
      expect(client.seen.isQuiet).toBe(true);
    });

    it(`${name}: is committed, and the standby does not have it`, async () => {
      const client = await beginWork();
      await lab.shipAll();
      await lab.primary.freezeWalSender();
      const lost = onMessage(lab.proxy, { from: 'server', type: 'D' }, (from) =>
        loseAnswers(lab.proxy, from),
      );
      const committed = commit(client);
      await lost;
      await lab.primary.kill();
      await lab.cluster.failover();
      expect(lastTag(await committed)).toBe(tag);
      expect(client.verdicts).toEqual(['not-committed token-fenced']);
      expect(await lab.notes()).toEqual(written);
    });

    it(`${name}: the connection is cut, and the server goes on with it`, async () => {
      const client = await beginWork();
      const lost = onMessage(lab.proxy, { from: 'server', type: 'D' }, (from) => {
        setImmediate(() => {
          lab.proxy.cut();
        });
        return loseAnswers(lab.proxy, from);
      });
      const committed = commit(client);
      await lost;
      lab.proxy.onBackendMessage = undefined;
      expect(lastTag(await committed)).toBe(tag);
      expect(await lab.notes()).toEqual(written);
    });
  }

  it('COMMIT AND CHAIN: the first transaction is there once, and the application is told that it is committed', async () => {
    const client = await beginWork();
    const lost = onMessage(lab.proxy, { from: 'server', type: 'C', text: 'COMMIT' }, (from) =>
      loseAnswers(lab.proxy, from),
    );
    const committed = client.query('COMMIT AND CHAIN');
    await lost;
    await lab.replacePrimary();
    await expect(committed).rejects.toMatchObject({ outcome: 'committed' });
    expect(client.verdicts).toEqual(['committed token-committed']);
    await client.query('ROLLBACK');
    expect(await lab.notes()).toEqual(['a', 'b']);
  });

  it('COMMIT AND CHAIN: not committed, so it is brought back and chained', async () => {
    const client = await beginWork();
    const sent = onMessage(
      lab.proxy,
      { from: 'client', type: 'B', text: 'holdfast_new_token' },
      () => 'drop',
    );
    const all = loseQuestions(lab.proxy);
    const committed = client.query('COMMIT AND CHAIN');
    await Promise.race([sent, all]);
    await lab.replacePrimary();
    await committed;
    await client.query(`INSERT INTO note VALUES ('later')`);
    await client.query('COMMIT');
    expect(await lab.notes()).toEqual(['a', 'b', 'later']);
  });

  it('lost on one server and committed on the next, whose answer is lost as well: the third knows (A→B→C)', async () => {
    const client = await beginWork();
    const first = lab.primary;
    await lab.shipAll();
    await first.freezeWalSender();
    const wanted = { from: 'server', type: 'C', text: 'COMMIT' } as const;
    const lost = onMessage(lab.proxy, wanted, (from) => loseAnswers(lab.proxy, from));
    const committed = client.query('COMMIT');
    await lost;
    const second = lab.standbyProxies[0]!;
    // Its own COMMIT is the one behind its token: the resolver commits as well.
    const lostAgain = onMessage(
      second,
      { from: 'client', type: 'B', text: 'holdfast_new_token' },
      'pass',
    ).then(async (session) => {
      await new Promise<void>((resolve) => {
        second.onBackendMessage = (type, body, from) => {
          if (from !== session || type !== 'C' || !body.includes('COMMIT')) return undefined;
          resolve();
          return loseAnswers(second, session);
        };
      });
    });
    await first.kill();
    await lab.cluster.failover();
    await lostAgain;
    second.onBackendMessage = undefined;
    await lab.cluster.rejoin(first);
    await lab.replacePrimary();
    await committed;
    expect(client.verdicts).toEqual(['not-committed token-fenced', 'committed token-committed']);
    expect(await lab.notes()).toEqual(['a', 'b']);
  });

  it('a string with its COMMIT that failed is replayed as it failed', async () => {
    const client = await lab.connect({ failover: { commitOutcome: 'token' } });
    const text = `BEGIN; SAVEPOINT s; INSERT INTO note VALUES ('a') RETURNING text; SELECT 1 / 0; COMMIT`;
    expect(await rejectionOf(client.query(text))).toMatchObject({ code: '22012' });
    await lab.replacePrimary();
    await client.query('ROLLBACK TO s');
    await client.query(`INSERT INTO note VALUES ('b')`);
    await client.query('COMMIT');
    expect(await lab.notes()).toEqual(['b']);
  });

  it('a string whose token alone met a lock is not left half-way: it runs again without', async () => {
    const client = await lab.connect({ failover: { commitOutcome: 'token' } });
    await client.query(`SET lock_timeout = '50ms'`);
    const locker = await lab.stock({ ...lab.primary.superuserConfig() });
    await locker.query('BEGIN; LOCK TABLE holdfast.token IN SHARE MODE');
    await client.query(`BEGIN; INSERT INTO note VALUES ('a'); COMMIT`);
    await locker.query('COMMIT');
    await client.query(`INSERT INTO note VALUES ('b')`);
    expect(await lab.notes()).toEqual(['a', 'b']);
  });

  describe('while it is being found out what became of it', () => {
    /** The question is on its way to the new primary; `release` lets it arrive. */
    async function asking(
      client: WatchedClient,
      lose: 'question' | 'answer',
    ): Promise<{ committed: ReturnType<typeof settle>; release: () => void }> {
      const lost =
        lose === 'question'
          ? loseQuestions(lab.proxy)
          : onMessage(lab.proxy, { from: 'server', type: 'C', text: 'COMMIT' }, (from) =>
              loseAnswers(lab.proxy, from),
            );
      const committed = settle(client.query('COMMIT'));
      await lost;
      const wanted = { from: 'client', type: 'P', text: 'resolve_token' } as const;
      const asked = onMessageOfAny(lab.standbyProxies, wanted, 'hold');
      await lab.replacePrimary();
      const connection = await asked;
      return {
        committed,
        release: () => {
          connection.release();
        },
      };
    }

    it('end() ends, and the COMMIT is said to be unknown', async () => {
      const client = await beginWork();
      const { committed } = await asking(client, 'answer');
      await client.end();
      expect((await committed).error).toBeDefined();
      expect(await lab.notes()).toEqual(['a', 'b']);
    });

    it('end() of the pool waits for who has it, and he hears what became of it', async () => {
      const pool = lab.pool({ failover: { commitOutcome: 'token' } });
      const client = await pool.connect();
      await client.query('BEGIN');
      await client.query(`INSERT INTO note VALUES ('a')`);
      const { committed, release } = await asking(client as unknown as WatchedClient, 'answer');
      const ended = pool.end();
      release();
      expect((await committed).error).toBeUndefined();
      client.release();
      await ended;
      expect(await lab.notes()).toEqual(['a']);
    });

    it.each([
      { lose: 'question', what: 'never arrived is not brought back', written: [] },
      { lose: 'answer', what: 'took effect stays', written: ['a', 'b'] },
    ] as const)('one that was given up and $what, and the session goes on', async ({ lose, written }) => {
      const client = await beginWork({ query_timeout: 1_000 });
      const { committed, release } = await asking(client, lose);
      expect((await committed).error).toMatchObject({ message: 'Query read timeout' });
      release();
      expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
      expect(await lab.notes()).toEqual(written);
    });
  });

  it('a transaction that has only read goes without', async () => {
    await lab.primary.query('TRUNCATE holdfast.token');
    const client = await lab.connect({ failover: { commitOutcome: 'token' } });
    for (let i = 0; i < 3; i++) {
      await client.query('BEGIN');
      await client.query('SELECT text FROM note');
      await client.query('COMMIT');
    }
    const { rows } = await lab.primary.query('SELECT count(*)::int AS tokens FROM holdfast.token');
    expect(rows).toEqual([{ tokens: 0 }]);
  });
});

function lastTag(result: unknown): string | undefined {
  const results = (Array.isArray(result) ? result : [result]) as { command: string }[];
  return results.at(-1)?.command;
}
