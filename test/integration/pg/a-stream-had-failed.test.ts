import QueryStream from 'pg-query-stream';
import { describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { rejectionOf } from '../../support/settle.ts';

/** pg-query-stream closes the portal of a stream that has failed behind the Sync of its unit, without another one. */
describe('a stream has failed and left a Close behind that no Sync follows', () => {
  const lab = FailoverLab.forThisSuite();

  it.each([
    ['a simple query', `INSERT INTO note VALUES ('a')`, []],
    ['one with values', 'INSERT INTO note VALUES ($1)', ['a']],
  ])('and %s follows: the next ones and the primary are lost as ever', async (_what, text, values) => {
    const client = await lab.connect();
    const stream = client.query(new QueryStream('SELECT 1 / (5 - n) FROM generate_series(1, 9) AS n'));
    expect(await rejectionOf(stream.toArray())).toMatchObject({ code: '22012' });
    expect((await client.query(text, values)).rowCount).toBe(1);
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('b')`);
    await lab.replacePrimary();
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    await client.query('COMMIT');
    expect((await client.query('SELECT 2 AS two')).rows).toEqual([{ two: 2 }]);
    expect(await lab.notes()).toEqual(['a', 'b']);
    expect(client.seen.isQuiet).toBe(true);
  });

  it('and nothing follows: the session is idle when the primary is lost', async () => {
    const client = await lab.connect();
    const stream = client.query(new QueryStream('SELECT 1 / (5 - n) FROM generate_series(1, 9) AS n'));
    expect(await rejectionOf(stream.toArray())).toMatchObject({ code: '22012' });
    await lab.replacePrimary();
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    expect((await client.query('SELECT $1::int AS two', [2])).rows).toEqual([{ two: 2 }]);
    expect(client.seen.isQuiet).toBe(true);
  });
});
