import { describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';

/** Code that nobody sees through: the driver's own statement may be gone behind it, and the session is read back. */
const OPAQUE = `DO $$ BEGIN EXECUTE 'SELECT 1'; END $$`;

describe('a session of many transactions', () => {
  const lab = FailoverLab.forThisSuite({ standbys: 0 });

  it.each([
    ['that anybody can see through', 'SELECT 1'],
    ['with code that nobody sees through', OPAQUE],
    ['that drop all prepared statements', 'DEALLOCATE ALL'],
  ])(
    'leaves no more than one statement of the driver’s on the server: transactions %s',
    async (_what, sql) => {
      const client = await lab.connect();
      for (let count = 0; count < 20; count++) {
        await client.query('BEGIN');
        await client.query('INSERT INTO note VALUES ($1)', ['a']);
        await client.query(sql);
        await client.query('INSERT INTO note VALUES ($1)', ['b']);
        await client.query('COMMIT');
      }
      const { rows } = await client.query<{ name: string }>('SELECT name FROM pg_prepared_statements');
      expect(rows.map(({ name }) => name)).toEqual(rows.length === 0 ? [] : ['holdfast_mark']);
      // And it works: the COMMIT could be resolved.
      await client.query('BEGIN');
      await client.query('INSERT INTO note VALUES ($1)', ['c']);
      lab.proxy.cut();
      await client.query('COMMIT');
      expect(await lab.notes()).toHaveLength(41);
    },
  );
});
