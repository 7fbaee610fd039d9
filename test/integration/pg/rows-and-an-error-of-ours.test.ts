import type pg from 'pg';
import { describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { onMessage } from '../../support/on-message.ts';
import { settle } from '../../support/settle.ts';

/** pg's query with `rows` never closes its unit behind an error, and waits for the end of the answer (stock pg as well). */
describe('a query with `rows` is given an error of ours: the client goes on behind it', () => {
  const lab = FailoverLab.forThisSuite({ standbys: 1 });

  const inPortions = (text: string, keys: object = {}): pg.QueryConfig =>
    ({ rows: 10, text, values: [], ...keys }) as pg.QueryConfig;

  async function expectToGoOn(client: pg.ClientBase): Promise<void> {
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    expect((await client.query(inPortions('SELECT 2 AS two'))).rows).toEqual([{ two: 2 }]);
    const stream = await client.query({ text: 'SELECT $1::int AS three', values: [3] });
    expect(stream.rows).toEqual([{ three: 3 }]);
  }

  it('a write of which nobody knows what became of it', async () => {
    const client = await lab.connect();
    const cut = onMessage(lab.proxy, { from: 'server', type: 'D', after: 55 }, 'cut-before');
    const pending = settle(
      client.query(
        inPortions(`INSERT INTO note SELECT 'line ' || n FROM generate_series(1, 100) AS n RETURNING text`),
      ),
    );
    await cut;
    expect((await pending).error).toMatchObject({ code: '08007' });
    await expectToGoOn(client);
  });

  it('a read that diverges', async () => {
    const client = await lab.connect();
    await lab.primary.query(
      `INSERT INTO note SELECT lpad(n::text, 6, '0') FROM generate_series(1, 1000) AS n`,
    );
    const held = onMessage(lab.proxy, { from: 'server', type: 'D', after: 504 }, 'hold');
    const pending = settle(client.query(inPortions('SELECT text FROM note ORDER BY text')));
    await held;
    const { proxy } = lab;
    await lab.primary.query(`DELETE FROM note WHERE text = '000007'`);
    await lab.shipAll();
    await lab.primary.kill();
    proxy.cut();
    await lab.cluster.failover();
    expect((await pending).error).toMatchObject({ kind: 'replay-diverged' });
    await expectToGoOn(client);
  });

  it('a read whose time is up while there is no primary', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    await lab.killPrimary();
    const { error } = await settle(client.query(inPortions('SELECT text FROM note', { query_timeout: 300 })));
    expect(error?.message).toContain('timeout');
    await lab.cluster.failover();
    await client.query('ROLLBACK');
    await expectToGoOn(client);
    expect(await lab.notes()).toEqual([]);
  });
});
