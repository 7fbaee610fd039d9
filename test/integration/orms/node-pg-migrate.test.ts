import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PG_MIGRATE_LOCK_ID, runner } from 'node-pg-migrate';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { FailoverOptions } from '../../../src/index.ts';
import { Client } from '../../../src/pg.ts';
import { FailoverLab } from '../../support/failover-lab.ts';
import { losePrimaryBefore, losePrimaryBehind } from '../../support/lose-primary.ts';
import { rejectionOf } from '../../support/settle.ts';

const quiet = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

describe('node-pg-migrate', () => {
  const lab = FailoverLab.forThisSuite();
  let dir: string;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'holdfast-migrations-'));
    await writeFile(
      join(dir, '1_customers.cjs'),
      `exports.up = (pgm) => {
         pgm.createTable('customer', { id: 'id', name: { type: 'text', notNull: true } });
         pgm.sql("INSERT INTO customer (name) VALUES ('first')");
         pgm.createIndex('customer', 'name');
       };`,
    );
    await writeFile(
      join(dir, '2_orders.cjs'),
      `exports.up = (pgm) => {
         pgm.createTable('purchase', { id: 'id', customer: { type: 'int', references: 'customer' } });
         pgm.sql('INSERT INTO purchase (customer) SELECT id FROM customer');
       };
       exports.down = (pgm) => {
         pgm.dropTable('purchase');
       };`,
    );
  });
  afterAll(async () => {
    await rm(dir, { recursive: true, force: true });
  });
  afterEach(async () => {
    await lab.primary.query('DROP TABLE IF EXISTS purchase, customer, pgmigrations');
  });

  type Direction = Partial<Parameters<typeof runner>[0]>;

  async function migrate(options: Direction = {}, failover: FailoverOptions = {}): Promise<string[]> {
    const connectionString = lab.connectionString();
    const client = new Client({ connectionString, failover });
    client.on('error', () => undefined);
    await client.connect();
    try {
      const done = await runner({
        dbClient: client,
        dir,
        direction: 'up',
        migrationsTable: 'pgmigrations',
        logger: quiet,
        ...options,
      });
      return done.map(({ name }) => name);
    } finally {
      await client.end();
    }
  }

  /** What the migrations have made. */
  async function made(): Promise<{ tables: string[]; migrations: string[]; purchases: number }> {
    const { rows } = await lab.primary.query<{ tables: string[]; migrations: string[]; purchases: number }>(`
      SELECT array(SELECT relname::text FROM pg_class WHERE relname IN ('customer', 'purchase') ORDER BY 1) AS tables,
             array(SELECT name::text FROM pgmigrations ORDER BY id) AS migrations`);
    const { tables, migrations } = rows[0]!;
    if (!tables.includes('purchase')) return { tables, migrations, purchases: 0 };
    const counted = await lab.primary.query<{ count: number }>('SELECT count(*)::int AS count FROM purchase');
    return { tables, migrations, purchases: counted.rows[0]!.count };
  }

  const ALL = { tables: ['customer', 'purchase'], migrations: ['1_customers', '2_orders'], purchases: 1 };

  it('migrates up and down', async () => {
    expect(await migrate()).toEqual(['1_customers', '2_orders']);
    expect(await made()).toEqual(ALL);
    expect(await migrate()).toEqual([]);
    expect(await migrate({ direction: 'down', count: 1 })).toEqual(['2_orders']);
    expect(await made()).toEqual({ tables: ['customer'], migrations: ['1_customers'], purchases: 0 });
  });

  describe('with its lock, which is the session’s and lives on one server only', () => {
    it('fails in the middle of a migration, leaves none half done, and succeeds the second time', async () => {
      const replaced = losePrimaryBefore(lab, 'Q', 'INSERT INTO purchase');
      const error = await rejectionOf(migrate());
      await replaced;
      expect(error).toMatchObject({
        code: '40001',
        kind: 'transaction-not-replayable',
        outcome: 'rolled-back',
      });
      expect(error.message).toMatch(/advisory lock/);
      expect(await made()).toEqual({ tables: ['customer'], migrations: ['1_customers'], purchases: 0 });
      expect(await migrate()).toEqual(['2_orders']);
      expect(await made()).toEqual(ALL);
    });

    it('goes through a failover if the application takes the lock again on the new server', async () => {
      const failover: FailoverOptions = {
        async onReconnect(client) {
          await client.query(`SELECT pg_advisory_lock(${PG_MIGRATE_LOCK_ID})`);
        },
      };
      const replaced = losePrimaryBefore(lab, 'Q', 'INSERT INTO purchase');
      expect(await migrate({}, failover)).toEqual(['1_customers', '2_orders']);
      await replaced;
      expect(await made()).toEqual(ALL);
    });

    it('leaves the lock to whoever comes next', async () => {
      const replaced = losePrimaryBefore(lab, 'Q', 'CREATE TABLE "customer"');
      expect((await rejectionOf(migrate())).message).toMatch(/advisory lock/);
      await replaced;
      const { rows } = await lab.primary.query(`SELECT FROM pg_locks WHERE locktype = 'advisory'`);
      expect(rows).toEqual([]);
      expect(await migrate()).toEqual(['1_customers', '2_orders']);
    });
  });

  describe('with noLock', () => {
    it.each([
      ['in the middle of a migration', 'INSERT INTO purchase'],
      ['before a COMMIT arrives', 'COMMIT'],
    ])('goes through a failover %s: each migration is done once', async (_when, text) => {
      const replaced = losePrimaryBefore(lab, 'Q', text);
      expect(await migrate({ noLock: true })).toEqual(['1_customers', '2_orders']);
      await replaced;
      expect(await made()).toEqual(ALL);
    });

    it('stops behind a COMMIT whose answer is lost, for definitions may run code; the second time does the rest', async () => {
      const replaced = losePrimaryBehind(lab, 'COMMIT');
      expect(await rejectionOf(migrate({ noLock: true }))).toMatchObject({
        code: '08003',
        kind: 'session-closed',
        outcome: 'not-executed',
      });
      await replaced;
      expect(await made()).toEqual({ tables: ['customer'], migrations: ['1_customers'], purchases: 0 });
      expect(await migrate({ noLock: true })).toEqual(['2_orders']);
      expect(await made()).toEqual(ALL);
    });

    it('does so with all migrations in one transaction', async () => {
      const replaced = losePrimaryBefore(lab, 'Q', 'INSERT INTO purchase');
      expect(await migrate({ noLock: true, singleTransaction: true })).toEqual(['1_customers', '2_orders']);
      await replaced;
      expect(await made()).toEqual(ALL);
    });
  });
});
