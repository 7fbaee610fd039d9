// Libraries that require pg by themselves, each in the middle of something when the primary is killed.
// node tools.mjs <library>...: those that are to be tried.
import assert from 'node:assert';
import { promisify } from 'node:util';
import { killed } from './killed.cjs';

/** All hosts, as a URL. The same is in the environment, for those that read URLs in their own way. */
const url = process.env.DATABASE_URL;

const tools = {
  async knex(everyoneIsReady) {
    const { default: knex } = await import('knex');
    const db = knex({ client: 'pg', connection: { connectionString: url }, pool: { min: 0, max: 2 } });
    await db.transaction(async (trx) => {
      await trx('note').insert({ text: 'knex 1' });
      await everyoneIsReady();
      await trx.transaction(async (nested) => {
        await nested('note').insert({ text: 'knex 2' });
      });
    });
    await db.destroy();
  },

  async 'pg-promise'(everyoneIsReady) {
    const { default: pgPromise } = await import('pg-promise');
    const pgp = pgPromise();
    const db = pgp(url);
    await db.tx(async (tx) => {
      await tx.none('INSERT INTO note VALUES ($1)', ['pg-promise 1']);
      await everyoneIsReady();
      await tx.none('INSERT INTO note VALUES ($1)', ['pg-promise 2']);
    });
    pgp.end();
  },

  async 'drizzle-orm'(everyoneIsReady) {
    const { drizzle } = await import('drizzle-orm/node-postgres');
    const { sql } = await import('drizzle-orm');
    const db = drizzle(url);
    await db.transaction(async (tx) => {
      await tx.execute(sql`INSERT INTO note VALUES ('drizzle-orm 1')`);
      await everyoneIsReady();
      await tx.execute(sql`INSERT INTO note VALUES ('drizzle-orm 2')`);
    });
    await db.$client.end();
  },

  async slonik(everyoneIsReady) {
    const { createPool, sql } = await import('slonik');
    const pool = await createPool('postgres://');
    await pool.transaction(async (tx) => {
      await tx.query(sql.unsafe`INSERT INTO note VALUES ('slonik 1')`);
      await everyoneIsReady();
      await tx.query(sql.unsafe`INSERT INTO note VALUES ('slonik 2')`);
    });
    await pool.end();
  },

  async 'pg-boss'(everyoneIsReady) {
    const { default: PgBoss } = await import('pg-boss');
    const boss = new PgBoss({ connectionString: url, supervise: false, schedule: false });
    boss.on('error', (error) => console.error(error));
    await boss.start();
    await boss.createQueue('mail');
    await everyoneIsReady();
    const id = await boss.send('mail', { to: 'all' });
    const [job] = await boss.fetch('mail');
    assert.deepStrictEqual([job.id, job.data], [id, { to: 'all' }]);
    await boss.stop({ graceful: false });
    await note('pg-boss 1', 'pg-boss 2');
  },

  async 'connect-pg-simple'(everyoneIsReady) {
    const { default: session } = await import('express-session');
    const { default: connectPgSimple } = await import('connect-pg-simple');
    const Store = connectPgSimple(session);
    const store = new Store({
      conObject: { connectionString: url },
      createTableIfMissing: true,
      pruneSessionInterval: false,
    });
    const value = { cookie: { originalMaxAge: 60_000 }, user: 'somebody' };
    await promisify(store.set.bind(store))('some-session', value);
    await everyoneIsReady();
    assert.deepStrictEqual(await promisify(store.get.bind(store))('some-session'), value);
    await store.close();
    await note('connect-pg-simple 1', 'connect-pg-simple 2');
  },

  async 'pg-cursor'(everyoneIsReady) {
    const { Pool } = await import('pg');
    const { default: Cursor } = await import('pg-cursor');
    const pool = new Pool();
    const client = await pool.connect();
    await client.query('BEGIN');
    const cursor = client.query(new Cursor('SELECT generate_series(1, 4) AS number'));
    const read = [...(await cursor.read(2))];
    await everyoneIsReady();
    read.push(...(await cursor.read(10)));
    await cursor.close();
    await client.query('COMMIT');
    client.release();
    assert.deepStrictEqual(read, [1, 2, 3, 4].map((number) => ({ number }))); // prettier-ignore
    await pool.end();
    await note('pg-cursor 1', 'pg-cursor 2');
  },

  async 'pg-query-stream'(everyoneIsReady) {
    const { Pool } = await import('pg');
    const { default: QueryStream } = await import('pg-query-stream');
    const pool = new Pool();
    const client = await pool.connect();
    const stream = client.query(
      new QueryStream('SELECT generate_series(1, 500) AS number', [], { batchSize: 10 }),
    );
    let sum = 0;
    for await (const { number } of stream) {
      if (number === 1) await everyoneIsReady();
      sum += number;
    }
    client.release();
    assert.strictEqual(sum, 125_250);
    await pool.end();
    await note('pg-query-stream 1', 'pg-query-stream 2');
  },
};

/** For those that do no transaction of their own: the test counts two notes of each. */
async function note(...texts) {
  const { Client } = await import('pg');
  const client = new Client();
  await client.connect();
  for (const text of texts) await client.query('INSERT INTO note VALUES ($1)', [text]);
  await client.end();
}

const names = process.argv.slice(2);
let waiting = names.length;
let onReady;
const allReady = new Promise((resolve) => (onReady = resolve)).then(killed);
await Promise.all(
  names.map((name) =>
    tools[name](async () => {
      if (--waiting === 0) onReady();
      await allReady;
    }),
  ),
);
console.log('ok');
