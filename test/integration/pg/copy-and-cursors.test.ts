import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import Cursor from 'pg-cursor';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import { describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { onMessage } from '../../support/on-message.ts';
import { settle } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

interface Numbered {
  readonly n: number;
}

function numbers(from: number, to: number): Numbered[] {
  return Array.from({ length: to - from + 1 }, (_, i) => ({ n: from + i }));
}

function lines(from: number, to: number): string[] {
  return numbers(from, to).map(({ n }) => `line ${String(n).padStart(6, '0')}\n`);
}

describe('the primary is lost with a COPY or a cursor in the transaction', () => {
  const lab = FailoverLab.forThisSuite();

  async function countNotes(): Promise<{ count: number; different: number }> {
    const { rows } = await lab.primary.query<{ count: number; different: number }>(
      'SELECT count(*)::int AS count, count(DISTINCT text)::int AS different FROM note',
    );
    return rows[0]!;
  }

  it('replays a COPY FROM STDIN that was complete', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await pipeline(Readable.from(lines(1, 5000)), client.query(copyFrom('COPY note FROM STDIN')));
    await lab.replacePrimary();
    await client.query(`INSERT INTO note VALUES ('after')`);
    await client.query('COMMIT');
    expect(await countNotes()).toEqual({ count: 5001, different: 5001 });
    expect(client.seen.isQuiet).toBe(true);
  });

  it('goes on with a COPY FROM STDIN that was half sent', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('before')`);
    const stream = client.query(copyFrom('COPY note FROM STDIN'));
    await new Promise((resolve) => stream.write(lines(1, 50_000).join(''), resolve));
    await waitFor(async () => {
      const { rowCount } = await lab.primary.query(
        `SELECT FROM pg_stat_progress_copy WHERE tuples_processed > 1000`,
      );
      return rowCount === 1;
    });
    await lab.replacePrimary();
    await pipeline(Readable.from(lines(50_001, 60_000)), stream);
    await client.query('COMMIT');
    expect(await countNotes()).toEqual({ count: 60_001, different: 60_001 });
    expect(client.seen.isQuiet).toBe(true);
  });

  it('does not run a COPY FROM STDIN again that is a transaction of its own', async () => {
    const client = await lab.connect();
    const cut = onMessage(lab.proxy, { from: 'server', type: 'C', text: 'COPY' }, 'cut-before');
    const pending = settle(
      pipeline(Readable.from(lines(1, 100)), client.query(copyFrom('COPY note FROM STDIN'))),
    );
    await cut;
    expect((await pending).error).toMatchObject({ code: '08007', kind: 'outcome-unknown' });
    expect(await countNotes()).toEqual({ count: 100, different: 100 });
  });

  it('gives the other half of a COPY TO STDOUT', async () => {
    const client = await lab.connect();
    await lab.primary.query(
      `INSERT INTO note SELECT 'line ' || lpad(n::text, 6, '0') FROM generate_series(1, 50000) AS n`,
    );
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('line 999999')`);
    const held = onMessage(lab.proxy, { from: 'server', type: 'd', after: 20_000 }, 'hold');
    const stream = client.query(copyTo('COPY (SELECT text FROM note ORDER BY text) TO STDOUT'));
    let text = '';
    stream.on('data', (chunk: Buffer) => (text += chunk.toString()));
    const ended = new Promise<void>((resolve, reject) => stream.on('end', resolve).on('error', reject));
    await held;
    const { proxy } = lab;
    await lab.shipAll();
    await lab.primary.kill();
    proxy.cut();
    await lab.cluster.failover();
    await ended;
    await client.query('COMMIT');
    expect(text === [...lines(1, 50_000), 'line 999999\n'].join('')).toBe(true);
  });

  it('brings an open portal back to its position, between its reads', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    const cursor = client.query(
      new Cursor<Numbered>('SELECT n FROM generate_series(1, $1::int) AS n', [1000]),
    );
    expect(await cursor.read(10)).toEqual(numbers(1, 10));
    await lab.replacePrimary();
    expect(await cursor.read(5)).toEqual(numbers(11, 15));
    expect(await cursor.read(2000)).toEqual(numbers(16, 1000));
    expect(await cursor.read(1)).toEqual([]);
    await cursor.close();
    await client.query(`INSERT INTO note VALUES ('b')`);
    await client.query('COMMIT');
    expect(await lab.notes()).toEqual(['a', 'b']);
    expect(client.seen.isQuiet).toBe(true);
  });

  it('brings a portal back whose read was half delivered', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    const cursor = client.query(new Cursor<Numbered>('SELECT n FROM generate_series(1, 1000) AS n'));
    expect(await cursor.read(10)).toEqual(numbers(1, 10));
    const held = onMessage(lab.proxy, { from: 'server', type: 'D', after: 50 }, 'hold');
    const reading = cursor.read(100);
    await held;
    const { proxy } = lab;
    await lab.shipAll();
    await lab.primary.kill();
    proxy.cut();
    await lab.cluster.failover();
    expect(await reading).toEqual(numbers(11, 110));
    expect(await cursor.read(10)).toEqual(numbers(111, 120));
    await cursor.close();
    await client.query('COMMIT');
  });

  it('brings an SQL cursor back to its position', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query('DECLARE c CURSOR FOR SELECT n FROM generate_series(1, 100) AS n');
    expect((await client.query('FETCH 3 FROM c')).rows).toEqual(numbers(1, 3));
    await client.query('MOVE 2 FROM c');
    await lab.replacePrimary();
    expect((await client.query('FETCH 3 FROM c')).rows).toEqual(numbers(6, 8));
    await client.query('COMMIT');
  });

  it('goes on with a cursor outside a transaction, from its beginning, or says that it can not', async () => {
    const client = await lab.connect();
    const cursor = client.query(new Cursor<Numbered>('SELECT n FROM generate_series(1, 1000) AS n'));
    expect(await cursor.read(10)).toEqual(numbers(1, 10));
    await lab.replacePrimary();
    const { value, error } = await settle(cursor.read(5));
    if (error === undefined) expect(value).toEqual(numbers(11, 15));
    else expect(error.code).toMatch(/^(08|40)/);
    await settle(cursor.close());
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });
});
