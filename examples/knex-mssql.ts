import { HoldfastMssql } from 'holdfast/knex-mssql';
import knex, { type Knex } from 'knex';

// All replicas of the availability group, as host:port separated by commas.
const hosts = process.env['MSSQL_HOSTS']!.split(',');
const [server, port] = hosts[0]!.split(':');

const db = knex({
  client: HoldfastMssql, // was: 'mssql'
  connection: {
    server: server!,
    port: Number(port ?? 1433),
    user: process.env['MSSQL_USER'],
    password: process.env['MSSQL_PASSWORD'],
    database: process.env['MSSQL_DATABASE'],
    options: { encrypt: process.env['MSSQL_ENCRYPT'] !== 'false' },
    failover: { hosts },
  } as Knex.MsSqlConnectionConfig,
  pool: { min: 0, max: 4 },
});

(db.client as HoldfastMssql).failover.on('failoverSucceeded', ({ sessions, durationMillis }) => {
  console.error(`${sessions} sessions go on after ${durationMillis.toFixed(0)} ms`);
});

for (let count = 1; count <= 100; count++) {
  await db.transaction(async (trx) => {
    await trx('account').where({ id: 1 }).decrement('balance', 1);
    await new Promise((resolve) => setTimeout(resolve, 10)); // Kill the primary here, for instance.
    await trx('account').where({ id: 2 }).increment('balance', 1);
  }); // Or here: the driver finds out what became of the COMMIT.
}
console.log('100 moved');
await db.destroy();
