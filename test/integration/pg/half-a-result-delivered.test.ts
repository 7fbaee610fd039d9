import Cursor from 'pg-cursor';
import QueryStream from 'pg-query-stream';
import { describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { onMessage } from '../../support/on-message.ts';
import { rejectionOf, settle } from '../../support/settle.ts';

const ROWS = 200_000;

interface Row {
  readonly id: number;
  readonly text: string;
}

/** Null if these are the rows 1 to `count`, each once and in order; else the first that is not. */
function firstWrong(rows: readonly Row[], count = ROWS): unknown {
  const wrong = rows.findIndex(({ id, text }, i) => id !== i + 1 || text !== `row ${i + 1}`);
  if (wrong >= 0) return { index: wrong, ...rows[wrong] };
  return rows.length === count ? null : `${rows.length} rows`;
}

describe('the primary is lost when half the rows of a result were delivered', () => {
  const lab = FailoverLab.forThisSuite({
    setUp: `CREATE TABLE big AS SELECT id, 'row ' || id AS text FROM generate_series(1, ${ROWS}) AS id`,
  });

  /** Holds the result in the middle; what was sent before has reached the client when the primary is gone. */
  async function losePrimaryInTheMiddle(): Promise<void> {
    await onMessage(lab.proxy, { from: 'server', type: 'D', after: ROWS / 2 }, 'hold');
    await lab.shipAll();
    const { proxy } = lab;
    await lab.primary.kill();
    proxy.cut();
    await lab.cluster.failover();
  }

  it('gives the other half, outside a transaction', async () => {
    const client = await lab.connect();
    const pending = client.query<Row>('SELECT id, text FROM big ORDER BY id');
    await losePrimaryInTheMiddle();
    const { rows } = await pending;
    expect(firstWrong(rows)).toBeNull();
    expect(client.seen.isQuiet).toBe(true);
  });

  it('gives the other half inside a transaction, which goes on', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    const pending = client.query<Row>('SELECT id, text FROM big ORDER BY id');
    await losePrimaryInTheMiddle();
    const { rows } = await pending;
    await client.query('COMMIT');
    expect(firstWrong(rows)).toBeNull();
    expect(await lab.notes()).toEqual(['a']);
    expect(client.seen.isQuiet).toBe(true);
  });

  it('gives each row once if they come in another order', async () => {
    const client = await lab.connect();
    const pending = client.query<Row>('SELECT id, text FROM big ORDER BY random()');
    await losePrimaryInTheMiddle();
    const { rows } = await pending;
    expect(firstWrong(rows.sort((one, other) => one.id - other.id))).toBeNull();
  });

  it('gives the rest to a stream', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    const stream = client.query(
      new QueryStream('SELECT id, text FROM big ORDER BY id', [], { batchSize: 1000 }),
    );
    const loss = losePrimaryInTheMiddle();
    const rows: Row[] = [];
    for await (const row of stream) rows.push(row as Row);
    await loss;
    await client.query('COMMIT');
    expect(firstWrong(rows)).toBeNull();
    expect(await lab.notes()).toEqual(['a']);
  });

  it('goes on with a cursor that is open, where it was', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    const cursor = client.query(new Cursor<Row>('SELECT id, text FROM big ORDER BY id'));
    const first = await cursor.read(1000);
    await lab.replacePrimary();
    const second = await cursor.read(1000);
    await cursor.close();
    await client.query('COMMIT');
    expect(firstWrong([...first, ...second], 2000)).toBeNull();
    expect(await lab.notes()).toEqual(['a']);
    expect(client.seen.isQuiet).toBe(true);
  });

  it('says so when the rows are others meanwhile', async () => {
    const client = await lab.connect();
    const pending = settle(client.query<Row>('SELECT id, text FROM big ORDER BY id'));
    await onMessage(lab.proxy, { from: 'server', type: 'D', after: ROWS / 2 }, 'hold');
    const { proxy } = lab;
    await lab.primary.query('UPDATE big SET id = -id WHERE id = 7');
    await lab.shipAll();
    await lab.primary.kill();
    proxy.cut();
    await lab.cluster.failover();
    const { error } = await pending;
    await lab.primary.query('UPDATE big SET id = -id WHERE id = -7');
    expect(error).toMatchObject({ code: '40001', kind: 'replay-diverged', outcome: 'rolled-back' });
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  it('says so inside a transaction as well, which then has to be rolled back', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    const pending = settle(client.query<Row>('SELECT id, text FROM big ORDER BY id'));
    await onMessage(lab.proxy, { from: 'server', type: 'D', after: ROWS / 2 }, 'hold');
    const { proxy } = lab;
    await lab.primary.query('UPDATE big SET id = -id WHERE id = 7');
    await lab.shipAll();
    await lab.primary.kill();
    proxy.cut();
    await lab.cluster.failover();
    const { error } = await pending;
    await lab.primary.query('UPDATE big SET id = -id WHERE id = -7');
    expect(error).toMatchObject({ code: '40001', kind: 'replay-diverged', outcome: 'rolled-back' });
    expect(await rejectionOf(client.query(`INSERT INTO note VALUES ('b')`))).toMatchObject({ code: '25P02' });
    await client.query('ROLLBACK');
    await client.query(`INSERT INTO note VALUES ('c')`);
    expect(await lab.notes()).toEqual(['c']);
  });
});
