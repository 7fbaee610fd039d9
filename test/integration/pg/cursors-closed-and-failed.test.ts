import Cursor from 'pg-cursor';
import QueryStream from 'pg-query-stream';
import { describe, expect, it } from 'vitest';
import { FailoverLab, type WatchedClient } from '../../support/failover-lab.ts';
import { onMessage, onMessageOfAny } from '../../support/on-message.ts';
import { rejectionOf, settle } from '../../support/settle.ts';

interface Numbered {
  readonly n: number;
}

function numbers(from: number, to: number): Numbered[] {
  return Array.from({ length: to - from + 1 }, (_, i) => ({ n: from + i }));
}

const LOSSES = [
  ['the primary is replaced', 'replace'],
  ['only the connection is cut', 'cut'],
] as const;

describe('a cursor or a stream is open when the connection is lost', () => {
  const lab = FailoverLab.forThisSuite();

  async function lose(how: 'replace' | 'cut'): Promise<void> {
    if (how === 'replace') await lab.replacePrimary();
    else lab.proxy.cut();
  }

  async function begin(): Promise<WatchedClient> {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    return client;
  }

  async function commit(client: WatchedClient): Promise<void> {
    await client.query('COMMIT');
    expect(await lab.notes()).toEqual(['a']);
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    expect(client.seen).toMatchObject({ isQuiet: true, notices: [] });
  }

  describe.each(LOSSES)('and %s:', (_what, how) => {
    it('a cursor is closed early, before it', async () => {
      const client = await begin();
      const cursor = client.query(new Cursor<Numbered>('SELECT n FROM generate_series(1, 1000) AS n'));
      expect(await cursor.read(10)).toEqual(numbers(1, 10));
      await cursor.close();
      await lose(how);
      await commit(client);
    });

    it('a cursor is closed early, behind it', async () => {
      const client = await begin();
      const cursor = client.query(new Cursor<Numbered>('SELECT n FROM generate_series(1, 1000) AS n'));
      expect(await cursor.read(10)).toEqual(numbers(1, 10));
      await lose(how);
      await cursor.close();
      await commit(client);
    });

    it('a cursor is closed outside a transaction, behind it', async () => {
      const client = await lab.connect();
      const cursor = client.query(new Cursor<Numbered>('SELECT n FROM generate_series(1, 1000) AS n'));
      expect(await cursor.read(10)).toEqual(numbers(1, 10));
      await lose(how);
      await cursor.close();
      expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
      expect(client.seen.isQuiet).toBe(true);
    });

    it('a cursor outside a transaction continues at the right row', async () => {
      const client = await lab.connect();
      const cursor = client.query(new Cursor<Numbered>('SELECT n FROM generate_series(1, 1000) AS n'));
      expect(await cursor.read(10)).toEqual(numbers(1, 10));
      await lose(how);
      expect(await cursor.read(10)).toEqual(numbers(11, 20));
      await lose('cut');
      expect(await cursor.read(2000)).toEqual(numbers(21, 1000));
      expect(await cursor.read(1)).toEqual([]);
      expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
      expect(client.seen.isQuiet).toBe(true);
    });

    it('a cursor fails in a row behind it', async () => {
      const client = await begin();
      await client.query('SAVEPOINT s');
      const cursor = client.query(new Cursor('SELECT 1 / (20 - n) AS x FROM generate_series(1, 30) AS n'));
      expect(await cursor.read(10)).toHaveLength(10);
      await lose(how);
      expect(await cursor.read(5)).toHaveLength(5);
      expect(await rejectionOf(cursor.read(10))).toMatchObject({ code: '22012' });
      await cursor.close();
      await client.query('ROLLBACK TO s');
      await commit(client);
    });

    it('a cursor outside a transaction fails in a row behind it', async () => {
      const client = await lab.connect();
      const cursor = client.query(new Cursor('SELECT 1 / (20 - n) AS x FROM generate_series(1, 30) AS n'));
      expect(await cursor.read(10)).toHaveLength(10);
      await lose(how);
      expect(await rejectionOf(cursor.read(15))).toMatchObject({ code: '22012' });
      await cursor.close();
      expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
      expect(client.seen.isQuiet).toBe(true);
    });

    it('a stream is destroyed in the middle, behind it', async () => {
      const client = await begin();
      const stream = client.query(
        new QueryStream('SELECT n FROM generate_series(1, 100000) AS n', [], { batchSize: 10 }),
      );
      const seen: Numbered[] = [];
      for await (const row of stream) {
        seen.push(row as Numbered);
        if (seen.length === 25) await lose(how);
        if (seen.length === 45) break;
      }
      expect(seen).toEqual(numbers(1, 45));
      await commit(client);
    });

    it('several cursors one after the other in one transaction are replayed to where they were', async () => {
      const client = await begin();
      const first = client.query(new Cursor<Numbered>('SELECT n FROM generate_series(1, 1000) AS n'));
      expect(await first.read(10)).toEqual(numbers(1, 10));
      await first.close();
      const second = client.query(
        new Cursor<number[]>('SELECT n FROM generate_series(5, 1000) AS n', [], { rowMode: 'array' }),
      );
      expect(await second.read(3)).toEqual([[5], [6], [7]]);
      await lose(how);
      expect(await second.read(2)).toEqual([[8], [9]]);
      await lose('cut');
      expect(await second.read(2)).toEqual([[10], [11]]);
      await second.close();
      await commit(client);
    });
  });

  it('and the rows that a cursor gave are others by now: it is told so, and nothing is committed', async () => {
    await lab.primary.query(`INSERT INTO note SELECT 'line ' || n FROM generate_series(10, 99) AS n`);
    const client = await lab.connect();
    await client.query('BEGIN');
    const cursor = client.query(new Cursor<{ text: string }>('SELECT text FROM note ORDER BY text'));
    expect(await cursor.read(10)).toHaveLength(10);
    await lab.primary.query(`DELETE FROM note WHERE text = 'line 13'`);
    await lab.replacePrimary();
    expect(await rejectionOf(cursor.read(10))).toMatchObject({ code: '40001', kind: 'replay-diverged' });
    await cursor.close();
    expect((await client.query('ROLLBACK')).command).toBe('ROLLBACK');
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    expect(client.seen.isQuiet).toBe(true);
  });

  it('and again while its portal is brought back: it continues at the right row', async () => {
    const client = await begin();
    const cursor = client.query(new Cursor<Numbered>('SELECT n FROM generate_series(1, 1000) AS n'));
    expect(await cursor.read(10)).toEqual(numbers(1, 10));
    expect(await cursor.read(10)).toEqual(numbers(11, 20));
    const proxies = [...lab.standbyProxies];
    const cut = onMessageOfAny(proxies, { from: 'server', type: 'D', text: '15' }, 'cut-before');
    const reading = settle(cursor.read(10));
    await lab.replacePrimary();
    await cut;
    expect((await reading).value).toEqual(numbers(21, 30));
    await cursor.close();
    await commit(client);
  });

  it('with a write that returns its rows by a cursor: written once, each row given once', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    const cursor = client.query(
      new Cursor<{ text: string }>(
        `INSERT INTO note SELECT 'line ' || n FROM generate_series(10, 59) AS n RETURNING text`,
      ),
    );
    const held = onMessage(lab.proxy, { from: 'server', type: 'D', after: 15 }, 'hold');
    const reading = cursor.read(30);
    await held;
    const { proxy } = lab;
    await lab.shipAll();
    await lab.primary.kill();
    proxy.cut();
    await lab.cluster.failover();
    const rows = [...(await reading), ...(await cursor.read(30))];
    await cursor.close();
    await client.query('COMMIT');
    const expected = numbers(10, 59).map(({ n }) => `line ${n}`);
    expect(rows.map(({ text }) => text)).toEqual(expected);
    expect(await lab.notes()).toEqual(expected);
    expect(client.seen.isQuiet).toBe(true);
  });

  it('with such a write outside a transaction: it is not run twice', async () => {
    const client = await lab.connect();
    const cursor = client.query(
      new Cursor<{ text: string }>(
        `INSERT INTO note SELECT 'line ' || n FROM generate_series(10, 59) AS n RETURNING text`,
      ),
    );
    expect(await cursor.read(10)).toHaveLength(10);
    await lab.replacePrimary();
    expect(await rejectionOf(cursor.read(10))).toMatchObject({ code: '08007', kind: 'outcome-unknown' });
    await cursor.close();
    expect(await lab.notes()).toEqual([]);
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    expect(client.seen.isQuiet).toBe(true);
  });
});
