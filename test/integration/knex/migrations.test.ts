import type { Knex } from 'knex';
import { describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { openKnex, type OpenKnex } from '../../support/open-knex.ts';

describe("Knex's migrations and seeds, whose primary is lost", () => {
  const lab = FailoverLab.forThisSuite();

  function open(): OpenKnex {
    return openKnex({ connection: lab.connectionString() });
  }

  /** Three migrations, of which the second loses the primary in its middle. */
  function migrations(): Knex.MigratorConfig {
    const table = (name: string, meanwhile?: () => Promise<void>): Knex.Migration => ({
      up: async (trx) => {
        await trx.schema.createTable(name, (builder) => {
          builder.uuid('id').primary();
          builder.text('text').notNullable().index();
        });
        await meanwhile?.();
        await trx.schema.alterTable(name, (builder) => {
          builder.integer('amount').notNullable().defaultTo(0);
        });
      },
      down: async (trx) => {
        await trx.schema.dropTable(name);
        await meanwhile?.();
      },
    });
    const source: Record<string, Knex.Migration> = {
      '1_first': table('first'),
      '2_second': table('second', () => lab.replacePrimary()),
      '3_third': table('third'),
    };
    return {
      migrationSource: {
        getMigrations: () => Promise.resolve(Object.keys(source)),
        getMigrationName: (name: string) => name,
        getMigration: (name: string) => Promise.resolve(source[name]!),
      },
    };
  }

  it('go on, are noted once each, give the lock back, and are rolled back again', async () => {
    const db = open();
    const [, done] = (await db.migrate.latest(migrations())) as [number, string[]];
    expect(done).toEqual(['1_first', '2_second', '3_third']);
    expect(await db('knex_migrations').orderBy('name').pluck('name')).toEqual(done);
    expect(await db('knex_migrations_lock').pluck('is_locked')).toEqual([0]);
    await db('second').insert({ id: '00000000-0000-0000-0000-000000000001', text: 'a' });
    expect(await db('second').select('text', 'amount')).toEqual([{ text: 'a', amount: 0 }]);
    await lab.ready();
    const [, undone] = (await db.migrate.rollback(migrations(), true)) as [number, string[]];
    expect(undone).toEqual(['3_third', '2_second', '1_first']);
    expect(await db.schema.hasTable('second')).toBe(false);
    expect(await db('knex_migrations').select()).toEqual([]);
    expect(db.logged).toEqual([]);
  });

  it('seeds go on in a transaction of theirs', async () => {
    const db = open();
    const seed: Knex.Seed = {
      seed: async (given) => {
        await given.transaction(async (trx) => {
          await trx('note').delete();
          await trx('note').insert([{ text: 'a' }, { text: 'b' }]);
          await lab.replacePrimary();
          await trx('note').insert({ text: 'c' });
        });
      },
    };
    const source: Knex.SeedSource<string> = {
      getSeeds: () => Promise.resolve(['only']),
      getSeed: () => Promise.resolve(seed),
    };
    await db.seed.run({ seedSource: source });
    expect(await lab.notes()).toEqual(['a', 'b', 'c']);
    expect(db.logged).toEqual([]);
  });
});
