import { randomUUID } from 'node:crypto';
import type { Generated } from 'kysely';
import { CompiledQuery, Kysely, PostgresDialect, sql } from 'kysely';
import type stock from 'pg';
import Cursor from 'pg-cursor';
import { describe, expect, it } from 'vitest';
import holdfast from '../../../src/pg.ts';
import { FailoverLab } from '../../support/failover-lab.ts';
import type { Application, ConnectionSettings, Work } from './application.ts';
import { settingsOf, TABLES } from './application.ts';
import { survivesFailovers } from './survives-failovers.ts';

interface Database {
  entry: { id: string; text: string };
  ticket: { id: Generated<number>; text: string };
}

function connect(pg: typeof stock, { connectionString }: ConnectionSettings): Kysely<Database> {
  const pool = new pg.Pool({ connectionString });
  pool.on('error', () => undefined);
  return new Kysely<Database>({ dialect: new PostgresDialect({ pool, cursor: Cursor }) });
}

function workOn(db: Kysely<Database>): Work {
  return {
    write: async (text) => {
      await db.insertInto('entry').values({ id: randomUUID(), text }).execute();
    },
    read: async () =>
      (await db.selectFrom('entry').select('text').orderBy('text').execute()).map(({ text }) => text),
    issue: async (text) => {
      const { id } = await db.insertInto('ticket').values({ text }).returning('id').executeTakeFirstOrThrow();
      return id;
    },
  };
}

function open(pg: typeof stock, settings: ConnectionSettings): Application {
  const db = connect(pg, settings);
  return {
    ...workOn(db),
    transaction: async (work) => await db.transaction().execute(async (trx) => await work(workOn(trx))),
    nestingTransaction: async (work) => {
      const trx = await db.startTransaction().execute();
      const nested = async (inner: (work: Work) => Promise<void>): Promise<void> => {
        const inside = await trx.savepoint('inner').execute();
        try {
          await inner(workOn(inside));
          await inside.releaseSavepoint('inner').execute();
        } catch (error) {
          await inside.rollbackToSavepoint('inner').execute();
          throw error;
        }
      };
      try {
        await work({ ...workOn(trx), nested });
        await trx.commit().execute();
      } catch (error) {
        await trx.rollback().execute();
        throw error;
      }
    },
    close: async () => {
      await db.destroy();
    },
  };
}

describe('Kysely', () => {
  const lab = FailoverLab.forThisSuite({ setUp: TABLES });
  survivesFailovers(lab, open, { commit: 'commit', driverError: (error) => error, wraps: () => ({}) });

  it('reads, changes and deletes rows', async () => {
    const db = connect(holdfast, settingsOf(lab));
    await db
      .insertInto('ticket')
      .values([{ text: 'a' }, { text: 'b' }])
      .execute();
    const { numUpdatedRows } = await db
      .updateTable('ticket')
      .set({ text: 'c' })
      .where('text', '=', 'a')
      .executeTakeFirst();
    expect(numUpdatedRows).toBe(1n);
    const { numDeletedRows } = await db.deleteFrom('ticket').where('text', '=', 'b').executeTakeFirst();
    expect(numDeletedRows).toBe(1n);
    expect(await db.selectFrom('ticket').selectAll().execute()).toEqual([{ id: 1, text: 'c' }]);
    await db.destroy();
  });

  describe('a stream goes on behind a kill, with no row twice and none left out,', () => {
    const expected = Array.from({ length: 1_000 }, (_, index) => String(index + 1).padStart(5, '0'));

    async function killMidway(db: Kysely<Database>): Promise<string[]> {
      const texts: string[] = [];
      for await (const { text } of db.selectFrom('entry').select('text').orderBy('text').stream(50)) {
        texts.push(text);
        if (texts.length === 100) await lab.replacePrimary();
      }
      return texts;
    }

    it.each(['inside a transaction', 'without one'])('%s', async (where) => {
      await lab.primary.query(
        `INSERT INTO entry SELECT gen_random_uuid(), lpad(i::text, 5, '0') FROM generate_series(1, 1000) i`,
      );
      const db = connect(holdfast, settingsOf(lab));
      const texts =
        where === 'without one' ? await killMidway(db) : await db.transaction().execute(killMidway);
      expect(texts).toEqual(expected);
      await workOn(db).write('streamed');
      expect(await workOn(db).read()).toEqual([...expected, 'streamed']);
      await db.destroy();
    });
  });

  /** It knows clients by their objects, and calls this once for each: what is set here must be on the new server as well. */
  it('what onCreateConnection sets is set on the new server', async () => {
    const pool = new holdfast.Pool({ connectionString: lab.connectionString(), max: 1 });
    let calls = 0;
    const dialect = new PostgresDialect({
      pool,
      onCreateConnection: async (connection) => {
        calls++;
        await connection.executeQuery(CompiledQuery.raw(`SET app.tenant = 'seven'`));
      },
    });
    const db = new Kysely<Database>({ dialect });
    const tenant = async (): Promise<unknown> =>
      (await sql`SELECT current_setting('app.tenant', true) AS tenant`.execute(db)).rows;
    expect(await tenant()).toEqual([{ tenant: 'seven' }]);
    await lab.replacePrimary();
    expect(await tenant()).toEqual([{ tenant: 'seven' }]);
    expect(calls).toBe(1);
    await db.destroy();
  });
});
