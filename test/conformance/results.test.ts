import { describe, expect, it } from 'vitest';
import { ConformanceLab, DRIVERS, errorOf } from '../support/drivers.ts';

const lab = ConformanceLab.forThisFile();

describe.each(DRIVERS)('results of $name', (driver) => {
  const { pg } = driver;

  it('have command, rowCount, oid, rows and fields', async () => {
    const client = await lab.connect(driver);
    const result = await client.query('SELECT 1::int4 AS a, $1::text AS b', ['x']);
    expect(result).toBeInstanceOf(pg.Result);
    const { command, rowCount, oid, rows, fields } = result;
    expect({ command, rowCount, oid, rows }).toEqual({
      command: 'SELECT',
      rowCount: 1,
      oid: null,
      rows: [{ a: 1, b: 'x' }],
    });
    const field = { tableID: 0, columnID: 0, format: 'text' };
    expect(fields.map((one) => ({ ...one }))).toEqual([
      { ...field, name: 'a', dataTypeID: 23, dataTypeSize: 4, dataTypeModifier: -1 },
      { ...field, name: 'b', dataTypeID: 25, dataTypeSize: -1, dataTypeModifier: -1 },
    ]);
  });

  it('name the table and column that a field comes from', async () => {
    const client = await lab.connect(driver);
    await client.query('CREATE TEMP TABLE origin (a int, b varchar(7))');
    const { rows } = await client.query("SELECT 'origin'::regclass::oid AS oid");
    const { fields } = await client.query('SELECT b FROM origin');
    expect(fields[0]).toMatchObject({
      tableID: rows[0].oid,
      columnID: 2,
      dataTypeID: 1043,
      dataTypeModifier: 11,
    });
  });

  it('have parsed values of the usual types', async () => {
    const client = await lab.connect(driver);
    const { rows } = await client.query(`SELECT
      true AS bool, 1::int2 AS int2, 2::int4 AS int4, 3::int8 AS int8, 1.5::float8 AS float8, 1.25::numeric AS numeric,
      'text' AS text, '\\x00ff'::bytea AS bytea, '{"a":[1]}'::json AS json, '{"b":null}'::jsonb AS jsonb,
      '2024-02-29 12:00:00.123+00'::timestamptz AS timestamptz, '2024-02-29'::date AS date,
      '1 day 02:03:04'::interval AS interval, '{1,2,NULL}'::int[] AS ints, '{"a b",c}'::text[] AS texts,
      NULL AS nothing, '(1,2)'::point AS point, 'NaN'::float8 AS nan,
      'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid AS uuid`);
    const [row] = rows;
    expect({ ...row, interval: { ...row.interval }, date: row.date.toDateString() }).toEqual({
      bool: true, int2: 1, int4: 2, int8: '3', float8: 1.5, numeric: '1.25', text: 'text',
      bytea: Buffer.from([0, 255]), json: { a: [1] }, jsonb: { b: null },
      timestamptz: new Date('2024-02-29T12:00:00.123Z'), date: 'Thu Feb 29 2024',
      interval: { days: 1, hours: 2, minutes: 3, seconds: 4 }, ints: [1, 2, null], texts: ['a b', 'c'],
      nothing: null, point: { x: 1, y: 2 }, nan: Number.NaN, uuid: 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
    }); // prettier-ignore
  });

  it('take parameters of every kind', async () => {
    const client = await lab.connect(driver);
    const when = new Date('2024-02-29T12:00:00.123Z');
    const { rows } = await client.query(
      'SELECT $1::int AS i, $2::text AS t, $3::bool AS b, $4::timestamptz AS w, $5::bytea AS y, $6::jsonb AS j, $7::int[] AS a, $8::text AS n',
      [7, 'ü ✓ 🚀', false, when, Buffer.from('bytes'), { deep: [1, { x: null }] }, [1, 2, 3], null],
    );
    expect(rows).toEqual([
      {
        i: 7,
        t: 'ü ✓ 🚀',
        b: false,
        w: when,
        y: Buffer.from('bytes'),
        j: { deep: [1, { x: null }] },
        a: [1, 2, 3],
        n: null,
      },
    ]);
  });

  it('report command and row count of every kind of statement', async () => {
    const client = await lab.connect(driver);
    const told: unknown[] = [];
    for (const sql of [
      'CREATE TEMP TABLE kinds (a int PRIMARY KEY, b text)',
      "INSERT INTO kinds VALUES (1, 'x'), (2, 'y')",
      "UPDATE kinds SET b = 'z' WHERE a > 0",
      'SELECT * FROM kinds WHERE a > 5',
      'DELETE FROM kinds WHERE a = 1',
      'BEGIN',
      'SAVEPOINT one',
      'RELEASE one',
      'COMMIT',
      'SET work_mem = 1000',
      'EXPLAIN (COSTS off) SELECT 1',
      'TRUNCATE kinds',
    ]) {
      const { command, rowCount } = await client.query(sql);
      told.push([command, rowCount]);
    }
    expect(told).toEqual([
      ['CREATE', null], ['INSERT', 2], ['UPDATE', 2], ['SELECT', 0], ['DELETE', 1], ['BEGIN', null],
      ['SAVEPOINT', null], ['RELEASE', null], ['COMMIT', null], ['SET', null], ['EXPLAIN', null], ['TRUNCATE', null],
    ]); // prettier-ignore
  });

  it('come as arrays with rowMode', async () => {
    const client = await lab.connect(driver);
    const { rows } = await client.query({
      text: 'SELECT 1 AS a, 2 AS a, $1::text AS b',
      values: ['x'],
      rowMode: 'array',
    });
    expect(rows).toEqual([[1, 2, 'x']]);
  });

  it('come as an array of results for several statements', async () => {
    const client = await lab.connect(driver);
    const results = (await client.query(
      'CREATE TEMP TABLE several (a int); INSERT INTO several VALUES (1), (2); SELECT a FROM several ORDER BY a; SELECT 1 WHERE false',
    )) as any;
    expect(results.map((one: any) => [one.command, one.rowCount, one.rows])).toEqual([
      ['CREATE', null, []],
      ['INSERT', 2, []],
      ['SELECT', 2, [{ a: 1 }, { a: 2 }]],
      ['SELECT', 0, []],
    ]);
  });

  it('of an empty query have no command', async () => {
    const client = await lab.connect(driver);
    for (const text of ['', ' ', '-- nothing', ';']) {
      const { command, rowCount, rows, fields } = await client.query(text);
      expect({ command, rowCount, rows, fields }, text).toEqual({
        command: null,
        rowCount: null,
        rows: [],
        fields: [],
      });
    }
    const extended = await client.query({ text: '', values: [] });
    expect(extended.rows).toEqual([]);
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  it('without columns still have rows', async () => {
    const client = await lab.connect(driver);
    const { rows, rowCount, fields } = await client.query('SELECT FROM generate_series(1, 3)');
    expect({ rows, rowCount, fields }).toEqual({ rows: [{}, {}, {}], rowCount: 3, fields: [] });
  });

  it('come in binary if asked for', async () => {
    const client = await lab.connect(driver);
    const result = await client.query({
      text: "SELECT 258::int4 AS i, 'ab'::bytea AS y, $1::text AS t",
      values: ['x'],
      binary: true,
    } as any);
    expect(result.fields.map((field: any) => field.format)).toEqual(['binary', 'binary', 'binary']);
    expect(result.rows).toEqual([{ i: 258, y: 'ab', t: 'x' }]);
    const wholly = await lab.connect(driver, { binary: true });
    expect((await wholly.query('SELECT $1::int8 AS i', [5])).fields[0]!.format).toBe('binary');
  });

  it('of a named statement come again and again, and only the first one is parsed', async () => {
    const client = await lab.connect(driver);
    for (const value of [1, 2, 3]) {
      const { rows } = await client.query({
        name: 'twice',
        text: 'SELECT $1::int * 2 AS twice',
        values: [value],
      });
      expect(rows).toEqual([{ twice: value * 2 }]);
    }
    expect((client.connection as any).parsedStatements).toEqual({ twice: 'SELECT $1::int * 2 AS twice' });
    const { rows } = await client.query(
      'SELECT name, statement FROM pg_prepared_statements WHERE from_sql = false',
    );
    expect(rows).toContainEqual({ name: 'twice', statement: 'SELECT $1::int * 2 AS twice' });
    const error = await errorOf(client.query({ name: 'twice', text: 'SELECT 2', values: [] }));
    expect(error.message).toBe(
      "Prepared statements must be unique - 'twice' was used for a different statement",
    );
  });

  it('show the application only its own prepared statements and cursors', async () => {
    const client = await lab.connect(driver);
    await client.query('BEGIN');
    await client.query('CREATE TEMP TABLE hidden (a int)');
    await client.query('INSERT INTO hidden VALUES ($1)', [1]);
    expect((await client.query("SELECT name FROM pg_cursors WHERE name <> ''")).rows).toEqual([]);
    await client.query('COMMIT');
    // The driver's own are named so that nobody takes them for others.
    const { rows } = await client.query(
      "SELECT name FROM pg_prepared_statements WHERE name NOT LIKE 'holdfast\\_%'",
    );
    expect(rows).toEqual([]);
  });

  it('of the extended protocol are the same without values', async () => {
    const client = await lab.connect(driver);
    const { rows, command } = await client.query({ text: 'SELECT 1 AS a', queryMode: 'extended' } as any);
    expect({ rows, command }).toEqual({ rows: [{ a: 1 }], command: 'SELECT' });
    const error = await errorOf(client.query({ text: 'SELECT 1; SELECT 2', queryMode: 'extended' } as any));
    expect(error['code']).toBe('42601');
  });

  it('can be limited to so many rows a fetch', async () => {
    const client = await lab.connect(driver);
    const { rows } = await client.query({ text: 'SELECT g FROM generate_series(1, 25) g', rows: 10 } as any);
    expect(rows).toHaveLength(25);
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  it('can hold rows and parameters of several megabytes', async () => {
    const client = await lab.connect(driver);
    const large = 'äx'.repeat(1_500_000);
    const { rows } = await client.query('SELECT $1::text AS large, length($1) AS length', [large]);
    expect(rows[0].length).toBe(3_000_000);
    expect(rows[0].large === large).toBe(true);
    const bytes = Buffer.alloc(2_000_000, 0xab);
    const back = await client.query('SELECT $1::bytea AS bytes', [bytes]);
    expect(bytes.equals(back.rows[0].bytes)).toBe(true);
  });

  it('can hold very many rows', async () => {
    const client = await lab.connect(driver);
    const { rows } = await client.query(
      "SELECT g, repeat('x', g % 100) AS x FROM generate_series(1, 100000) g",
    );
    expect(rows).toHaveLength(100_000);
    expect(rows.every((row, index) => row.g === index + 1 && row.x.length === (index + 1) % 100)).toBe(true);
  });

  it('use the type parsers of a query', async () => {
    const client = await lab.connect(driver);
    const types = { getTypeParser: (oid: number) => (value: string) => `${oid}:${value}` } as any;
    expect((await client.query({ text: 'SELECT 1 AS a', types })).rows).toEqual([{ a: '23:1' }]);
  });

  it('tell the state of the transaction', async () => {
    const client = lab.client(driver);
    expect(client.getTransactionStatus()).toBeNull();
    await client.connect();
    expect(client.getTransactionStatus()).toBe('I');
    await client.query('BEGIN');
    expect(client.getTransactionStatus()).toBe('T');
    await errorOf(client.query('SELECT 1/0'));
    // The status comes with ReadyForQuery, behind the error.
    await errorOf(client.query('SELECT 1'));
    expect(client.getTransactionStatus()).toBe('E');
    await client.query('ROLLBACK');
    expect(client.getTransactionStatus()).toBe('I');
  });

  it('of statements that may not run in a transaction come as usual', async () => {
    const client = await lab.connect(driver);
    await client.query('CREATE TABLE IF NOT EXISTS vacuumed (a int)');
    expect((await client.query('VACUUM vacuumed')).command).toBe('VACUUM');
    await client.query('CREATE INDEX CONCURRENTLY ON vacuumed (a)');
    await client.query('DROP TABLE vacuumed');
  });

  it('of DISCARD ALL and DEALLOCATE ALL leave the client usable', async () => {
    const client = await lab.connect(driver);
    for (const sql of ['DISCARD ALL', 'DEALLOCATE ALL', 'DISCARD ALL']) {
      await client.query('BEGIN');
      await client.query('CREATE TEMP TABLE t (a int)');
      await client.query('INSERT INTO t VALUES ($1)', [1]);
      await client.query('COMMIT');
      await client.query(sql);
      await client.query('DROP TABLE IF EXISTS t');
    }
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  it('of COMMIT AND CHAIN, savepoints and two-phase commit are as they are', async () => {
    const client = await lab.connect(driver);
    const commands: string[] = [];
    for (const sql of [
      'BEGIN', 'CREATE TEMP TABLE chained (a int)', 'COMMIT AND CHAIN', 'INSERT INTO chained VALUES (1)', 'SAVEPOINT s',
      'INSERT INTO chained VALUES (2)', 'ROLLBACK TO s', 'COMMIT',
    ]) commands.push((await client.query(sql)).command); // prettier-ignore
    expect(commands).toEqual([
      'BEGIN',
      'CREATE',
      'COMMIT',
      'INSERT',
      'SAVEPOINT',
      'INSERT',
      'ROLLBACK',
      'COMMIT',
    ]);
    expect((await client.query('SELECT a FROM chained')).rows).toEqual([{ a: 1 }]);
    const gid = `conformance ${driver.name}`;
    await client.query('BEGIN');
    await client.query('CREATE TABLE prepared (a int)');
    expect((await client.query(`PREPARE TRANSACTION '${gid}'`)).command).toBe('PREPARE');
    expect(client.getTransactionStatus()).toBe('I');
    expect((await client.query(`ROLLBACK PREPARED '${gid}'`)).command).toBe('ROLLBACK');
  });
});
