import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Connection } from '../../../src/tedious.ts';
import { begin, commit, connected, run, runStock } from '../../support/sqlserver/run-stock.ts';
import { SqlServerCluster } from '../../support/sqlserver/sql-server-cluster.ts';

let cluster: SqlServerCluster;
let connection: Connection;

beforeAll(async () => {
  cluster = await SqlServerCluster.start({
    synchronous: true,
    setUp: ['CREATE TABLE dbo.account (id int NOT NULL PRIMARY KEY, balance int NOT NULL)'],
  });
});
beforeEach(async () => {
  await cluster.ready();
  await runStock(cluster.stockConfig(), 'DELETE FROM account;INSERT INTO account VALUES (1, 100), (2, 100)');
  connection = await connected(new Connection(cluster.config()));
});
afterEach(() => {
  connection.close();
});
afterAll(async () => {
  await cluster.stop();
});

async function balances(): Promise<unknown[]> {
  return (await runStock(cluster.stockConfig(), 'SELECT balance FROM account ORDER BY id')).flat();
}

describe('a session over the loss of its primary', () => {
  it('goes on when it is idle', async () => {
    expect(await run(connection, 'SELECT balance FROM account WHERE id = 1')).toEqual([[100]]);
    await cluster.replacePrimary();
    expect(await run(connection, 'SELECT balance FROM account WHERE id = 1')).toEqual([[100]]);
  });

  it('keeps its open transaction, which then commits', async () => {
    await begin(connection);
    await run(connection, 'UPDATE account SET balance = balance - 10 WHERE id = 1');
    expect(await run(connection, 'SELECT balance FROM account WHERE id = 1')).toEqual([[90]]);
    await cluster.replacePrimary();
    await run(connection, 'UPDATE account SET balance = balance + 10 WHERE id = 2');
    await commit(connection);
    expect(await balances()).toEqual([90, 110]);
  });

  it('is told once of a COMMIT that was carried out and whose answer was lost', async () => {
    await begin(connection);
    await run(connection, 'UPDATE account SET balance = balance - 10 WHERE id = 1');
    const cut = cluster.gateway.faults.add({ kind: 'cut-after', at: ({ text }) => text.includes('COMMIT') });
    const committed = commit(connection);
    await cut;
    await cluster.replacePrimary();
    await committed;
    expect(await balances()).toEqual([90, 100]);
  });

  it('replays and commits once where the COMMIT never arrived', async () => {
    await begin(connection);
    await run(connection, 'UPDATE account SET balance = balance - 10 WHERE id = 1');
    const cut = cluster.gateway.faults.add({ kind: 'cut-before', at: ({ text }) => text.includes('COMMIT') });
    const committed = commit(connection);
    await cut;
    await cluster.replacePrimary();
    await committed;
    expect(await balances()).toEqual([90, 100]);
  });

  it.each(['cut-before', 'cut-after'] as const)('runs an autocommit write once: %s', async (kind) => {
    const cut = cluster.gateway.faults.add({ kind, at: ({ text }) => text.includes('balance - 5') });
    const written = run(connection, 'UPDATE account SET balance = balance - 5 WHERE id = 1').then(
      () => 'done',
      (error: unknown) => (error as { number?: number }).number,
    );
    await cut;
    await cluster.replacePrimary();
    expect(await written).toBe(kind === 'cut-before' ? 'done' : 58008);
    expect(await balances()).toEqual([95, 100]);
  });

  it('refuses a transaction whose replay gives other results, and goes on behind its ROLLBACK', async () => {
    await begin(connection);
    expect(await run(connection, 'SELECT balance FROM account WHERE id = 2')).toEqual([[100]]);
    await runStock(cluster.stockConfig(), 'UPDATE account SET balance = 7 WHERE id = 2');
    await cluster.replacePrimary();
    await expect(run(connection, 'UPDATE account SET balance = 0 WHERE id = 1')).rejects.toMatchObject({
      number: 1205,
    });
    await expect(run(connection, 'SELECT 1')).rejects.toMatchObject({ number: 3930 });
    await new Promise<void>((resolve, reject) => {
      connection.rollbackTransaction((error) => {
        if (error === undefined || error === null) resolve();
        else reject(error);
      });
    });
    expect(await run(connection, 'SELECT balance FROM account WHERE id = 2')).toEqual([[7]]);
    expect(await balances()).toEqual([100, 7]);
  });
});
