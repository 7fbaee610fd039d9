import assert from 'node:assert';
import { ConfigurationError } from 'holdfast';
import { HoldfastPostgres } from 'holdfast/knex';
import knex from 'knex';

const make = (connection) => knex({ client: HoldfastPostgres, connection, pool: { min: 0 } });
assert.throws(() => make({ failover: { timeoutMilis: 1 } }), ConfigurationError);

const db = make(process.env.DATABASE_URL);
await db.schema.createTable('tulip', (table) => table.integer('id').primary());
await db.transaction(async (trx) => {
  await trx('tulip').insert({ id: 1 });
  await assert.rejects(
    trx.transaction(async (inner) => {
      await inner('tulip').insert({ id: 2 });
      await inner('tulip').insert({ id: 1 });
    }),
    { code: '23505' },
  );
  await trx('tulip').insert({ id: 3 });
});
const streamed = [];
for await (const row of db('tulip').orderBy('id').stream()) streamed.push(row.id);
assert.deepStrictEqual(streamed, [1, 3]);
await assert.rejects(db.raw('SELECT pg_sleep(60)').timeout(100, { cancel: true }), {
  name: 'KnexTimeoutError',
});
assert.match(db.client.failover.snapshot().primary, /:\d+$/);
await db.schema.dropTable('tulip');
await db.destroy();
console.log('ok');
