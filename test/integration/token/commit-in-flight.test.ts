import { describe, expect, it } from 'vitest';
import type { CommitResolved } from '../../../src/events.ts';
import { FailoverLab, type WatchedClient } from '../../support/failover-lab.ts';
import { loseAnswers, loseQuestions, onMessage } from '../../support/on-message.ts';

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

  async function beginWork(): Promise<WatchedClient & { readonly verdicts: string[] }> {
    const client = await lab.connect({ failover: { commitOutcome: 'token' } });
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
    const sent = onMessage(lab.proxy, { from: 'client', type: 'B', text: 'holdfast_token' }, () => 'drop');
    const all = loseQuestions(lab.proxy);
    const committed = client.query('COMMIT AND CHAIN');
    await Promise.race([sent, all]);
    await lab.replacePrimary();
    await committed;
    await client.query(`INSERT INTO note VALUES ('later')`);
    await client.query('COMMIT');
    expect(await lab.notes()).toEqual(['a', 'b', 'later']);
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
