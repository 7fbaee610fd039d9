import { describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { expectKeptOrRefused } from './kept-or-refused.ts';

/** Nothing of it is the setting's name as it stands in a statement: the driver would learn it from there. */
const WAYS: [how: string, name: string, ...work: string[]][] = [
  [
    'by SQL that a DO block has in a variable',
    'variable',
    `DO $$ DECLARE how text := 'SET app.' || 'variable = ''a'''; BEGIN EXECUTE how; END $$`,
  ],
  [
    'by set_config in quotes',
    'quotes',
    `DO $$ BEGIN PERFORM "set_config"('app.' || 'quotes', 'a', false); END $$`,
  ],
  [
    'by set_config with a comment behind it',
    'comment',
    `DO $$ BEGIN PERFORM set_config /* it */ ('app.' || 'comment', 'a', false); END $$`,
  ],
  [
    'by set_config with escapes in the name',
    'escaped',
    String.raw`DO $$ BEGIN PERFORM set_config(E'app\x2eescaped', 'a', false); END $$`,
  ],
  ['by a DO block with escapes', 'block', String.raw`DO E'BEGIN SET app\x2eblock = ''a''; END'`],
];

describe('a setting of its own that the application has made in code is not lost in silence', () => {
  const lab = FailoverLab.forThisSuite({ standbys: 0 });

  it.each(WAYS)('%s', async (_how, word, ...work) => {
    const client = await lab.connect();
    for (const sql of work) await client.query(sql);
    const read = `SELECT current_setting(concat('app.', '${word}'), true) AS value`;
    expect((await client.query(read)).rows).toEqual([{ value: 'a' }]);
    await client.query('SELECT 1');
    await expectKeptOrRefused(lab, client, read, [{ value: 'a' }]);
  });
});

describe('nor where a function of the database has the SQL in a variable', () => {
  const lab = FailoverLab.forThisSuite({
    standbys: 0,
    setUp: `CREATE FUNCTION enter() RETURNS void LANGUAGE plpgsql AS
      $$DECLARE how text; BEGIN how := 'SET app.' || 'routine = ''a'''; EXECUTE how; END$$`,
  });

  it.each(['at once', 'when it is known'])('%s', async () => {
    const client = await lab.connect();
    await client.query('SELECT enter()');
    const read = `SELECT current_setting(concat('app.', 'routine'), true) AS value`;
    expect((await client.query(read)).rows).toEqual([{ value: 'a' }]);
    await client.query('SELECT 1');
    await expectKeptOrRefused(lab, client, read, [{ value: 'a' }]);
  });
});
