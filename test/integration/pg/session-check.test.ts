import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { checkSession } from '../../../src/pg/session-check.ts';
import { SessionLab, valueOf } from '../../support/session-lab.ts';
import { sqlRunnerOver } from '../../support/sql-runner-over.ts';

/** What could make the check, or the restoring, lie: all of them are set together with settings to be found. */
const DISTORTIONS: readonly (readonly [name: string, ...statements: string[]])[] = [
  ['functions and operators that shadow those of the system', 'SET search_path TO evil, pg_catalog'],
  [
    'output formats',
    `SET DateStyle TO 'SQL, DMY'`,
    `SET bytea_output TO 'escape'`,
    `SET IntervalStyle TO 'iso_8601'`,
  ],
  [
    'an encoding without the characters of a value',
    `SET client_encoding TO 'SQL_ASCII'`,
    `SET client_encoding TO 'LATIN1'`,
  ],
  ['a multibyte encoding', `SET client_encoding TO 'SJIS'`],
  ['another reading of text', 'SET standard_conforming_strings TO off', 'SET backslash_quote TO off'],
  ['another reading of NULL', 'SET array_nulls TO off', 'SET transform_null_equals TO on'],
  ['quoting', 'SET quote_all_identifiers TO on'],
  ['a role without rights', 'SET ROLE powerless'],
  ['read-only transactions', 'SET default_transaction_read_only TO on'],
  [
    'deferrable transactions',
    'SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE',
  ],
  [
    'odd plans',
    'SET jit_above_cost TO 0',
    'SET enable_nestloop TO off',
    'SET enable_seqscan TO off',
    'SET parallel_setup_cost TO 0',
  ],
  ['row security', 'SET row_security TO off'],
];

describe.each(['14', '15', '17', '18'])('the session check on PostgreSQL %s', (version) => {
  let lab: SessionLab;
  beforeAll(async () => {
    lab = await SessionLab.start(version);
    await lab.cluster.primary.withClient(async (admin) => {
      await admin.query(shadowingSql());
    });
  });
  afterEach(async () => {
    await lab.hangUp();
  });
  afterAll(async () => {
    await lab.stop();
  });

  it.each(DISTORTIONS)('tells the truth under %s', async (_name, ...statements) => {
    const marks = [
      `SELECT login('a')`,
      `SET app.note TO 'ü € 字'`,
      `SET work_mem TO '5MB'`,
      'LISTEN "ü"',
      'PREPARE p AS SELECT 2',
    ];
    const { fresh, snapshot, result } = await lab.move([...marks, ...statements]);
    expect(snapshot.settings.get('work_mem')).toBe('5MB');
    expect([...snapshot.customSettings]).toEqual([
      ['app.tenant', 'a'],
      ['app.note', 'ü € 字'],
      ['app.never', null],
    ]);
    expect(snapshot.channels).toEqual(['ü']);
    expect(snapshot.preparedStatements).toEqual([
      { name: 'p', statement: 'PREPARE p AS SELECT 2', parameterTypes: '' },
    ]);
    expect(snapshot.pins).toEqual([]);
    expect(result).toEqual({ kind: 'restored' });
    await fresh.query('RESET client_encoding');
    expect(await valueOf(fresh, 'SHOW app.note')).toBe('ü € 字');
  });

  it('is one statement, leaves the session as it is and tells the application nothing', async () => {
    const client = await lab.dial(lab.superuser);
    await client.query('SET ROLE powerless');
    const reported: unknown[] = [];
    const { connection } = client as unknown as { connection: NodeJS.EventEmitter };
    connection.on('parameterStatus', (message: unknown) => reported.push(message));
    const runner = sqlRunnerOver(client);
    const first = await checkSession(runner, ['app.tenant']);
    expect(runner.statements).toHaveLength(1);
    expect(await checkSession(runner, ['app.tenant'])).toEqual(first);
    expect(await valueOf(client, 'SELECT current_user')).toBe('powerless');
    expect(await valueOf(client, `SELECT current_setting('is_superuser')`)).toBe('off');
    expect(reported).toEqual([]);
  });

  it('leaves prepared statements of the wire protocol to the journal', async () => {
    const client = await lab.dial();
    await client.query({ name: 'wire', text: 'SELECT 1' });
    const { preparedStatements } = await checkSession(sqlRunnerOver(client), []);
    expect(preparedStatements).toEqual([]);
  });

  it('and the restore trust no search_path that every connection starts with', async () => {
    const config = { options: '-c search_path=evil,pg_catalog' };
    const statements = [`SET app.note TO 'a'`, `SET work_mem TO '5MB'`, 'LISTEN x'];
    const { fresh, snapshot, result } = await lab.move(statements, { config });
    expect(snapshot.searchPath).toBe('evil,pg_catalog');
    expect(result).toEqual({ kind: 'restored' });
    expect(await valueOf(fresh, 'SHOW app.note')).toBe('a');
  });

  it("takes nobody else's locks, cursors and temporary tables for its own", async () => {
    const other = await lab.dial();
    await other.query('SELECT pg_advisory_lock(1)');
    await other.query('CREATE TEMP TABLE t (i int)');
    await other.query('DECLARE c CURSOR WITH HOLD FOR SELECT 1');
    const client = await lab.dial();
    expect((await checkSession(sqlRunnerOver(client), [])).pins).toEqual([]);
    expect((await checkSession(sqlRunnerOver(other), [])).pins.map(({ kind }) => kind)).toEqual([
      'temporary-object',
      'advisory-lock',
      'hold-cursor',
    ]);
  });

  it('takes any string for a custom name', async () => {
    const client = await lab.dial();
    const names = [`a.b' OR 1 = 1 --`, 'App.TENANT', 'work_mem', 'ü.ü', '.', '', 'a.{names}', 'a.$&'];
    const { customSettings } = await checkSession(sqlRunnerOver(client), names);
    expect([...customSettings.keys()]).toEqual([
      `a.b' or 1 = 1 --`,
      'app.tenant',
      'ü.ü',
      '.',
      'a.{names}',
      'a.$&',
    ]);
    expect([...customSettings.values()]).toEqual([null, null, null, null, null, null]);
  });

  it('fails rather than give a value that is not text', async () => {
    await lab.cluster.primary.query(
      `CREATE DATABASE bytes TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'`,
    );
    const client = await lab.dial({ database: 'bytes' });
    await client.query(`SELECT count(set_config('app.note', convert_from('\\xff', 'SQL_ASCII'), false))`);
    await expect(checkSession(sqlRunnerOver(client), ['app.note'])).rejects.toThrow();
    await client.query(`SET app.note TO 'ü'`);
    const { customSettings } = await checkSession(sqlRunnerOver(client), ['app.note']);
    expect(customSettings.get('app.note')).toBe('ü');
  });
});

/** Functions and operators with the names and argument types of those that the check uses; all of them lie. */
function shadowingSql(): string {
  const lies = [
    [`current_setting(text)`, 'text', `'lie'`],
    [`current_setting(text, boolean)`, 'text', `'lie'`],
    [`set_config(text, text, boolean)`, 'text', `'lie'`],
    [`decode(text, text)`, 'bytea', `'lie'::bytea`],
    [`convert_from(bytea, name)`, 'text', `'lie'`],
    [`pg_my_temp_schema()`, 'oid', `1::oid`],
    [`pg_backend_pid()`, 'int', `1`],
  ].map(
    ([signature, type, value]) =>
      `CREATE FUNCTION evil.${signature} RETURNS ${type} LANGUAGE sql AS $$ SELECT ${value} $$;`,
  );
  const operators = ['text', 'name', 'oid', 'int'].flatMap((type) => [
    `CREATE FUNCTION evil.lie(${type}, ${type}) RETURNS boolean LANGUAGE sql AS $$ SELECT 1/0 = 1 $$;`,
    ...['=', '<>'].map(
      (name) => `CREATE OPERATOR evil.${name} (FUNCTION = evil.lie, LEFTARG = ${type}, RIGHTARG = ${type});`,
    ),
  ]);
  const views = ['pg_settings', 'pg_locks', 'pg_cursors', 'pg_prepared_statements', 'pg_depend'].map(
    (name) => `CREATE VIEW evil.${name} AS SELECT 1 AS lie;`,
  );
  return [
    'CREATE SCHEMA evil;',
    ...lies,
    ...operators,
    ...views,
    'GRANT USAGE ON SCHEMA evil TO PUBLIC',
  ].join('\n');
}
