import Cursor from 'pg-cursor';
import { describe, expect, it } from 'vitest';
import type { WatchedClient } from '../../support/failover-lab.ts';
import { FailoverLab } from '../../support/failover-lab.ts';
import { rejectionOf } from '../../support/settle.ts';

const SET_UP = `
  CREATE TABLE item (
    id bigserial PRIMARY KEY, name text, at timestamptz NOT NULL DEFAULT now(), token uuid NOT NULL DEFAULT gen_random_uuid(),
    price float8 DEFAULT random());
`;

async function rowsOf(client: WatchedClient, text: string, values: unknown[] = []): Promise<unknown[]> {
  return (await client.query<Record<string, unknown>>(text, values)).rows;
}

describe.each([
  ['asynchronous', false],
  ['synchronous', true],
])('INSERT … RETURNING in an open transaction, with %s replication', (_name, synchronous) => {
  const lab = FailoverLab.forThisSuite({ setUp: SET_UP, synchronous });

  it.each([
    [
      'a standby that has it all',
      async (): Promise<void> => {
        await lab.replacePrimary();
      },
    ],
    [
      'a standby that has none of it',
      async (): Promise<void> => {
        await lab.primary.kill();
        await lab.cluster.failover();
      },
    ],
    [
      'the same server',
      async (): Promise<void> => {
        lab.proxy.cut();
        await Promise.resolve();
      },
    ],
  ])('gives the same values again on %s', async (_where, lose) => {
    await lab.primary.query('TRUNCATE item');
    const client = await lab.connect();
    await client.query('BEGIN');
    const rows = await rowsOf(client, 'INSERT INTO item (name) VALUES ($1), ($2) RETURNING *', ['a', 'b']);
    const [changed] = await rowsOf(
      client,
      `UPDATE item SET token = gen_random_uuid() WHERE name = 'b' RETURNING *`,
    );
    await lose();
    const behind = await rowsOf(client, `INSERT INTO item (name) VALUES ('behind') RETURNING *`);
    const expected = [rows[0], changed, ...behind];
    expect(await rowsOf(client, 'SELECT * FROM item ORDER BY id')).toEqual(expected);
    await client.query('COMMIT');
    const other = await lab.stock();
    expect((await other.query('SELECT * FROM item ORDER BY id')).rows).toEqual(expected);
    expect(client.seen.isQuiet).toBe(true);
  });
});

describe('INSERT … RETURNING by other ways of the protocol', () => {
  const lab = FailoverLab.forThisSuite({ standbys: 0, setUp: SET_UP });

  it('is pinned with statements that are prepared once and bound often', async () => {
    const client = await lab.connect();
    const insert = { name: 'insert', text: 'INSERT INTO item (name) VALUES ($1) RETURNING *' };
    await client.query('BEGIN');
    const rows: unknown[] = [];
    for (const name of ['a', 'b', 'c'])
      rows.push(...(await client.query({ ...insert, values: [name] })).rows);
    lab.proxy.cut();
    rows.push(...(await client.query({ ...insert, values: ['d'] })).rows);
    lab.proxy.cut();
    expect(await rowsOf(client, 'SELECT * FROM item ORDER BY id')).toEqual(rows);
    await client.query('COMMIT');
    // The statement is the application's again.
    const [own] = (await client.query<{ at: Date }>({ ...insert, values: ['e'] })).rows;
    expect(own!.at > (rows[0] as { at: Date }).at).toBe(true);
  });

  it('is pinned where statements are pipelined', async () => {
    await lab.primary.query('TRUNCATE item');
    const client = await lab.connect({ pipeline: true });
    await client.query('BEGIN');
    const results = await Promise.all(
      ['a', 'b', 'c'].map(
        async (name) => await rowsOf(client, 'INSERT INTO item (name) VALUES ($1) RETURNING *', [name]),
      ),
    );
    lab.proxy.cut();
    const [, after] = await Promise.all([
      rowsOf(client, `INSERT INTO item (name) VALUES ('d')`),
      rowsOf(client, `SELECT * FROM item WHERE name <> 'd' ORDER BY id`),
    ]);
    expect(after).toEqual(results.flat());
    await client.query('COMMIT');
  });

  it('is not pinned where a cursor reads it in parts, and says so', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    const cursor = client.query(
      new Cursor(`INSERT INTO item (name) VALUES ('a'), ('b'), ('c') RETURNING id`),
    );
    expect(await cursor.read(2)).toHaveLength(2);
    lab.proxy.cut();
    const error = await rejectionOf(cursor.read(2));
    expect(error).toMatchObject({ code: '40001', kind: 'replay-diverged' });
    await client.query('ROLLBACK');
  });

  it('is not pinned where its result was too long to keep, and says so', async () => {
    const client = await lab.connect({ failover: { maxJournalBytes: 100_000 } });
    await client.query('BEGIN');
    await client.query(
      `INSERT INTO item (name) SELECT repeat('x', 1000) FROM generate_series(1, 200) RETURNING *`,
    );
    lab.proxy.cut();
    const error = await rejectionOf(client.query('SELECT 1'));
    expect(error).toMatchObject({ code: '40001', kind: 'replay-diverged' });
    expect(String(error)).toMatch(/INSERT INTO item; .*too long to keep/);
    expect(String(error)).not.toMatch(/xxx/);
  });

  it('does not tell values in its error', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO item (name) VALUES ('se' || 'cret' || random()) RETURNING id, name`);
    await client.query(`SELECT 'secret', random() FROM generate_series(1, 2)`);
    lab.proxy.cut();
    const error = await rejectionOf(client.query('SELECT 1'));
    expect(String(error)).toMatch(
      /\(SELECT; values that it made could not be pinned: a value differs from row to row\)/,
    );
    expect(String(error)).not.toMatch(/secret/);
  });
});
