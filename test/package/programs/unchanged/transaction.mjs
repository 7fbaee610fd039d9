// Plain pg by its named exports: nothing here knows of holdfast.
import assert from 'node:assert';
import pg, { Client, Pool } from 'pg';
import { killed } from './killed.cjs';

const pool = new Pool({ max: 2 });
assert.ok(pool instanceof pg.Pool);
const client = await pool.connect();
assert.ok(client instanceof Client);
await client.query('BEGIN');
await client.query('INSERT INTO note VALUES ($1)', ['before']);
await killed();
await client.query('INSERT INTO note VALUES ($1)', ['after']);
await client.query('COMMIT');
client.release();
const { rows } = await pool.query('SELECT text FROM note ORDER BY text');
assert.deepStrictEqual(rows, [{ text: 'after' }, { text: 'before' }]);
await pool.end();
console.log('ok');
