import { EntitySchema as MikroSchema, MikroORM, type SqlEntityManager } from '@mikro-orm/postgresql';
import { PostgreSqlKnexDialect } from '@mikro-orm/knex';
import { asc, like } from 'drizzle-orm';
import { drizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres';
import { integer, pgTable, serial, text, timestamp, uuid } from 'drizzle-orm/pg-core';
import knex, { type Knex } from 'knex';
import { Kysely, PostgresDialect, type Generated, type Transaction as KyselyTransaction } from 'kysely';
import pgPromise from 'pg-promise';
import { DataTypes, Op, Sequelize, type Model, type Transaction } from 'sequelize';
import { DataSource, EntitySchema, Like, type EntityManager } from 'typeorm';
import { HoldfastPostgres } from '../../../src/knex.ts';
import holdfast from '../../../src/pg.ts';
import { prismaAdapter } from '../../../src/prisma.ts';
import { PrismaClient } from '../../support/prisma/generated/client.ts';
import { PATIENT } from '../../support/prisma-lab.ts';
import type { ConnectionSettings } from './application.ts';

/** But for the text and the parent the server makes everything of it. */
export const ITEM_TABLE = `
  CREATE TABLE item (
    id serial PRIMARY KEY,
    text text NOT NULL,
    code uuid NOT NULL DEFAULT gen_random_uuid(),
    state text NOT NULL DEFAULT 'new',
    created_at timestamptz NOT NULL DEFAULT now(),
    noted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    parent int REFERENCES item)`;

export interface Item {
  readonly id: number;
  readonly text: string;
  readonly code: string;
  readonly state: string;
  readonly createdAt: Date;
  readonly notedAt: Date;
  readonly parent: number | null;
}

/** What a row is called in the database. */
export interface ItemRow extends Omit<Item, 'createdAt' | 'notedAt'> {
  readonly created_at: Date;
  readonly noted_at: Date;
}

export function itemOf({ id, text, code, state, created_at, noted_at, parent }: ItemRow): Item {
  return { id, text, code, state, createdAt: created_at, notedAt: noted_at, parent };
}

/** The items of one application in an open transaction; `prefix` is its own. */
export interface Items {
  /** What the ORM holds of the items behind the insert, all in one call of its own. */
  add(items: readonly { text: string; parent?: number }[]): Promise<Item[]>;
  read(prefix: string): Promise<Item[]>;
}

export interface ItemApplication {
  transaction(work: (items: Items) => Promise<void>): Promise<void>;
  close(): Promise<void>;
}

type OpenItems = (settings: ConnectionSettings) => ItemApplication | Promise<ItemApplication>;

const onKnex: OpenItems = ({ connectionString }) => {
  const db = knex({ client: HoldfastPostgres, connection: connectionString });
  const on = (trx: Knex): Items => ({
    add: async (items) => (await trx<ItemRow>('item').insert(items, '*')).map(itemOf),
    read: async (prefix) =>
      (await trx<ItemRow>('item').where('text', 'like', `${prefix}%`).orderBy('id')).map(itemOf),
  });
  return {
    transaction: async (work) => {
      await db.transaction(async (trx) => {
        await work(on(trx));
      });
    },
    close: async () => {
      await db.destroy();
    },
  };
};

const onPrisma: OpenItems = ({ connectionString }) => {
  const prisma = new PrismaClient({
    adapter: prismaAdapter({ connectionString }),
    transactionOptions: PATIENT,
  });
  return {
    transaction: async (work) => {
      await prisma.$transaction(async (tx) => {
        await work({
          add: async ([...data]) =>
            data.length === 1
              ? [await tx.item.create({ data: data[0]! })]
              : await tx.item.createManyAndReturn({ data }),
          read: async (prefix) =>
            await tx.item.findMany({ where: { text: { startsWith: prefix } }, orderBy: { id: 'asc' } }),
        });
      });
    },
    close: async () => {
      await prisma.$disconnect();
    },
  };
};

const drizzleItem = pgTable('item', {
  id: serial().primaryKey(),
  text: text().notNull(),
  code: uuid().notNull().defaultRandom(),
  state: text().notNull().default('new'),
  createdAt: timestamp('created_at', { withTimezone: true }).notNull().defaultNow(),
  notedAt: timestamp('noted_at', { withTimezone: true }).notNull().defaultNow(),
  parent: integer(),
});

const onDrizzle: OpenItems = ({ connectionString }) => {
  const pool = new holdfast.Pool({ connectionString });
  const db = drizzle({ client: pool });
  const on = (tx: Pick<NodePgDatabase, 'insert' | 'select'>): Items => ({
    add: async ([...items]) => await tx.insert(drizzleItem).values(items).returning(),
    read: async (prefix) =>
      await tx
        .select()
        .from(drizzleItem)
        .where(like(drizzleItem.text, `${prefix}%`))
        .orderBy(asc(drizzleItem.id)),
  });
  return {
    transaction: async (work) => {
      await db.transaction(async (tx) => {
        await work(on(tx));
      });
    },
    close: async () => {
      await pool.end();
    },
  };
};

type Made = 'id' | 'code' | 'state' | 'created_at' | 'noted_at';
interface KyselyTables {
  item: { [Column in keyof ItemRow]: Column extends Made ? Generated<ItemRow[Column]> : ItemRow[Column] };
}

const onKysely: OpenItems = ({ connectionString }) => {
  const pool = new holdfast.Pool({ connectionString });
  const db = new Kysely<KyselyTables>({ dialect: new PostgresDialect({ pool }) });
  const on = (trx: KyselyTransaction<KyselyTables>): Items => ({
    add: async (items) =>
      (
        await trx
          .insertInto('item')
          .values(items.map((item) => ({ parent: null, ...item })))
          .returningAll()
          .execute()
      ).map(itemOf),
    read: async (prefix) =>
      (
        await trx.selectFrom('item').selectAll().where('text', 'like', `${prefix}%`).orderBy('id').execute()
      ).map(itemOf),
  });
  return {
    transaction: async (work) => {
      await db.transaction().execute(async (trx) => {
        await work(on(trx));
      });
    },
    close: async () => {
      await db.destroy();
    },
  };
};

const TypeItem = new EntitySchema<Item>({
  name: 'item',
  columns: {
    id: { type: 'int', primary: true, generated: 'increment' },
    text: { type: 'text' },
    code: { type: 'uuid', default: () => 'gen_random_uuid()' },
    state: { type: 'text', default: 'new' },
    createdAt: { type: 'timestamptz', name: 'created_at', createDate: true },
    notedAt: { type: 'timestamptz', name: 'noted_at', default: () => 'clock_timestamp()' },
    parent: { type: 'int', nullable: true },
  },
});

const onTypeOrm: OpenItems = async ({ connectionString }) => {
  const dataSource = await new DataSource({
    type: 'postgres',
    driver: holdfast,
    url: connectionString,
    entities: [TypeItem],
  }).initialize();
  const on = (manager: EntityManager): Items => ({
    add: async (items) => await manager.save(TypeItem, [...items]),
    read: async (prefix) =>
      await manager.find(TypeItem, { where: { text: Like(`${prefix}%`) }, order: { id: 'ASC' } }),
  });
  return {
    transaction: async (work) => {
      await dataSource.transaction(async (manager) => {
        await work(on(manager));
      });
    },
    close: async () => {
      await dataSource.destroy();
    },
  };
};

const onSequelize: OpenItems = ({ host, port, user, password, database }) => {
  const sequelize = new Sequelize({
    dialect: 'postgres',
    dialectModule: holdfast,
    host,
    port: port as unknown as number,
    username: user,
    password,
    database,
    logging: false,
    define: { timestamps: false, freezeTableName: true },
  });
  const items = sequelize.define<Model<Item, Partial<Item>>>('item', {
    id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
    text: DataTypes.TEXT,
    code: DataTypes.UUID,
    state: DataTypes.TEXT,
    createdAt: { type: DataTypes.DATE, field: 'created_at' },
    notedAt: { type: DataTypes.DATE, field: 'noted_at' },
    parent: DataTypes.INTEGER,
  });
  const on = (transaction: Transaction): Items => ({
    add: async ([first, ...others]) => {
      const made =
        others.length === 0
          ? [await items.create(first, { transaction })]
          : await items.bulkCreate([first!, ...others], {
              fields: ['text', 'parent'],
              returning: true,
              transaction,
            });
      return made.map((item) => item.get({ plain: true }));
    },
    read: async (prefix) =>
      (await items.findAll({ where: { text: { [Op.startsWith]: prefix } }, order: ['id'], transaction })).map(
        (item) => item.get({ plain: true }),
      ),
  });
  return {
    transaction: async (work) => {
      await sequelize.transaction(async (transaction) => {
        await work(on(transaction));
      });
    },
    close: async () => {
      await sequelize.close();
    },
  };
};

const MikroItem = new MikroSchema<Item>({
  name: 'Item',
  tableName: 'item',
  properties: {
    id: { type: 'number', primary: true, autoincrement: true },
    text: { type: 'text' },
    code: { type: 'uuid', defaultRaw: 'gen_random_uuid()' },
    state: { type: 'text', default: 'new' },
    createdAt: { type: 'Date', fieldName: 'created_at', columnType: 'timestamptz', defaultRaw: 'now()' },
    notedAt: {
      type: 'Date',
      fieldName: 'noted_at',
      columnType: 'timestamptz',
      defaultRaw: 'clock_timestamp()',
    },
    parent: { type: 'number', nullable: true },
  },
});

const onMikroOrm: OpenItems = async ({ host, port, user, password, database }) => {
  const orm = await MikroORM.init({
    entities: [MikroItem],
    host,
    user,
    password,
    dbName: database,
    driverOptions: {
      client: class extends PostgreSqlKnexDialect {
        _driver(): object {
          return holdfast;
        }
      },
      connection: { port },
    },
  });
  const on = (em: SqlEntityManager): Items => ({
    add: async (items) => {
      const made = items.map((item) => em.create(MikroItem, { parent: null, ...item } as Item));
      await em.flush();
      return made.map((item) => ({ ...item }));
    },
    read: async (prefix) => {
      const rows = await em
        .fork({ keepTransactionContext: true })
        .find(MikroItem, { text: { $like: `${prefix}%` } }, { orderBy: { id: 'ASC' } });
      return rows.map((item) => ({ ...item }));
    },
  });
  return {
    transaction: async (work) => {
      await orm.em.fork().transactional(async (em) => {
        await work(on(em));
      });
    },
    close: async () => {
      await orm.close();
    },
  };
};

const onPgPromise: OpenItems = ({ connectionString }) => {
  const pgp = pgPromise({ noWarnings: true });
  Object.assign(pgp, { pg: holdfast });
  const db = pgp(connectionString);
  const columns = new pgp.helpers.ColumnSet<object>(['text', { name: 'parent', def: null }], {
    table: 'item',
  });
  return {
    transaction: async (work) => {
      await db.tx(async (tx) => {
        await work({
          add: async (items) =>
            (await tx.many<ItemRow>(`${pgp.helpers.insert([...items], columns)} RETURNING *`)).map(itemOf),
          read: async (prefix) =>
            (
              await tx.any<ItemRow>('SELECT * FROM item WHERE starts_with(text, $1) ORDER BY id', [prefix])
            ).map(itemOf),
        });
      });
    },
    close: async () => {
      await db.$pool.end();
    },
  };
};

export const ITEM_APPLICATIONS: Readonly<Record<string, OpenItems>> = {
  Knex: onKnex,
  Prisma: onPrisma,
  Drizzle: onDrizzle,
  Kysely: onKysely,
  TypeORM: onTypeOrm,
  Sequelize: onSequelize,
  MikroORM: onMikroOrm,
  'pg-promise': onPgPromise,
};
