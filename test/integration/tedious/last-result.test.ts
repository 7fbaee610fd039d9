import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Connection } from '../../../src/tedious.ts';
import { begin, commit, connected, run } from '../../support/sqlserver/run-stock.ts';
import { SqlServerCluster } from '../../support/sqlserver/sql-server-cluster.ts';

let cluster: SqlServerCluster;

beforeAll(async () => {
  cluster = await SqlServerCluster.start({
    setUp: ['CREATE TABLE dbo.numbered (id int IDENTITY(1,1) PRIMARY KEY, a int NOT NULL)'],
  });
});
afterAll(async () => {
  await cluster.stop();
});
beforeEach(async () => {
  await cluster.ready();
});

const INSERT = 'INSERT INTO numbered (a) VALUES (1)';

function refusal(asked: Promise<unknown>): Promise<unknown> {
  return asked.then(
    () => 'answered',
    (error: unknown) => (error as { number?: number }).number,
  );
}

describe('a request that asks for what an earlier one has left', () => {
  it('is refused where a token has changed it, and what comes behind it runs', async () => {
    const connection = await connected(new Connection(cluster.config()));
    await run(connection, INSERT, 'batch');
    expect(await refusal(run(connection, 'SELECT SCOPE_IDENTITY() AS id', 'batch'))).toBe(58009);
    await begin(connection);
    await run(connection, INSERT, 'batch');
    expect(await refusal(run(connection, 'SELECT SCOPE_IDENTITY() AS id', 'batch'))).toBe('answered');
    await commit(connection);
    expect(await refusal(run(connection, 'SELECT @@IDENTITY AS id', 'batch'))).toBe(58009);
    expect(await run(connection, 'SELECT DISTINCT a FROM numbered', 'batch')).toEqual([[1]]);
    connection.close();
  });

  it('is refused behind a failover, in a transaction that goes on as well', async () => {
    const connection = await connected(new Connection(cluster.config()));
    await run(connection, 'UPDATE numbered SET a = 2', 'batch');
    await begin(connection);
    await run(connection, 'UPDATE numbered SET a = 3', 'batch');
    await cluster.replacePrimary();
    expect(await refusal(run(connection, 'SELECT @@IDENTITY AS id', 'batch'))).toBe(58009);
    await commit(connection);
    expect(await run(connection, 'SELECT DISTINCT a FROM numbered', 'batch')).toEqual([[3]]);
    connection.close();
  });
});
