// Plain pg, as old code has it: nothing here knows of holdfast.
const assert = require('node:assert');
const { Client } = require('pg');
const { killed } = require('./killed.cjs');

async function main() {
  const client = new Client();
  await client.connect();
  await client.query('BEGIN');
  await client.query('INSERT INTO note VALUES ($1)', ['before']);
  await killed();
  await client.query('INSERT INTO note VALUES ($1)', ['after']);
  await client.query('COMMIT');
  const { rows } = await client.query('SELECT text FROM note ORDER BY text');
  assert.deepStrictEqual(rows, [{ text: 'after' }, { text: 'before' }]);
  await client.end();
}

main().then(() => console.log('ok'));
