import { Connection as StockConnection } from 'tedious';
import { Connection } from '../../src/tedious.ts';
import { begin, commit, connected, run, runStock } from '../support/sqlserver/run-stock.ts';
import { SqlServerCluster } from '../support/sqlserver/sql-server-cluster.ts';
import { compare, type Comparison, type Contestant } from './comparison.ts';
import type { BenchOptions } from './options.ts';
import type { Workload } from './workloads.ts';

type Work = Workload<StockConnection>;

const WORKLOADS: readonly Work[] = [
  {
    name: 'mssql select 1',
    clients: 1,
    run: async (connection) => {
      await run(connection, 'SELECT id, balance FROM account WHERE id = 1');
    },
  },
  {
    name: 'mssql 5000 rows',
    clients: 1,
    run: async (connection) => {
      await run(connection, 'SELECT id, balance, text FROM wide');
    },
  },
  {
    name: 'mssql transaction',
    clients: 1,
    run: async (connection) => {
      await begin(connection);
      await run(connection, 'UPDATE account SET balance = balance - 1 WHERE id = 1');
      await run(connection, 'UPDATE account SET balance = balance + 1 WHERE id = 2');
      await commit(connection);
    },
  },
  {
    name: 'mssql update',
    clients: 1,
    run: async (connection) => {
      await run(connection, 'UPDATE account SET balance = balance + 1 WHERE id = 3');
    },
  },
];

/**
 * holdfast/tedious beside stock tedious, on the test server: a gateway of this process in front of PostgreSQL, which takes
 * most of the time. What a ratio says is an upper bound of what the driver adds, not a number of SQL Server's.
 */
export async function compareMssql(options: BenchOptions): Promise<Comparison[]> {
  const rows = Array.from({ length: 5_000 }, (_, id) => `(${id}, ${id * 7}, N'some text that is not short')`);
  const cluster = await SqlServerCluster.start({
    standbys: 0,
    setUp: [
      'CREATE TABLE account (id int NOT NULL PRIMARY KEY, balance int NOT NULL)',
      'INSERT INTO account VALUES (1, 0), (2, 0), (3, 0)',
      'CREATE TABLE wide (id int NOT NULL, balance int NOT NULL, text nvarchar(100))',
      `INSERT INTO wide VALUES ${rows.join(', ')}`,
    ],
  });
  const config = cluster.config();
  const entrants: readonly { readonly name: string; readonly make: () => StockConnection }[] = [
    { name: 'tedious', make: () => new StockConnection(cluster.stockConfig()) },
    {
      name: 'no tokens',
      make: () => new Connection({ ...config, failover: { ...config.failover, commitOutcome: 'none' } }),
    },
    { name: 'tokens', make: () => new Connection(config) },
    { name: 'tedious again', make: () => new StockConnection(cluster.stockConfig()) },
  ];
  const workloads = WORKLOADS.filter(({ name }) => name.includes(options.only));
  const perWorkload = (options.seconds * 1_000) / workloads.length;
  const rounds = Math.max(3, Math.floor(perWorkload / (entrants.length * options.sliceMillis)) - 1);
  try {
    const results: Comparison[] = [];
    for (const workload of workloads) {
      const contestants: Contestant<StockConnection>[] = [];
      for (const { name, make } of entrants) contestants.push({ name, clients: [await connected(make())] });
      results.push(await compare(workload, contestants, { rounds, sliceMillis: options.sliceMillis }));
      for (const { clients } of contestants) for (const client of clients) client.close();
    }
    await runStock(cluster.stockConfig(), 'DELETE FROM account');
    return results;
  } finally {
    await cluster.stop();
  }
}
