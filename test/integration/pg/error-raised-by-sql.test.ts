import { describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { rejectionOf } from '../../support/settle.ts';

/** Codes that a dying server uses too; here they are an ERROR of one statement, and nobody is dying (R14). */
const ERRORS: readonly (readonly [code: string, before: string, statement: string])[] = [
  ['57P01', 'SELECT 1', `DO $$ BEGIN RAISE 'as if' USING ERRCODE = '57P01'; END $$`],
  ['57P02', 'SELECT 1', `DO $$ BEGIN RAISE 'as if' USING ERRCODE = '57P02'; END $$`],
  ['57P03', 'SELECT 1', `DO $$ BEGIN RAISE 'as if' USING ERRCODE = '57P03'; END $$`],
  ['08006', 'SELECT 1', `DO $$ BEGIN RAISE 'as if' USING ERRCODE = '08006'; END $$`],
  ['25P03', 'SELECT 1', `DO $$ BEGIN RAISE 'as if' USING ERRCODE = '25P03'; END $$`],
  ['53300', 'SELECT 1', `DO $$ BEGIN RAISE 'as if' USING ERRCODE = '53300'; END $$`],
  ['25006', 'SET TRANSACTION READ ONLY', `INSERT INTO note VALUES ('not written')`],
  ['0A000', 'SELECT 1', `DO $$ BEGIN RAISE 'as if' USING ERRCODE = '0A000'; END $$`],
];

describe('a statement fails with a code that dying servers use', () => {
  const lab = FailoverLab.forThisSuite({ standbys: 0 });

  it.each(ERRORS)('%s is that statement’s error and disturbs nobody', async (code, before, statement) => {
    const [one, other] = [await lab.connect(), await lab.connect()];
    const pid = async (client: typeof one): Promise<unknown> =>
      (await client.query('SELECT pg_backend_pid() AS pid')).rows[0].pid;
    const [onePid, otherPid] = [await pid(one), await pid(other)];
    const { failovers } = one.failover!.snapshot();
    await other.query('BEGIN');
    await other.query(`INSERT INTO note VALUES ('other')`);
    await one.query('BEGIN');
    await one.query(before);
    expect(await rejectionOf(one.query(statement))).toMatchObject({ code, severity: 'ERROR' });
    expect(await rejectionOf(one.query('SELECT 1'))).toMatchObject({ code: '25P02' });
    await one.query('ROLLBACK');
    if (!before.includes('READ ONLY'))
      expect(await rejectionOf(one.query(statement))).toMatchObject({ code });
    await one.query(`INSERT INTO note VALUES ('one')`);
    expect([await pid(one), await pid(other)]).toEqual([onePid, otherPid]);
    await other.query('COMMIT');
    expect(one.failover!.snapshot().failovers).toBe(failovers);
    expect(await lab.notes()).toEqual(['one', 'other']);
    expect([one.seen, other.seen]).toMatchObject([{ isQuiet: true }, { isQuiet: true }]);
  });

  it('a stale plan of a named statement (0A000) is that statement’s error and disturbs nobody', async () => {
    const [one, other] = [await lab.connect(), await lab.connect()];
    await lab.primary.query('CREATE TABLE changing (id int); GRANT SELECT ON changing TO app');
    const read = { name: 'read', text: 'SELECT * FROM changing' };
    await one.query(read);
    await other.query('BEGIN');
    await lab.primary.query('ALTER TABLE changing ADD COLUMN more int');
    expect(await rejectionOf(one.query(read))).toMatchObject({ code: '0A000', severity: 'ERROR' });
    await other.query(`INSERT INTO note VALUES ('other')`);
    await other.query('COMMIT');
    await lab.primary.query('DROP TABLE changing');
    expect(await lab.notes()).toEqual(['other']);
    expect(one.failover!.snapshot().waitingSessions).toBe(0);
  });

  it('the error comes again when the transaction is replayed after it', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    await client.query('SAVEPOINT s');
    const raise = `DO $$ BEGIN RAISE 'as if' USING ERRCODE = '57P01'; END $$`;
    expect(await rejectionOf(client.query(raise))).toMatchObject({ code: '57P01' });
    await client.query('ROLLBACK TO s');
    lab.proxy.cut();
    await client.query(`INSERT INTO note VALUES ('b')`);
    await client.query('COMMIT');
    expect(await lab.notes()).toEqual(['a', 'b']);
  });
});
