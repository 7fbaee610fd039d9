import { describe, expect, it } from 'vitest';
import { ConformanceLab, DRIVERS, errorOf, fieldsOf } from '../support/drivers.ts';

const lab = ConformanceLab.forThisFile();

describe.each(DRIVERS)('errors of the server with $name', (driver) => {
  const { pg } = driver;

  it('are DatabaseErrors with all fields that the server sent', async () => {
    const client = await lab.connect(driver);
    await client.query(`CREATE TABLE IF NOT EXISTS guarded (id int CONSTRAINT guarded_key PRIMARY KEY,
      size int CONSTRAINT guarded_size CHECK (size > 0))`);
    await client.query('TRUNCATE guarded; INSERT INTO guarded VALUES (1, 1)');
    const error = await errorOf(client.query('INSERT INTO guarded VALUES ($1, $2)', [1, 2]));
    expect(error).toBeInstanceOf(pg.DatabaseError);
    expect(error).toBeInstanceOf(Error);
    const { length, line, ...fields } = fieldsOf(error);
    expect(fields).toEqual({
      message: 'duplicate key value violates unique constraint "guarded_key"',
      name: 'error',
      severity: 'ERROR',
      code: '23505',
      detail: 'Key (id)=(1) already exists.',
      hint: undefined,
      position: undefined,
      internalPosition: undefined,
      internalQuery: undefined,
      where: undefined,
      schema: 'public',
      table: 'guarded',
      column: undefined,
      dataType: undefined,
      constraint: 'guarded_key',
      file: 'nbtinsert.c',
      routine: '_bt_check_unique',
    });
    expect(length).toBeTypeOf('number');
    expect(line).toMatch(/^\d+$/);
  });

  it('have position, hint, where, column and internal query where they belong', async () => {
    const client = await lab.connect(driver);
    const syntax = await errorOf(client.query('SELECT 1 FRM x'));
    expect(syntax).toMatchObject({ code: '42601', position: '14', severity: 'ERROR' });
    const missing = await errorOf(client.query('SELECT lenght($1)', ['x']));
    expect(missing).toMatchObject({ code: '42883', position: '8' });
    expect(missing['hint']).toMatch(/^No function matches/);
    const notNull = await errorOf(
      client.query('CREATE TEMP TABLE n (a int NOT NULL); INSERT INTO n VALUES (NULL)'),
    );
    expect(notNull).toMatchObject({ code: '23502', column: 'a', table: 'n' });
    const inside = await errorOf(client.query("DO $$ BEGIN EXECUTE 'SELEC 1'; END $$"));
    expect(inside).toMatchObject({ code: '42601', internalPosition: '1', internalQuery: 'SELEC 1' });
    expect(inside['where']).toMatch(/^PL\/pgSQL function inline_code_block line 1/);
    const raised = await errorOf(
      client.query(`DO $$ BEGIN RAISE EXCEPTION USING MESSAGE = 'm ü', DETAIL = 'd', HINT = 'h', ERRCODE = 'ZZ001',
        COLUMN = 'c', CONSTRAINT = 'k', DATATYPE = 't', TABLE = 'tab', SCHEMA = 's'; END $$`),
    );
    expect(raised).toMatchObject({
      message: 'm ü', detail: 'd', hint: 'h', code: 'ZZ001', column: 'c', constraint: 'k', dataType: 't', table: 'tab',
      schema: 's', routine: 'exec_stmt_raise',
    }); // prettier-ignore
  });

  it.each(['57P01', '08006', '25006', '0A000', '40001', '53300', 'XX000'])(
    'raised by SQL with code %s are no more than errors',
    async (code) => {
      const client = await lab.connect(driver);
      const { rows } = await client.query('SELECT pg_backend_pid() AS pid');
      const raise = `DO $$ BEGIN RAISE EXCEPTION 'raised' USING ERRCODE = '${code}'; END $$`;
      const error = await errorOf(client.query(raise));
      expect(error).toMatchObject({ code, message: 'raised', severity: 'ERROR' });
      await client.query('BEGIN');
      expect(await errorOf(client.query(raise))).toMatchObject({ code, message: 'raised' });
      expect(await errorOf(client.query('SELECT 1'))).toMatchObject({ code: '25P02' });
      await client.query('ROLLBACK');
      expect((await client.query('SELECT pg_backend_pid() AS pid')).rows).toEqual(rows);
    },
  );

  it('have a stack that leads to the application', async () => {
    const client = await lab.connect(driver);
    async function queryOfTheApplication(): Promise<unknown> {
      return await client.query('SELECT 1/0');
    }
    const error = await errorOf(queryOfTheApplication());
    expect(error.stack).toMatch(/queryOfTheApplication/);
  });

  it('come behind the rows that were delivered before', async () => {
    const client: any = await lab.connect(driver);
    const query: any = new pg.Query('SELECT 1/(3 - g) AS x FROM generate_series(1, 5) AS g');
    const rows: unknown[] = [];
    query.on('row', (row: unknown) => rows.push(row));
    const failed = new Promise<any>((resolve) => query.on('error', resolve));
    client.query(query);
    expect((await failed).code).toBe('22012');
    expect(rows).toEqual([{ x: 0 }, { x: 1 }]);
  });

  it('in one of several statements reject the whole', async () => {
    const client = await lab.connect(driver);
    const error = await errorOf(client.query('SELECT 1; SELECT 1/0; SELECT 2'));
    expect(error['code']).toBe('22012');
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  it('at Bind and at Parse leave named statements as pg leaves them', async () => {
    const client = await lab.connect(driver);
    const bad = { name: 'bad', text: 'SELECT nothing FROM nowhere', values: [] };
    expect(await errorOf(client.query(bad))).toMatchObject({ code: '42P01' });
    expect(await errorOf(client.query(bad))).toMatchObject({ code: '42P01' });
    const cast = { name: 'cast', text: 'SELECT $1::int AS a' };
    expect(await errorOf(client.query({ ...cast, values: ['x'] }))).toMatchObject({ code: '22P02' });
    expect((await client.query({ ...cast, values: ['5'] })).rows).toEqual([{ a: 5 }]);
    expect(await errorOf(client.query('SELECT $1::int, $2::int', [1]))).toMatchObject({ code: '08P01' });
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  it('inside a transaction leave it failed until its end', async () => {
    const client = await lab.connect(driver);
    await client.query('BEGIN');
    await client.query('SAVEPOINT s');
    await errorOf(client.query('SELECT 1/0'));
    expect(await errorOf(client.query('SELECT 1'))).toMatchObject({
      code: '25P02',
      message: 'current transaction is aborted, commands ignored until end of transaction block',
    });
    await client.query('ROLLBACK TO s');
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    await errorOf(client.query('SELECT 1/0'));
    expect((await client.query('COMMIT')).command).toBe('ROLLBACK');
  });

  it('at a deferred constraint come from the COMMIT', async () => {
    const client = await lab.connect(driver);
    await client.query('CREATE TEMP TABLE d (a int UNIQUE DEFERRABLE INITIALLY DEFERRED)');
    await client.query('BEGIN');
    await client.query('INSERT INTO d VALUES (1), (1)');
    expect(await errorOf(client.query('COMMIT'))).toMatchObject({ code: '23505' });
    expect((await client.query('SELECT count(*)::int AS n FROM d')).rows).toEqual([{ n: 0 }]);
    expect(client.getTransactionStatus()).toBe('I');
  });

  it('of a timeout of the server are its own', async () => {
    const client = await lab.connect(driver, { statement_timeout: 50 });
    expect(await errorOf(client.query('SELECT pg_sleep(10)'))).toMatchObject({ code: '57014' });
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });
});
