const assert = require('node:assert');
const knex = require('knex');
const { HoldfastPostgres } = require('holdfast/knex');

async function main() {
  const db = knex({ client: HoldfastPostgres, connection: process.env.DATABASE_URL, pool: { min: 0 } });
  const { rows } = await db.transaction((trx) => trx.raw('SELECT 1 AS one'));
  assert.deepStrictEqual(rows, [{ one: 1 }]);
  await db.destroy();
}

main().then(() => console.log('ok'));
