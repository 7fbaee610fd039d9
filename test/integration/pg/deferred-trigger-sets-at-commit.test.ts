import { describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { expectKeptOrRefused } from './kept-or-refused.ts';

const READ = `SELECT current_setting('app.tenant', true) AS tenant`;
const WORK = ['INSERT INTO job VALUES (1)', 'SET LOCAL search_path = harmful, public'];

const INSERT = ['BEGIN', 'INSERT INTO job VALUES (1)', 'COMMIT', 'SELECT 1'];
const IN_VAIN = ['BEGIN', ...WORK, 'ROLLBACK', 'SELECT 1'];
/** What has been judged before, in this order: what one session has learned all of them know. */
const WHEN: [when: string, before: string[]][] = [
  ['in the first transaction of all', []],
  ['where the INSERT is known', INSERT],
  ['where INSERT and SET LOCAL are known', [...INSERT, ...IN_VAIN, ...IN_VAIN]],
  ['in the first transaction of a session to which all is known', []],
];
const SET_UP = `
  CREATE FUNCTION public.enter() RETURNS int LANGUAGE sql AS 'SELECT 1';
  CREATE SCHEMA harmful;
  CREATE TABLE job (id int);
  CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM enter(); RETURN NULL; END$$;
  CREATE CONSTRAINT TRIGGER later AFTER INSERT ON job DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION later();`;

describe('a deferred trigger runs at COMMIT, under the path that SET LOCAL has left, and sets the tenant there', () => {
  const lab = FailoverLab.forThisSuite({
    standbys: 0,
    setUp: `${SET_UP}
      CREATE FUNCTION harmful.enter() RETURNS int LANGUAGE sql AS
        $$SELECT set_config('app.tenant', 'a', false); SELECT 1$$`,
  });

  it.each(WHEN)('which is not lost in silence: %s', async (_when, before) => {
    const client = await lab.connect();
    for (const sql of before) await client.query(sql);
    for (const sql of ['BEGIN', ...WORK, 'COMMIT']) await client.query(sql);
    expect((await client.query(READ)).rows).toEqual([{ tenant: 'a' }]);
    await client.query('SELECT 1');
    await expectKeptOrRefused(lab, client, READ, [{ tenant: 'a' }]);
  });

  it('which is not lost in silence where SET CONSTRAINTS runs it', async () => {
    const client = await lab.connect();
    for (const sql of ['BEGIN', ...WORK, 'SET CONSTRAINTS ALL IMMEDIATE', 'COMMIT']) await client.query(sql);
    expect((await client.query(READ)).rows).toEqual([{ tenant: 'a' }]);
    await client.query('SELECT 1');
    await expectKeptOrRefused(lab, client, READ, [{ tenant: 'a' }]);
  });

  it('which is not lost in silence: all in one string', async () => {
    const client = await lab.connect();
    await client.query(['BEGIN', ...WORK, 'COMMIT'].join('; '));
    expect((await client.query(READ)).rows).toEqual([{ tenant: 'a' }]);
    await client.query('SELECT 1');
    await expectKeptOrRefused(lab, client, READ, [{ tenant: 'a' }]);
  });
});

describe('a deferred trigger does so with a name that it puts together', () => {
  const lab = FailoverLab.forThisSuite({
    standbys: 0,
    setUp: `${SET_UP}
      CREATE FUNCTION harmful.enter() RETURNS int LANGUAGE plpgsql AS
        $$BEGIN PERFORM set_config('app.' || 'hidden', 'a', false); RETURN 1; END$$`,
  });

  it.each(WHEN)('which is not lost in silence: %s', async (_when, before) => {
    const client = await lab.connect();
    for (const sql of [...before, 'BEGIN', ...WORK, 'COMMIT']) await client.query(sql);
    // Not the name itself, which the driver would learn from it.
    const read = `SELECT current_setting(concat('app.', 'hidden'), true) AS tenant`;
    expect((await client.query(read)).rows).toEqual([{ tenant: 'a' }]);
    await client.query('SELECT 1');
    await expectKeptOrRefused(lab, client, read, [{ tenant: 'a' }]);
  });
});
