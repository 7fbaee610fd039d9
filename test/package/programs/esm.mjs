import assert from 'node:assert';
import { ConfigurationError, staticHosts } from 'holdfast';
import pg, { Client, Pool, types } from 'holdfast/pg';
import stock from 'pg';

assert.strictEqual(pg.Pool, Pool);
assert.strictEqual(pg.Client, Client);
assert.strictEqual(types, stock.types);
// Drizzle looks for it where it has found another copy of pg.
assert.match(Pool.name, /Pool/);
assert.strictEqual(typeof staticHosts, 'function');
assert.throws(() => new Pool({ failover: { timeoutMilis: 1 } }), ConfigurationError);

const connectionString = process.env.DATABASE_URL;
const pool = new Pool({ connectionString, max: 2 });
assert.ok(pool instanceof stock.Pool);
const client = await pool.connect();
assert.ok(client instanceof stock.Client);
await client.query('BEGIN');
const { rows } = await client.query('SELECT $1::int AS one', [1]);
await client.query('COMMIT');
assert.deepStrictEqual(rows, [{ one: 1 }]);
client.release();
assert.match(pool.failover.snapshot().primary, /:\d+$/);
await pool.end();

const plain = new Client({ connectionString: connectionString.replace(/\?.*/, ''), failover: false });
assert.strictEqual(plain.failover, null);
await plain.connect();
await plain.end();
console.log('ok');
