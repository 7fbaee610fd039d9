import { randomUUID } from 'node:crypto';
import { HoldfastPostgres } from 'holdfast/knex';
import knex from 'knex';

const db = knex({
  client: HoldfastPostgres, // was: 'pg'
  connection: process.env['DATABASE_URL']!, // postgres://app:secret@db1,db2,db3/app
  pool: { min: 0, max: 4 },
});

(db.client as HoldfastPostgres).failover?.on('failoverSucceeded', ({ sessions, durationMillis }) => {
  console.error(`${sessions} sessions go on after ${durationMillis.toFixed(0)} ms`);
});

async function sell(item: string, customer: string): Promise<void> {
  await db.transaction(async (trx) => {
    // FOR UPDATE keeps others from changing what was read, so that a replay reads the same again.
    const stock = await trx('stock').where({ item }).forUpdate().first<{ amount: number }>('amount');
    if (stock.amount === 0) throw new Error(`no ${item} left`);
    await new Promise((resolve) => setTimeout(resolve, 10)); // Kill the primary here, for instance.
    await trx('stock').where({ item }).decrement('amount', 1);
    // A key made by the application: a serial may come out otherwise on another server.
    await trx('sale').insert({ id: randomUUID(), item, customer });
  }); // Or here: the driver finds out what became of the COMMIT.
}

await db.schema
  .createTable('stock', (table) => {
    table.text('item').primary();
    table.integer('amount').notNullable();
  })
  .createTable('sale', (table) => {
    table.uuid('id').primary();
    table.text('item').notNullable();
    table.text('customer').notNullable();
  });
await db('stock').insert({ item: 'tulip', amount: 100 });

for (let number = 1; number <= 100; number += 2)
  await Promise.all([sell('tulip', `customer ${number}`), sell('tulip', `customer ${number + 1}`)]);

const sales = await db('sale')
  .countDistinct<{ customers: string }[]>('customer as customers')
  .count('* as sales');
console.log(sales, await db('stock'));
await db.destroy();
