import { describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { expectKeptOrRefused } from './kept-or-refused.ts';

const READ = `SELECT current_setting('app.tenant', true) AS tenant`;

describe('a function that changed nothing has come to set the tenant, and nobody has told the driver', () => {
  const lab = FailoverLab.forThisSuite({ standbys: 0 });

  it.each([
    ['in a statement of its own', []],
    ['in a transaction', ['BEGIN', 'COMMIT']],
  ])('which is not lost in silence: called %s', async (_where, [begin, commit]) => {
    const other = await lab.stock();
    await other.query(
      `CREATE OR REPLACE FUNCTION login(who text) RETURNS void LANGUAGE sql AS 'SELECT count(*) FROM note'`,
    );
    const client = await lab.connect();
    await client.query(`SELECT login('a')`);
    await client.query(`SELECT login('a')`);
    await client.query('SELECT 1');
    await other.query(
      `CREATE OR REPLACE FUNCTION login(who text) RETURNS void LANGUAGE plpgsql AS
        $$BEGIN PERFORM set_config('app.tenant', who, false); END$$`,
    );
    if (begin !== undefined) await client.query(begin);
    await client.query(`SELECT login('a')`);
    if (commit !== undefined) await client.query(commit);
    expect((await client.query(READ)).rows).toEqual([{ tenant: 'a' }]);
    await expectKeptOrRefused(lab, client, READ, [{ tenant: 'a' }]);
  });

  it('which is not lost in silence if the session was read back since, without a name that nobody knew', async () => {
    const other = await lab.stock();
    await other.query(
      `CREATE FUNCTION enter(who text) RETURNS void LANGUAGE sql AS 'SELECT count(*) FROM note'`,
    );
    const client = await lab.connect();
    for (let count = 0; count < 3; count++) await client.query(`SELECT enter('a')`);
    await other.query(
      `CREATE OR REPLACE FUNCTION enter(who text) RETURNS void LANGUAGE plpgsql AS
        $$BEGIN PERFORM set_config('app.new', who, false); END$$`,
    );
    await client.query(`SELECT enter('a')`);
    for (const sql of [`SET work_mem = '7777kB'`, 'SELECT 1', 'SELECT 1']) await client.query(sql);
    const read = `SELECT current_setting(concat('app.', 'new'), true) AS tenant`;
    await expectKeptOrRefused(lab, client, read, [{ tenant: 'a' }]);
  });
});
