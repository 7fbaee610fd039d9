const assert = require('node:assert');
const { ConfigurationError } = require('holdfast');
const { Pool } = require('holdfast/pg');
const { prismaAdapter } = require('holdfast/prisma');
const { PrismaClientKnownRequestError } = require('@prisma/client/runtime/client');
const stock = require('pg');

async function main() {
  // A pool of either build will do, though in CommonJS each entry has classes of its own.
  const esm = await import('holdfast/pg');
  for (const PoolClass of [Pool, esm.Pool]) {
    const pool = new PoolClass({ connectionString: process.env.DATABASE_URL });
    const adapter = await prismaAdapter(pool).connect();
    assert.strictEqual(adapter.underlyingDriver(), pool);
    const transaction = await adapter.startTransaction('READ COMMITTED');
    const query = { sql: 'COMMIT', args: [], argTypes: [] };
    assert.strictEqual(await transaction.executeRaw(query), 0);
    await transaction.commit();
    assert.strictEqual(pool.idleCount, 1);

    // The class that Prisma's users compare errors with.
    pool.connect = async () => ({
      query: async ({ text }) => {
        if (text !== 'COMMIT') return { rowCount: 0 };
        throw Object.assign(new Error('…'), { code: '40001', severity: 'ERROR' });
      },
      on: () => undefined,
    });
    const conflict = await adapter.startTransaction();
    const seen = await conflict.executeRaw(query).catch((error) => error);
    assert.ok(seen instanceof PrismaClientKnownRequestError);
    assert.strictEqual(seen.code, 'P2034');
    await pool.end();
  }
  assert.throws(
    () => prismaAdapter(new stock.Pool({ connectionString: process.env.DATABASE_URL })),
    ConfigurationError,
  );
}

main().then(() => console.log('ok'));
