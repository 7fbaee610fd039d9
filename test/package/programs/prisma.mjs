import assert from 'node:assert';
import { ConfigurationError } from 'holdfast';
import { Pool } from 'holdfast/pg';
import { prismaAdapter } from 'holdfast/prisma';
import { PrismaPg } from '@prisma/adapter-pg';
import stock from 'pg';

const connectionString = process.env.DATABASE_URL;
const one = { sql: 'SELECT 1 AS one', args: [], argTypes: [] };

// The adapter has a copy of pg of its own here: alone it would take the pool for a configuration.
const pool = new Pool({ connectionString });
assert.notStrictEqual((await new PrismaPg(pool).connect()).underlyingDriver(), pool);
const adapter = await prismaAdapter(pool).connect();
assert.strictEqual(adapter.underlyingDriver(), pool);
assert.deepStrictEqual((await adapter.queryRaw(one)).rows, [[1]]);
assert.strictEqual(pool.totalCount, 1);
await pool.end();

const own = await prismaAdapter(connectionString).connect();
assert.deepStrictEqual((await own.queryRaw(one)).rows, [[1]]);
assert.match(own.underlyingDriver().failover.snapshot().primary, /:\d+$/);
await own.dispose();

assert.throws(() => prismaAdapter(new stock.Pool({ connectionString })), ConfigurationError);
console.log('ok');
