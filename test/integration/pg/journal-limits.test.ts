import { describe, expect, it } from 'vitest';
import type { LimitReached } from '../../../src/events.ts';
import type { FailoverOptions } from '../../../src/options.ts';
import type { WatchedClient } from '../../support/failover-lab.ts';
import { FailoverLab } from '../../support/failover-lab.ts';
import { rejectionOf } from '../../support/settle.ts';

describe('a transaction passes a limit of the journal', () => {
  const lab = FailoverLab.forThisSuite({ standbys: 0 });

  async function begin(failover: FailoverOptions): Promise<WatchedClient & { readonly limits: string[] }> {
    const client = await lab.connect({ failover });
    const limits: string[] = [];
    client.failover!.on('limitReached', ({ limit }: LimitReached) => limits.push(limit));
    await client.query('BEGIN');
    return Object.assign(client, { limits });
  }

  const LIMITS: readonly (readonly [name: string, options: FailoverOptions, texts: readonly string[]])[] = [
    ['maxJournalStatements', { maxJournalStatements: 3 }, ['a', 'b', 'c']],
    ['maxJournalBytes', { maxJournalBytes: 2000 }, ['a'.repeat(900), 'b'.repeat(900), 'c'.repeat(900)]],
    ['maxJournalBytes', { maxJournalBytes: 2000 }, ['a'.repeat(100_000)]],
    ['maxJournalBytes', { maxJournalBytes: 0 }, ['a']],
  ];

  it.each(LIMITS)('is told which: %s %j', async (name, options, texts) => {
    const client = await begin(options);
    for (const text of texts) await client.query('INSERT INTO note VALUES ($1)', [text]);
    lab.proxy.cut();
    const error = await rejectionOf(client.query('SELECT 1'));
    expect(error).toMatchObject({
      code: '40001',
      kind: 'transaction-not-replayable',
      outcome: 'rolled-back',
    });
    expect(error.message).toContain(`failover.${name}`);
    expect(error.message).toContain(String(Object.values(options)[0]));
    expect(error.message).not.toContain('aaa');
    await client.query('ROLLBACK');
    await client.query(`INSERT INTO note VALUES ('later')`);
    expect(await lab.notes()).toEqual(['later']);
  });

  it.each(LIMITS)(
    'goes on as long as nothing is lost, and the next one is whole again: %s %j',
    async (_name, options, texts) => {
      const client = await begin(options);
      for (const text of texts) await client.query('INSERT INTO note VALUES ($1)', [text]);
      await client.query('COMMIT');
      expect(await lab.notes()).toEqual([...texts].sort());
      if (options.maxJournalBytes === 0) return;
      await client.query('BEGIN');
      await client.query(`INSERT INTO note VALUES ('next')`);
      lab.proxy.cut();
      await client.query('COMMIT');
      expect(await lab.notes()).toEqual([...texts, 'next'].sort());
    },
  );

  it('is whole up to the limit', async () => {
    // BEGIN counts as well.
    const client = await begin({ maxJournalStatements: 4 });
    for (const text of ['a', 'b', 'c']) await client.query('INSERT INTO note VALUES ($1)', [text]);
    lab.proxy.cut();
    await client.query('COMMIT');
    expect(await lab.notes()).toEqual(['a', 'b', 'c']);
    expect(client.limits).toEqual([]);
  });

  it('tells it by an event, once', async () => {
    const client = await begin({ maxJournalBytes: 2000 });
    for (let i = 0; i < 5; i++) await client.query('INSERT INTO note VALUES ($1)', ['x'.repeat(900)]);
    expect(client.limits).toEqual(['failover.maxJournalBytes']);
    await client.query('ROLLBACK');
  });

  it('commits once if COMMIT was in doubt and is done', async () => {
    const client = await begin({ maxJournalStatements: 2 });
    for (const text of ['a', 'b', 'c']) await client.query('INSERT INTO note VALUES ($1)', [text]);
    lab.proxy.onBackendMessage = (type, body, connection) => {
      if (type === 'C' && body.includes('COMMIT')) {
        lab.proxy.onBackendMessage = undefined;
        connection.cut();
      }
      return undefined;
    };
    expect((await client.query('COMMIT')).command).toBe('COMMIT');
    expect(await lab.notes()).toEqual(['a', 'b', 'c']);
  });

  it('says rolled back if COMMIT was in doubt and is not done', async () => {
    const client = await begin({ maxJournalStatements: 2 });
    for (const text of ['a', 'b', 'c']) await client.query('INSERT INTO note VALUES ($1)', [text]);
    lab.proxy.onFrontendMessage = (type, body) =>
      type === 'Q' && body.includes('COMMIT') ? 'cut-before' : undefined;
    const error = await rejectionOf(client.query('COMMIT'));
    await lab.proxy.reset();
    expect(error).toMatchObject({
      code: '40001',
      kind: 'transaction-not-replayable',
      outcome: 'rolled-back',
    });
    expect(await lab.notes()).toEqual([]);
    await client.query(`INSERT INTO note VALUES ('later')`);
    expect(await lab.notes()).toEqual(['later']);
  });

  it('frees the memory of the process when transactions end', async () => {
    const client = await begin({});
    for (let i = 0; i < 50; i++) await client.query('INSERT INTO note VALUES ($1)', ['x'.repeat(50_000)]);
    expect(client.failover!.snapshot().journalBytes).toBeGreaterThan(2_000_000);
    await client.query('COMMIT');
    await client.query('SELECT 1');
    expect(client.failover!.snapshot().journalBytes).toBeLessThan(200_000);
    await client.end();
    expect(client.failover!.snapshot().journalBytes).toBe(0);
  });
});
