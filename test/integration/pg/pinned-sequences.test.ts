import { describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { rejectionOf } from '../../support/settle.ts';

const SEQUENCES: readonly (readonly [string, string])[] = [
  ['plain', ''],
  ['cached', 'CACHE 10'],
  ['in steps', 'INCREMENT 5'],
  ['downwards', 'INCREMENT -1'],
  ['downwards in cached steps', 'INCREMENT -3 CACHE 4'],
  ['from elsewhere', 'START 1000 INCREMENT 7 CACHE 2'],
];

/** Facts, section 5: what a sequence hands out after an asynchronous loss, it may have handed out before. */
describe('sequences behind on the promoted standby', () => {
  const lab = FailoverLab.forThisSuite({
    // What an open transaction has written stays unflushed, and so unshipped.
    settings: { wal_writer_delay: '10s' },
    setUp: [
      ...SEQUENCES.map(
        ([name, options], index) =>
          `CREATE SEQUENCE s${index} ${options}; CREATE TABLE t${index} (id bigint PRIMARY KEY DEFAULT nextval('s${index}'), name text);
           COMMENT ON TABLE t${index} IS '${name}';`,
      ),
      'CREATE TABLE always (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text);',
    ].join('\n'),
  });

  /** Kills the primary with what it has not shipped: it does not flush by itself what an open transaction has written. */
  async function loseUnshipped(): Promise<void> {
    await lab.primary.kill();
    await lab.cluster.failover();
  }

  it.each(SEQUENCES.map(([name], index) => [name, index] as const))(
    'a sequence %s is moved past what was seen, and hands it out to nobody else',
    async (_name, index) => {
      const client = await lab.connect();
      await client.query('BEGIN');
      const seen = (
        await client.query(
          `INSERT INTO t${index} (name) SELECT 'seen' FROM generate_series(1, 20) RETURNING id`,
        )
      ).rows;
      await client.query(`INSERT INTO t${index} (name) VALUES ('unseen')`);
      seen.push(
        ...(await client.query(`INSERT INTO t${index} (name) VALUES ('seen'), ('seen') RETURNING id`)).rows,
      );
      await loseUnshipped();
      await client.query(`INSERT INTO t${index} (name) VALUES ('behind')`);
      const other = await lab.stock();
      for (let n = 0; n < 30; n++) await other.query(`INSERT INTO t${index} (name) VALUES ('other')`);
      await client.query('COMMIT');
      const { rows } = await client.query(`SELECT id FROM t${index} WHERE name = 'seen' ORDER BY id`);
      expect(rows.map(({ id }) => Number(id)).sort()).toEqual(seen.map(({ id }) => Number(id)).sort());
      expect((await client.query(`SELECT FROM t${index}`)).rowCount).toBe(54);
    },
  );

  it('does so for an identity', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    const { rows } = await client.query(`INSERT INTO always (name) VALUES ('a'), ('b') RETURNING *`);
    await loseUnshipped();
    await client.query('COMMIT');
    const other = await lab.stock();
    await other.query(`INSERT INTO always (name) VALUES ('c'), ('d'), ('e')`);
    expect((await other.query('SELECT * FROM always ORDER BY id LIMIT 2')).rows).toEqual(rows);
  });

  it('does so for several sessions before any of them replays', async () => {
    const clients = await Promise.all(Array.from({ length: 6 }, async () => await lab.connect()));
    const seen: unknown[] = [];
    for (const client of clients) await client.query('BEGIN');
    for (const client of clients) {
      await client.query(`INSERT INTO t0 (name) VALUES ('unseen of many')`);
      seen.push(...(await client.query(`INSERT INTO t0 (name) VALUES ('of many') RETURNING id`)).rows);
    }
    await loseUnshipped();
    await Promise.all(clients.map(async (client) => await client.query('COMMIT')));
    const { rows } = await clients[0]!.query(`SELECT id FROM t0 WHERE name = 'of many' ORDER BY id`);
    expect(rows).toEqual(seen);
  });

  it('takes a key that somebody else has by now for the conflict that it is (R5)', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    const { rows } = await client.query(`INSERT INTO t0 (name) VALUES ('mine') RETURNING id`);
    await lab.proxyOf(lab.cluster.standbys[0]!).refuse();
    await lab.killPrimary();
    await lab.cluster.failover();
    await lab.primary.query('INSERT INTO t0 (id, name) VALUES ($1, $2)', [
      (rows[0] as { id: string }).id,
      'theirs',
    ]);
    await lab.proxy.pass();
    const error = await rejectionOf(client.query('COMMIT'));
    expect(error).toMatchObject({ code: '40001', kind: 'replay-diverged' });
    expect(String(error)).toMatch(/now failed with SQLSTATE 23505 \(INSERT INTO t0\)/);
    await client.query('ROLLBACK');
  });

  it('gives the same again where the transaction has set the sequence itself', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query('TRUNCATE t2 RESTART IDENTITY; ALTER SEQUENCE s2 RESTART WITH 77');
    const { rows } = await client.query(`INSERT INTO t2 (name) VALUES ('a'), ('b') RETURNING id`);
    expect(rows).toEqual([{ id: '77' }, { id: '82' }]);
    await lab.replacePrimary();
    await client.query('COMMIT');
    await client.query(`INSERT INTO t2 (name) VALUES ('c')`);
    expect((await client.query('SELECT id FROM t2 ORDER BY id')).rows).toEqual([...rows, { id: '87' }]);
  });

  it('gives the same again where the transaction has made the table', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(
      'CREATE TABLE made (id serial PRIMARY KEY, name text, token uuid DEFAULT gen_random_uuid())',
    );
    const { rows } = await client.query(`INSERT INTO made (name) VALUES ('a'), ('b') RETURNING id, name`);
    const { rows: tokens } = await client.query(
      `UPDATE made SET token = gen_random_uuid() RETURNING id, token`,
    );
    await lab.replacePrimary();
    await client.query('COMMIT');
    await client.query(`INSERT INTO made (name) VALUES ('c')`);
    expect((await client.query('SELECT id, name FROM made ORDER BY id LIMIT 2')).rows).toEqual(rows);
    expect((await client.query('SELECT id, token FROM made ORDER BY id LIMIT 2')).rows).toEqual(tokens);
  });

  it('finds the sequence where it had been before', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    const { rows } = await client.query(`INSERT INTO t3 (name) VALUES ('once') RETURNING id`);
    await lab.proxyOf(lab.cluster.standbys[0]!).refuse();
    await loseUnshipped();
    const handedOut = await lab.primary.query(`SELECT nextval('s3') AS id`);
    expect(handedOut.rows).toEqual(rows);
    await lab.proxy.pass();
    await client.query('COMMIT');
    expect((await client.query(`SELECT id FROM t3 WHERE name = 'once'`)).rows).toEqual(rows);
  });

  it('says so where the role may not use the sequence of an identity', async () => {
    await lab.primary.query(
      `CREATE TABLE guarded (id int GENERATED ALWAYS AS IDENTITY, name text); GRANT SELECT, INSERT ON guarded TO app`,
    );
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO guarded (name) VALUES ('a') RETURNING id`);
    lab.proxy.cut();
    const error = await rejectionOf(client.query('COMMIT'));
    expect(String(error)).toMatch(/INSERT INTO guarded; .*its sequence can’t be moved \(SQLSTATE 42501\)/);
  });
});
