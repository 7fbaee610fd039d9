/** Compiled, never run: what a typed application writes must be right with each way to resolve modules. */
import 'holdfast/register';
import { OutcomeUnknownError, staticHosts, type FailoverSucceeded, type TopologyProvider } from 'holdfast';
import { HoldfastPostgres } from 'holdfast/knex';
import pg, { Client, DatabaseError, Pool, type PoolConfig, type QueryResult } from 'holdfast/pg';
import knex from 'knex';
import stock from 'pg';

const provider: TopologyProvider = staticHosts(['db1', { host: 'db2', port: 5433 }]);
const config: PoolConfig = { max: 4, failover: { provider, timeoutMillis: 10_000 } };
const pool = new Pool(config);
export const asStock: stock.Pool = pool;
export const client: stock.Client = new Client({
  connectionString: 'postgres://db1,db2/app',
  failover: false,
});
export const other: Pool = new pg.Pool();

pool.failover?.on('failoverSucceeded', (event: FailoverSucceeded) => event.durationMillis.toFixed());
// @ts-expect-error there is no such event
pool.failover?.on('failoverSucceded', () => undefined);
// @ts-expect-error there is no such option
export const wrong: PoolConfig = { failover: { timeoutMilis: 1 } };

const db = knex({
  client: HoldfastPostgres,
  connection: { connectionString: 'postgres://db1,db2/app', failover: { provider } },
});
(db.client as HoldfastPostgres).failover?.on('failoverSucceeded', (event) => event.durationMillis.toFixed());
// @ts-expect-error there is no such option
knex({ client: HoldfastPostgres, connection: { failover: { timeoutMilis: 1 } } });

export async function answer(): Promise<string> {
  try {
    const result: QueryResult<{ one: string }> = await pool.query<{ one: string }>('SELECT 1 AS one');
    return result.rows[0]!.one;
  } catch (error) {
    if (error instanceof OutcomeUnknownError) return error.outcome;
    if (error instanceof DatabaseError) return error.code ?? '';
    throw error;
  }
}
