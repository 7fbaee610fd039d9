import { describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { expectKeptOrRefused } from './kept-or-refused.ts';

type Work = readonly (readonly [sql: string, values?: string[]])[];

/** What the application sends. Each has a setting of its own: one that is known of the database is read back. */
const WAYS: [how: string, name: string, work: (name: string) => Work][] = [
  ['set_config with parameters', 'parameters', (name) => [['SELECT set_config($1, $2, false)', [name, 'a']]]],
  [
    'set_config with a value that is a parameter',
    'half',
    (name) => [[`SELECT set_config('${name}', $1, false)`, ['a']]],
  ],
  [
    'set_config with a name put together',
    'computed',
    (name) => [[`SELECT set_config('app.' || '${name.slice(4)}', 'a', false)`]],
  ],
  [
    'set_config over VALUES',
    'listed',
    (name) => [[`SELECT set_config(n, v, false) FROM (VALUES ('${name}', 'a')) AS list (n, v)`]],
  ],
  [
    'set_config over an array',
    'unnested',
    (name) => [[`SELECT set_config(n, 'a', false) FROM unnest(ARRAY['${name}']) AS n`]],
  ],
  ['SET in a DO block', 'block', (name) => [[`DO $$ BEGIN SET ${name} = 'a'; END $$`]]],
  [
    'set_config in a DO block',
    'call',
    (name) => [[`DO $$ BEGIN PERFORM set_config('${name}', 'a', false); END $$`]],
  ],
  [
    'SQL that a DO block puts together',
    'dynamic',
    (name) => [[`DO $$ BEGIN EXECUTE 'SET app.' || '${name.slice(4)} = ''a'''; END $$`]],
  ],
  [
    'a prepared statement of SQL',
    'prepared',
    (name) => [['PREPARE enter AS SELECT set_config($1, $2, false)'], [`EXECUTE enter('${name}', 'a')`]],
  ],
  [
    'a prepared statement of SQL that is gone',
    'deallocated',
    (name) => [
      ['PREPARE enter AS SELECT set_config($1, $2, false)'],
      [`EXECUTE enter('${name}', 'a')`],
      ['DEALLOCATE enter'],
    ],
  ],
  [
    'a temporary function',
    'temporary',
    (name) => [
      [
        `CREATE FUNCTION pg_temp.enter() RETURNS void LANGUAGE sql AS $$SELECT set_config('${name}', 'a', false)$$`,
      ],
      ['SELECT pg_temp.enter()'],
    ],
  ],
  [
    'a temporary function that is gone',
    'dropped',
    (name) => [
      [
        `CREATE FUNCTION pg_temp.enter() RETURNS void LANGUAGE sql AS $$SELECT set_config('${name}', 'a', false)$$`,
      ],
      ['SELECT pg_temp.enter()'],
      ['DROP FUNCTION pg_temp.enter()'],
      ['DISCARD TEMP'],
    ],
  ],
  [
    'query_to_xml',
    'exported',
    (name) => [[`SELECT query_to_xml($x$SELECT set_config('${name}', 'a', false)$x$, true, false, '')`]],
  ],
];

describe('a setting of its own that the application has made in its own text is not lost in silence', () => {
  const lab = FailoverLab.forThisSuite({ standbys: 0 });

  it.each(WAYS)('by %s', async (_how, word, work) => {
    const name = `app.${word}`;
    const client = await lab.connect();
    for (const [sql, values] of work(name)) await client.query(sql, values);
    const read = `SELECT current_setting('${name}', true) AS value`;
    expect((await client.query(read)).rows).toEqual([{ value: 'a' }]);
    await client.query('SELECT 1');
    await expectKeptOrRefused(lab, client, read, [{ value: 'a' }]);
  });

  it.each(WAYS)('by %s, in a transaction that was committed', async (_how, word, work) => {
    const name = `app.${word}_committed`;
    const client = await lab.connect();
    await client.query('BEGIN');
    for (const [sql, values] of work(name)) await client.query(sql, values);
    await client.query('COMMIT');
    const read = `SELECT current_setting('${name}', true) AS value`;
    expect((await client.query(read)).rows).toEqual([{ value: 'a' }]);
    await client.query('SELECT 1');
    await expectKeptOrRefused(lab, client, read, [{ value: 'a' }]);
  });

  it('and goes on with those that it has named', async () => {
    const client = await lab.connect({ failover: { sessionVariables: ['app.tenant'] } });
    await client.query('SELECT set_config($1, $2, false)', ['app.tenant', 'a']);
    await client.query('SELECT 1');
    lab.proxy.cut();
    const { rows } = await client.query(`SELECT current_setting('app.tenant', true) AS value`);
    expect(rows).toEqual([{ value: 'a' }]);
    expect(client.seen.isQuiet).toBe(true);
  });
});
