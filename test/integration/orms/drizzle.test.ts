import { randomUUID } from 'node:crypto';
import { DrizzleQueryError, eq, sql } from 'drizzle-orm';
import type { NodePgDatabase } from 'drizzle-orm/node-postgres';
import { drizzle } from 'drizzle-orm/node-postgres';
import { pgTable, serial, text, uuid } from 'drizzle-orm/pg-core';
import stock from 'pg';
import { describe, expect, it } from 'vitest';
import holdfast from '../../../src/pg.ts';
import { FailoverLab } from '../../support/failover-lab.ts';
import type { Application, ConnectionSettings, NestingWork } from './application.ts';
import { settingsOf, TABLES } from './application.ts';
import { survivesFailovers } from './survives-failovers.ts';

const entry = pgTable('entry', { id: uuid().notNull(), text: text().notNull() });
const ticket = pgTable('ticket', { id: serial().primaryKey(), text: text().notNull() });

type Executor = Pick<NodePgDatabase, 'select' | 'insert' | 'transaction'>;

function connect(pg: typeof stock, { connectionString }: ConnectionSettings) {
  const pool = new pg.Pool({ connectionString });
  pool.on('error', () => undefined);
  return { db: drizzle({ client: pool }), pool };
}

function workOn(db: Executor): NestingWork {
  return {
    write: async (written) => {
      await db.insert(entry).values({ id: randomUUID(), text: written });
    },
    read: async () => (await db.select().from(entry).orderBy(entry.text)).map((row) => row.text),
    issue: async (issued) =>
      (await db.insert(ticket).values({ text: issued }).returning({ id: ticket.id }))[0]!.id,
    nested: async (work) => {
      await db.transaction(async (inner) => {
        await work(workOn(inner));
      });
    },
  };
}

function open(pg: typeof stock, settings: ConnectionSettings): Application {
  const { db, pool } = connect(pg, settings);
  return {
    ...workOn(db),
    transaction: async (work) => await db.transaction(async (tx) => await work(workOn(tx))),
    nestingTransaction: async (work) => {
      await db.transaction(async (tx) => {
        await work(workOn(tx));
      });
    },
    close: async () => {
      await pool.end();
    },
  };
}

describe('Drizzle', () => {
  const lab = FailoverLab.forThisSuite({ setUp: TABLES });
  survivesFailovers(lab, open, {
    commit: 'commit',
    driverError: (error) => (error instanceof DrizzleQueryError ? error.cause : error),
    wraps: (cause) => ({ message: expect.stringMatching(/^Failed query: /), cause }),
  });

  it('reads, changes and deletes rows', async () => {
    const { db, pool } = connect(holdfast, settingsOf(lab));
    await db.insert(ticket).values([{ text: 'a' }, { text: 'b' }]);
    expect((await db.update(ticket).set({ text: 'c' }).where(eq(ticket.text, 'a'))).rowCount).toBe(1);
    expect(await db.delete(ticket).where(eq(ticket.text, 'b')).returning({ id: ticket.id })).toEqual([
      { id: 2 },
    ]);
    expect(await db.select().from(ticket)).toEqual([{ id: 1, text: 'c' }]);
    await pool.end();
  });

  it('a prepared statement goes on with its name on the new server', async () => {
    const { db, pool } = connect(holdfast, settingsOf(lab));
    await db.transaction(async (tx) => {
      const insert = tx
        .insert(entry)
        .values({ id: sql.placeholder('id'), text: sql.placeholder('text') })
        .prepare('insert-entry');
      await insert.execute({ id: randomUUID(), text: 'a' });
      await lab.replacePrimary();
      await insert.execute({ id: randomUUID(), text: 'b' });
      const { rows } = await tx.execute(sql`SELECT name FROM pg_prepared_statements`);
      expect(rows).toEqual([{ name: 'insert-entry' }]);
    });
    expect(await workOn(db).read()).toEqual(['a', 'b']);
    await pool.end();
  });

  /** What it does not take for a pool it takes for one client, and BEGIN and the rest go to clients each of their own. */
  it('our pool is taken for a pool, by its class and by its name', () => {
    const { pool } = connect(holdfast, settingsOf(lab));
    expect(pool).toBeInstanceOf(stock.Pool);
    expect((Object.getPrototypeOf(pool) as object).constructor.name).toContain('Pool');
  });

  it('a configuration with our class of clients does as well', async () => {
    const connection = { connectionString: lab.connectionString(), Client: holdfast.Client };
    const db = drizzle({ connection });
    await db.transaction(async (tx) => {
      await workOn(tx).write('a');
      await lab.replacePrimary();
      await workOn(tx).write('b');
    });
    expect(await workOn(db).read()).toEqual(['a', 'b']);
    await db.$client.end();
  });
});
