import { PostgreSqlKnexDialect } from '@mikro-orm/knex';
import { EntitySchema, MikroORM } from '@mikro-orm/postgresql';
import { drizzle } from 'drizzle-orm/node-postgres';
import pg, { Client, Pool, type ClientConfig } from 'holdfast/pg';
import { Kysely, PostgresDialect } from 'kysely';
import Cursor from 'pg-cursor';
import { Sequelize } from 'sequelize';
import { DataSource } from 'typeorm';
import { describe, expectTypeOf, it } from 'vitest';

interface Database {
  account: { id: string; balance: number };
}
const Account = new EntitySchema<Database['account']>({
  name: 'Account',
  properties: { id: { type: 'uuid', primary: true }, balance: { type: 'number' } },
});
declare const connectionString: string;

/** The programs of docs/guides/orms.md, word for word: test/guides.test.ts compares them. */
describe('the lines that change', () => {
  it('Drizzle', () => {
    const pool = new Pool({ connectionString });
    pool.on('error', console.error);
    pool.on('connect', (client) => client.on('error', console.error));
    const db = drizzle({ client: pool });

    expectTypeOf(db.$client).toEqualTypeOf<Pool>();
  });

  it('Kysely', () => {
    const dialect = new PostgresDialect({ pool: new Pool({ connectionString }), cursor: Cursor });
    const database = new Kysely<Database>({ dialect });

    expectTypeOf(database.selectFrom('account').selectAll().stream()).not.toBeAny();
  });

  it('TypeORM', () => {
    const dataSource = new DataSource({
      type: 'postgres',
      driver: pg,
      url: 'postgres://app:secret@db1,db2,db3/app',
      extra: { failover: { timeoutMillis: 60_000 } },
    });

    expectTypeOf(dataSource).toEqualTypeOf<DataSource>();
  });

  it('Sequelize', () => {
    const sequelize = new Sequelize({
      dialect: 'postgres',
      dialectModule: pg,
      host: 'db1,db2,db3',
      username: 'app',
      password: 'secret',
      database: 'app',
    });

    expectTypeOf(sequelize).toEqualTypeOf<Sequelize>();
  });

  it('Sequelize with the option failover', () => {
    class FailoverClient extends Client {
      constructor(config: ClientConfig) {
        super({ ...config, failover: { hosts: ['db1:5432', 'db2:5433'], timeoutMillis: 60_000 } });
      }
    }
    const options = { dialectModule: { ...pg, Client: FailoverClient }, host: 'db1', port: 5432 };

    expectTypeOf(new Sequelize({ dialect: 'postgres', ...options })).toEqualTypeOf<Sequelize>();
  });

  it('MikroORM', async () => {
    class FailoverDialect extends PostgreSqlKnexDialect {
      _driver() {
        return pg;
      }
    }
    const orm = await MikroORM.init({
      entities: [Account],
      clientUrl: 'postgres://app:secret@db1,db2,db3/app',
      driverOptions: {
        client: FailoverDialect,
        connection: { failover: { timeoutMillis: 60_000 } },
      },
    });

    expectTypeOf(orm.em.fork()).not.toBeAny();
  });
});
