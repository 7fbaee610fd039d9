import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { ConformanceLab, DRIVERS, errorOf, errorsOf, record } from '../support/drivers.ts';

const lab = ConformanceLab.forThisFile();

describe.each(DRIVERS)('query() of $name', (driver) => {
  const { pg } = driver;

  it('returns a promise without a callback and undefined with one', async () => {
    const client: any = await lab.connect(driver);
    expect(client.query('SELECT 1')).toBeInstanceOf(Promise);
    for (const before of [
      ['SELECT $1::int AS a', [1]],
      [{ text: 'SELECT $1::int AS a', values: [1] }],
      ['SELECT 1 AS a'],
    ]) {
      const got = await new Promise<unknown[]>((resolve) => {
        const returned = client.query(...before, (...values: unknown[]) => {
          resolve([returned, ...values]);
        });
      });
      expect(got[0]).toBeUndefined();
      expect(got[1]).toBeNull();
      expect((got[2] as any).rows).toEqual([{ a: 1 }]);
    }
    const [error, result] = await new Promise<unknown[]>((resolve) => {
      client.query('SELECT 1/0', (...values: unknown[]) => {
        resolve(values);
      });
    });
    expect((error as any).code).toBe('22012');
    expect(result).toBeUndefined();
  });

  it('takes values and callback from the configuration as well', async () => {
    const client: any = await lab.connect(driver);
    const { rows } = await client.query({ text: 'SELECT $1::int AS a' }, [3]);
    expect(rows).toEqual([{ a: 3 }]);
    const viaConfig = await new Promise<any>((resolve) => {
      client.query({ text: 'SELECT 4 AS a', callback: (_error: unknown, result: unknown) => { resolve(result); } });
    }); // prettier-ignore
    expect(viaConfig.rows).toEqual([{ a: 4 }]);
  });

  it('throws at once on null and undefined', async () => {
    const client: any = await lab.connect(driver);
    for (const nothing of [null, undefined]) {
      expect(() => client.query(nothing)).toThrow(
        new TypeError('Client was passed a null or undefined query'),
      );
    }
    expect(() => client.query('SELECT 1', [], 'no function')).toThrow(
      new TypeError('callback is not a function'),
    );
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  it('rejects a query without a text, and values that are no array', async () => {
    const client: any = await lab.connect(driver);
    const noText = await errorOf(client.query({}));
    expect(noText.message).toBe('A query must have either text or a name. Supplying neither is unsupported.');
    const noArray = await errorOf(client.query({ text: 'SELECT $1', values: 'x' }));
    expect(noArray.message).toBe('Query values must be an array');
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  it('rejects values that can not be serialised, and goes on', async () => {
    const client: any = await lab.connect(driver);
    const circular: any = {};
    circular.self = circular;
    const error = await errorOf(client.query('SELECT $1::text', [circular]));
    expect(error).toBeInstanceOf(TypeError);
    const throwing = await errorOf(
      client.query('SELECT $1::text', [
        {
          toPostgres() {
            throw new Error('not today');
          },
        },
      ]),
    );
    expect(throwing.message).toBe('not today');
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  it('is simple without values, and extended with them', async () => {
    const client: any = await lab.connect(driver);
    const two = 'SELECT 1 AS a; SELECT 2 AS b';
    for (const simple of [two, { text: two }, { text: two, values: [] }, { text: two, values: undefined }])
      expect((await client.query(simple)).map((one: any) => one.rows)).toEqual([[{ a: 1 }], [{ b: 2 }]]);
    for (const extended of [
      { text: two, queryMode: 'extended' },
      { text: two, rows: 1 },
      { text: two, name: 'two' },
    ]) {
      const own = await lab.connect(driver);
      // With `rows` pg sends no Sync behind an error, so that client is of no more use.
      expect(await errorOf(own.query(extended))).toMatchObject({ code: '42601' });
      if ('rows' in extended) (own as any).connection.stream.destroy();
    }
    expect(await errorOf(client.query('SELECT $1::int; SELECT 2', [1]))).toMatchObject({ code: '42601' });
  });

  it('binds to the portal that it is told', async () => {
    const client: any = await lab.connect(driver);
    await client.query('BEGIN');
    const query = { text: 'SELECT $1::int AS a', values: [1] };
    expect((await client.query({ ...query, portal: 'mine' })).rows).toEqual([{ a: 1 }]);
    const { rows } = await client.query("SELECT name FROM pg_cursors WHERE name = 'mine'");
    expect(rows).toEqual([{ name: 'mine' }]);
    expect(await errorOf(client.query({ ...query, portal: 'mine' }))).toMatchObject({ code: '42P03' });
    await client.query('ROLLBACK');
    expect((await client.query({ ...query, portal: 'mine' })).rows).toEqual([{ a: 1 }]);
  });

  it('returns the object itself if it is a query, which emits row, end and error', async () => {
    const client: any = await lab.connect(driver);
    const query: any = new pg.Query('SELECT g FROM generate_series(1, 3) AS g');
    expect(client.query(query)).toBe(query);
    const rows: unknown[] = [];
    const result = await new Promise<any>((resolve, reject) => {
      query.on('row', (row: unknown, partial: any) => {
        rows.push(row);
        partial.addRow(row);
      });
      query.on('end', resolve);
      query.on('error', reject);
    });
    expect(rows).toEqual([{ g: 1 }, { g: 2 }, { g: 3 }]);
    expect(result.rows).toEqual(rows);
    expect(result.rowCount).toBe(3);
    const failing: any = client.query(new pg.Query('SELECT 1/0'));
    const error = await new Promise<any>((resolve) => failing.on('error', resolve));
    expect(error.code).toBe('22012');
  });

  it('answers in the order in which it was called', async () => {
    const client = await lab.connect(driver);
    const order: string[] = [];
    client.on('drain', () => order.push('drain'));
    const first = client.query('SELECT pg_sleep(0.05)').then(() => order.push('slow'));
    const second = client.query('SELECT 1/0').catch(() => order.push('error'));
    const third = client.query('SELECT 1').then(() => order.push('fast'));
    await Promise.all([first, second, third]);
    expect(order).toEqual(['slow', 'error', 'drain', 'fast']);
  });

  it("emits 'drain' each time when there is nothing left to do", async () => {
    const client = await lab.connect(driver);
    const trace = record(client, ['drain']);
    await client.query('SELECT 1');
    await client.query('SELECT 1');
    await sleep(0);
    expect(trace).toEqual(['drain', 'drain']);
  });

  it('a query made in the callback of another one runs next', async () => {
    const client: any = await lab.connect(driver);
    const { rows } = await new Promise<any>((resolve, reject) => {
      client.query('SELECT 1', () => {
        client.query('SELECT 2 AS nested', (error: unknown, result: unknown) => {
          if (error instanceof Error) reject(error);
          else resolve(result);
        });
      });
    });
    expect(rows).toEqual([{ nested: 2 }]);
  });

  it('gives up after query_timeout, and the client goes on when the server has answered', async () => {
    const client: any = await lab.connect(driver, { query_timeout: 100 });
    const before = performance.now();
    const error = await errorOf(client.query('SELECT pg_sleep(0.5)'));
    expect(error.message).toBe('Query read timeout');
    expect(performance.now() - before).toBeLessThan(450);
    const { rows } = await client.query({ text: 'SELECT 1 AS one', query_timeout: 5_000 });
    expect(rows).toEqual([{ one: 1 }]);
    const viaCallback = await new Promise<any>((resolve) => {
      client.query({ text: 'SELECT pg_sleep(0.3)', query_timeout: 50 }, resolve);
    });
    expect(viaCallback.message).toBe('Query read timeout');
    expect((await client.query({ text: 'SELECT 2 AS two', query_timeout: 5_000 })).rows).toEqual([
      { two: 2 },
    ]);
    expect(errorsOf(client)).toEqual([]);
  });

  it('can be withdrawn with cancel() by another client', async () => {
    const client: any = await lab.connect(driver);
    const query: any = new pg.Query('SELECT pg_sleep(30)');
    const failed = new Promise<any>((resolve) => query.on('error', resolve));
    client.query(query);
    await sleep(50);
    (lab.client(driver) as any).cancel(client, query);
    expect((await failed).code).toBe('57014');
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  it('sends one after the other what is pipelined', async () => {
    const client: any = await lab.connect(driver, { pipeline: true });
    expect(client.pipeline).toBe(true);
    const outcomes = await Promise.allSettled([
      client.query('SELECT 1 AS a'),
      client.query('SELECT $1::int AS a', [2]),
      client.query('SELECT 1/0'),
      client.query({ name: 'p', text: 'SELECT $1::int AS a', values: [3] }),
      client.query('CREATE TEMP TABLE piped (a int); INSERT INTO piped VALUES (4)'),
      client.query('SELECT a FROM piped'),
    ]);
    expect(
      outcomes.map((one) => (one.status === 'fulfilled' ? (one.value.rows ?? 'many') : one.reason.code)),
    ).toEqual([[{ a: 1 }], [{ a: 2 }], '22012', [{ a: 3 }], 'many', [{ a: 4 }]]);
    const transaction = await Promise.all([
      client.query('BEGIN'),
      client.query('INSERT INTO piped VALUES ($1)', [5]),
      client.query('INSERT INTO piped VALUES ($1)', [6]),
      client.query('COMMIT'),
      client.query('SELECT sum(a)::int AS sum FROM piped'),
    ]);
    expect(transaction.map((one) => one.command)).toEqual(['BEGIN', 'INSERT', 'INSERT', 'COMMIT', 'SELECT']);
    expect(transaction[4].rows).toEqual([{ sum: 15 }]);
  });

  it('cuts a pipeline off when one of its queries takes longer than query_timeout', async () => {
    const client: any = await lab.connect(driver, { pipeline: true });
    const outcomes = await Promise.allSettled([
      client.query('SELECT 1 AS a'),
      client.query({ text: 'SELECT pg_sleep(30)', query_timeout: 150 }),
      client.query('SELECT 3 AS a'),
    ]);
    expect(outcomes.map((one) => (one.status === 'fulfilled' ? one.value.rows : one.reason.message))).toEqual(
      [[{ a: 1 }], 'Query read timeout', 'Connection terminated unexpectedly'],
    );
    expect(errorsOf(client).map((error) => error.message)).toEqual(['Connection terminated unexpectedly']);
  });

  it('after end() is refused', async () => {
    const client = await lab.connect(driver);
    await client.end();
    expect((await errorOf(client.query('SELECT 1'))).message).toBe('Client was closed and is not queryable');
  });
});
