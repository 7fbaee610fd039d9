import connectPgSimple from 'connect-pg-simple';
import session from 'express-session';
import { run, type Runner, type TaskList } from 'graphile-worker';
import pg, { Client, Pool } from 'holdfast/pg';
import { PG_MIGRATE_LOCK_ID, runner } from 'node-pg-migrate';
import PgBoss from 'pg-boss';
import pgPromise from 'pg-promise';
import { createPool, type DatabasePool } from 'slonik';
import { assertType, describe, it } from 'vitest';

declare const connectionString: string;
declare const taskList: TaskList;

/** What docs/guides/tools.md shows, as it stands there. */
describe('the lines of the guide to other tools', () => {
  it('are those of pg-promise', () => {
    const pgp = pgPromise();
    Object.assign(pgp, { pg });
    const db = pgp({ connectionString });
    assertType<pgPromise.IDatabase<object>>(db);
  });

  it('are those of pg-boss', () => {
    const pool = new Pool({ connectionString });
    const boss = new PgBoss({ db: { executeSql: (text, values) => pool.query(text, values) } });
    assertType<PgBoss>(boss);
    const db: PgBoss.Db = {
      async executeSql(text, values) {
        if (/^\s*BEGIN/i.test(text)) return await pool.query(text, values); // It is one already.
        const client = await pool.connect();
        try {
          await client.query('BEGIN');
          const result = await client.query(text, values);
          await client.query('COMMIT');
          client.release();
          return result;
        } catch (error) {
          client.release(true); // Closes the connection, which rolls back.
          throw error;
        }
      },
    };
    assertType<PgBoss>(new PgBoss({ db }));
  });

  it('are those of graphile-worker', async () => {
    const runner = await run({ pgPool: new Pool({ connectionString }), taskList });
    assertType<Runner>(runner);
  });

  it('are those of connect-pg-simple', () => {
    const PgStore = connectPgSimple(session);
    assertType<session.Store>(new PgStore({ pool: new Pool({ connectionString }) }));
  });

  it('are those of node-pg-migrate', async () => {
    const client = new Client({
      connectionString,
      failover: {
        async onReconnect(session) {
          await session.query(`SELECT pg_advisory_lock(${PG_MIGRATE_LOCK_ID})`);
        },
      },
    });
    await client.connect();
    await runner({ dbClient: client, dir: 'migrations', direction: 'up', migrationsTable: 'pgmigrations' });
    const migrations = { dir: 'migrations', direction: 'up', migrationsTable: 'pgmigrations' } as const;
    await runner({ dbClient: client, ...migrations });
  });

  it('are those of Slonik', async () => {
    const pool = await createPool('postgres://app:secret@db1,db2,db3:5432/app');
    assertType<DatabasePool>(pool);
  });
});
