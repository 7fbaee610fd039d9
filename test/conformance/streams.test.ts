import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import Cursor from 'pg-cursor';
import QueryStream from 'pg-query-stream';
import { describe, expect, it } from 'vitest';
import { ConformanceLab, DRIVERS, errorOf, errorsOf } from '../support/drivers.ts';

const lab = ConformanceLab.forThisFile();

describe.each(DRIVERS)('cursors, streams and COPY with $name', (driver) => {
  it('a cursor reads in portions up to the end', async () => {
    const client = await lab.connect(driver);
    const cursor = client.query(new Cursor('SELECT g FROM generate_series(1, $1::int) AS g', [25]));
    const counts: number[] = [];
    for (;;) {
      const rows = await cursor.read(10);
      counts.push(rows.length);
      if (rows.length === 0) break;
    }
    expect(counts).toEqual([10, 10, 5, 0]);
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  it('a cursor that is closed early leaves the client free', async () => {
    const client = await lab.connect(driver);
    await client.query('BEGIN');
    const cursor = client.query(new Cursor('SELECT g FROM generate_series(1, 1000) AS g'));
    expect(await cursor.read(1)).toEqual([{ g: 1 }]);
    await cursor.close();
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    await client.query('COMMIT');
  });

  it('a cursor is told of errors, at its start and on its way', async () => {
    const client = await lab.connect(driver);
    const wrong = client.query(new Cursor('SELECT nothing'));
    expect(await errorOf(wrong.read(1))).toMatchObject({ code: '42703' });
    const later = client.query(new Cursor('SELECT 1/(5 - g) FROM generate_series(1, 9) AS g'));
    expect(await later.read(3)).toHaveLength(3);
    expect(await errorOf(later.read(5))).toMatchObject({ code: '22012' });
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  it('a cursor in a writing transaction is not disturbed by what the driver sends', async () => {
    const client = await lab.connect(driver);
    await client.query('BEGIN');
    await client.query('CREATE TEMP TABLE seen (g int) ON COMMIT DROP');
    const cursor = client.query(new Cursor('INSERT INTO seen SELECT generate_series(1, 5) RETURNING g'));
    expect(await cursor.read(2)).toEqual([{ g: 1 }, { g: 2 }]);
    expect(await cursor.read(10)).toEqual([{ g: 3 }, { g: 4 }, { g: 5 }]);
    await cursor.close();
    await client.query('COMMIT');
  });

  it('a query stream hands over all rows, with back pressure', async () => {
    const client = await lab.connect(driver);
    const stream = client.query(
      new QueryStream('SELECT g, repeat($1, 1000) AS x FROM generate_series(1, 5000) AS g', ['x'], {
        batchSize: 100,
      }),
    );
    let sum = 0;
    for await (const row of stream) {
      sum += (row as { g: number }).g;
      if (sum % 97 === 0) await sleep(1);
    }
    expect(sum).toBe((5000 * 5001) / 2);
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  it('a query stream may be destroyed in the middle', async () => {
    const client = await lab.connect(driver);
    const stream = client.query(new QueryStream('SELECT g FROM generate_series(1, 100000) AS g'));
    for await (const row of stream) if ((row as { g: number }).g === 7) break;
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  it('a query stream is told of errors', async () => {
    const client = await lab.connect(driver);
    const stream = client.query(
      new QueryStream('SELECT 1/(5 - g) FROM generate_series(1, 9) AS g', [], { batchSize: 2 }),
    );
    const failed = (async () => {
      for await (const row of stream) expect(row).toBeDefined();
    })();
    expect(await errorOf(failed)).toMatchObject({ code: '22012' });
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  it('COPY FROM STDIN takes small and large chunks', async () => {
    const client = await lab.connect(driver);
    await client.query('CREATE TEMP TABLE copied (id int, text text)');
    const stream = client.query(copyFrom('COPY copied FROM STDIN'));
    const lines = Array.from({ length: 20_000 }, (_, id) => `${id}\t${'y'.repeat(id % 200)}\n`);
    await pipeline(Readable.from([...lines, `20000\t${'z'.repeat(3_000_000)}\n`]), stream);
    expect(stream.rowCount).toBe(20_001);
    const { rows } = await client.query(
      'SELECT count(*)::int AS n, sum(length(text))::int AS bytes FROM copied',
    );
    expect(rows).toEqual([
      { n: 20_001, bytes: lines.reduce((sum, line) => sum + line.split('\t')[1]!.length - 1, 0) + 3_000_000 },
    ]);
  });

  it('COPY FROM STDIN inside a transaction, among other statements', async () => {
    const client = await lab.connect(driver);
    await client.query('BEGIN');
    await client.query('CREATE TEMP TABLE inside (id int)');
    await pipeline(Readable.from(['1\n', '2\n']), client.query(copyFrom('COPY inside FROM STDIN')));
    await client.query('INSERT INTO inside VALUES ($1)', [3]);
    await pipeline(Readable.from(['4\n']), client.query(copyFrom('COPY inside FROM STDIN')));
    await client.query('COMMIT');
    expect((await client.query('SELECT id FROM inside ORDER BY id')).rows.map((row) => row.id)).toEqual([
      1, 2, 3, 4,
    ]);
  });

  it('COPY FROM STDIN is told of bad data, and of a source that fails', async () => {
    const client = await lab.connect(driver);
    await client.query('CREATE TEMP TABLE numbers (id int)');
    const bad = pipeline(Readable.from(['1\n', 'x\n']), client.query(copyFrom('COPY numbers FROM STDIN')));
    expect(await errorOf(bad)).toMatchObject({
      code: '22P02',
      where: 'COPY numbers, line 2, column id: "x"',
    });
    const source = new Readable({ read: () => undefined });
    source.push('1\n');
    const failing = pipeline(source, client.query(copyFrom('COPY numbers FROM STDIN')));
    await sleep(20);
    source.destroy(new Error('the disk is gone'));
    expect((await errorOf(failing)).message).toBe('the disk is gone');
    expect((await client.query('SELECT count(*)::int AS n FROM numbers')).rows).toEqual([{ n: 0 }]);
  });

  it('COPY TO STDOUT hands over everything', async () => {
    const client = await lab.connect(driver);
    const stream = client.query(
      copyTo("COPY (SELECT g, repeat('x', 50) FROM generate_series(1, 50000) g) TO STDOUT"),
    );
    let bytes = 0;
    let newlines = 0;
    for await (const chunk of stream) {
      const text = (chunk as Buffer).toString('latin1');
      bytes += text.length;
      newlines += text.split('\n').length - 1;
    }
    expect(newlines).toBe(50_000);
    expect(bytes).toBe(50_000 * 52 + 238_894);
    expect(stream.rowCount).toBe(50_000);
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  it('COPY TO STDOUT read slowly does not lose anything', async () => {
    const client = await lab.connect(driver);
    const stream = client.query(
      copyTo("COPY (SELECT repeat('x', 10000) FROM generate_series(1, 2000)) TO STDOUT"),
    );
    let bytes = 0;
    let chunks = 0;
    for await (const chunk of stream) {
      bytes += (chunk as Buffer).length;
      if (++chunks % 50 === 0) await sleep(2);
    }
    expect(bytes).toBe(2_000 * 10_001);
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    expect(errorsOf(client)).toEqual([]);
  });

  it('COPY without a stream is an error, and the client goes on', async () => {
    const client = await lab.connect(driver);
    await client.query('CREATE TEMP TABLE nostream (id int)');
    expect(await errorOf(client.query('COPY nostream FROM STDIN'))).toMatchObject({ code: '57014' });
    await client.query('COPY nostream TO STDOUT');
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });
});
