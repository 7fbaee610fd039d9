import { describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { onMessage } from '../../support/on-message.ts';
import { settle } from '../../support/settle.ts';

const ROWS = 20_000;

describe('review: a replayed transaction that is rolled back by the driver', () => {
  const lab = FailoverLab.forThisSuite({
    setUp: `CREATE TABLE big AS SELECT id, 'row ' || id AS text FROM generate_series(1, ${ROWS}) AS id`,
  });

  async function diverge(sql: string) {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    const pending = settle(client.query(sql));
    await onMessage(lab.proxy, { from: 'server', type: 'D', after: ROWS / 2 }, 'hold');
    const { proxy } = lab;
    await lab.primary.query('UPDATE big SET id = -id WHERE id = 7');
    await lab.shipAll();
    await lab.primary.kill();
    proxy.cut();
    await lab.cluster.failover();
    const { error } = await pending;
    await lab.primary.query('UPDATE big SET id = -id WHERE id = -7');
    return { client, error };
  }

  it('F1: what is SET afterwards survives the next loss', async () => {
    const { client, error } = await diverge('SELECT id, text FROM big ORDER BY id');
    expect(error).toMatchObject({ code: '40001' });
    await client.query('ROLLBACK');
    await client.query(`SET app.tenant = 'b'`);
    await client.query('SELECT 1');
    lab.proxy.cut();
    const { rows } = await client.query(`SELECT current_setting('app.tenant', true) AS tenant`);
    expect(rows).toEqual([{ tenant: 'b' }]);
  });

  it('F3: a string that ends with COMMIT is not committed behind a 40001', async () => {
    const { client, error } = await diverge(
      `SELECT id, text, CASE WHEN id = ${ROWS - 1} THEN pg_sleep(3)::text END FROM (SELECT * FROM big ORDER BY id) AS b; COMMIT`,
    );
    const notes = await lab.notes();
    await client.query('ROLLBACK');
    expect({
      code: (error as { code?: string } | undefined)?.code,
      outcome: (error as { outcome?: string } | undefined)?.outcome,
      notes,
    }).not.toMatchObject({
      outcome: 'rolled-back',
      notes: ['a'],
    });
  });
});
