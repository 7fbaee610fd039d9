import knex, { type Knex } from 'knex';
import { Kysely, MssqlDialect, type Generated } from 'kysely';
import { createRequire } from 'node:module';
import { DataTypes, Sequelize } from 'sequelize';
import * as tarn from 'tarn';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { HoldfastMssql } from '../../../../src/knex-mssql.ts';
import * as tedious from '../../../../src/tedious.ts';
import { runStock } from '../../../support/sqlserver/run-stock.ts';
import { SqlServerCluster } from '../../../support/sqlserver/sql-server-cluster.ts';

interface Database {
  account: { id: number; balance: number };
  note: { id: Generated<number>; text: string | null };
}

let cluster: SqlServerCluster;
beforeAll(async () => {
  cluster = await SqlServerCluster.start({
    synchronous: true,
    setUp: [
      'CREATE TABLE account (id int NOT NULL PRIMARY KEY, balance int NOT NULL)',
      'CREATE TABLE note (id int IDENTITY(1,1) PRIMARY KEY, text nvarchar(100))',
    ],
  });
});
beforeEach(async () => {
  await cluster.ready();
  await runStock(
    cluster.stockConfig(),
    'DELETE FROM note;DELETE FROM account;INSERT INTO account VALUES (1, 100), (2, 100)',
  );
});
afterAll(async () => {
  await cluster.stop();
});

async function balances(): Promise<unknown[]> {
  return (await runStock(cluster.stockConfig(), 'SELECT balance FROM account ORDER BY id')).flat();
}

describe('Knex, with the dialect of holdfast/knex-mssql', () => {
  let db: Knex;
  beforeEach(() => {
    const { port } = cluster.gateway;
    db = knex({
      client: HoldfastMssql,
      connection: {
        server: '127.0.0.1',
        user: 'app',
        password: 'app',
        database: 'app',
        port,
        failover: { hosts: [...cluster.hosts] },
      } as Knex.MsSqlConnectionConfig,
    });
    return async () => {
      await db.destroy();
    };
  });

  it('reads, writes and streams', async () => {
    const [made] = await db('note').insert({ text: 'one' }).returning(['id', 'text']);
    expect(made).toMatchObject({ text: 'one' });
    await db('note').where({ text: 'one' }).update({ text: 'two' });
    expect(await db('note').select('text')).toEqual([{ text: 'two' }]);
    const seen: unknown[] = [];
    for await (const row of db('account').select('id').orderBy('id').stream()) seen.push(row);
    expect(seen).toEqual([{ id: 1 }, { id: 2 }]);
    await db('note').delete();
    expect(await db('note').count({ count: '*' })).toEqual([{ count: '0' }]);
  });

  it('rolls back', async () => {
    await expect(
      db.transaction(async (trx) => {
        await trx('account').update({ balance: 0 });
        throw new Error('no');
      }),
    ).rejects.toThrow('no');
    expect(await balances()).toEqual([100, 100]);
  });

  it('keeps an open transaction over the loss of its primary', async () => {
    await db.transaction(async (trx) => {
      await trx('account').where({ id: 1 }).decrement('balance', 10);
      await cluster.replacePrimary();
      await trx('account').where({ id: 2 }).increment('balance', 10);
    });
    expect(await balances()).toEqual([90, 110]);
    expect((db.client as HoldfastMssql).failover.snapshot().failovers).toBeGreaterThan(0);
  });
});

describe('Kysely, with connections of holdfast/tedious', () => {
  let db: Kysely<Database>;
  beforeEach(() => {
    db = new Kysely<Database>({
      dialect: new MssqlDialect({
        tarn: { ...tarn, options: { min: 0, max: 4 } },
        tedious: { ...tedious, connectionFactory: () => new tedious.Connection(cluster.config()) },
      }),
    });
    return async () => {
      await db.destroy();
    };
  });

  it('reads and writes', async () => {
    await db.insertInto('note').values({ text: 'one' }).execute();
    await db.updateTable('note').set({ text: 'two' }).execute();
    expect(await db.selectFrom('note').select('text').execute()).toEqual([{ text: 'two' }]);
    await db.deleteFrom('note').execute();
    const seen: unknown[] = [];
    for await (const row of db.selectFrom('account').select('id').orderBy('id').stream(1)) seen.push(row);
    expect(seen).toEqual([{ id: 1 }, { id: 2 }]);
  });

  it('rolls back', async () => {
    const failed = db.transaction().execute(async (trx) => {
      await trx.updateTable('account').set({ balance: 0 }).execute();
      throw new Error('no');
    });
    await expect(failed).rejects.toThrow('no');
    expect(await balances()).toEqual([100, 100]);
  });

  it('keeps an open transaction over the loss of its primary', async () => {
    await db.transaction().execute(async (trx) => {
      await trx.updateTable('account').set({ balance: 90 }).where('id', '=', 1).execute();
      await cluster.replacePrimary();
      await trx.updateTable('account').set({ balance: 110 }).where('id', '=', 2).execute();
    });
    expect(await balances()).toEqual([90, 110]);
  });
});

describe('Sequelize, with holdfast/tedious as its dialectModule', () => {
  let db: Sequelize;
  beforeEach(() => {
    db = new Sequelize('app', 'app', 'app', {
      dialect: 'mssql',
      dialectModule: tedious,
      host: '127.0.0.1',
      port: cluster.gateway.port,
      logging: false,
      dialectOptions: { options: { encrypt: false, failover: { hosts: [...cluster.hosts] } } },
    });
    return async () => {
      await db.close();
    };
  });

  it('keeps an open transaction over the loss of its primary', async () => {
    const Account = db.define(
      'account',
      { id: { type: DataTypes.INTEGER, primaryKey: true }, balance: DataTypes.INTEGER },
      { tableName: 'account', timestamps: false },
    );
    expect((await Account.findAll({ order: ['id'] })).map((one) => one.get('balance'))).toEqual([100, 100]);
    await db.transaction(async (transaction) => {
      await Account.update({ balance: 90 }, { where: { id: 1 }, transaction });
      await cluster.replacePrimary();
      await Account.update({ balance: 110 }, { where: { id: 2 }, transaction });
    });
    expect(await balances()).toEqual([90, 110]);
    await expect(
      db.transaction(async (transaction) => {
        await Account.update({ balance: 0 }, { where: { id: 1 }, transaction });
        throw new Error('no');
      }),
    ).rejects.toThrow('no');
    expect(await balances()).toEqual([90, 110]);
  });
});

/** Its types would come from another package, @types/mssql; what is used of it is little. */
interface Mssql {
  readonly ConnectionPool: new (config: object) => Pool;
  readonly PreparedStatement: new (pool: Pool) => Prepared;
  readonly Int: unknown;
}
interface Pool {
  connect(): Promise<Pool>;
  close(): Promise<void>;
  request(): Request;
  transaction(): Transaction;
}
interface Request {
  stream: boolean;
  input(name: string, value: unknown): Request;
  query(sql: string): Promise<{ recordset: unknown[] }>;
  on(event: string, listener: (value: unknown) => void): Request;
}
interface Transaction {
  begin(): Promise<void>;
  commit(): Promise<void>;
  rollback(): Promise<void>;
  request(): Request;
}
interface Prepared {
  input(name: string, type: unknown): void;
  prepare(sql: string): Promise<void>;
  execute(values: object): Promise<{ recordset: unknown[] }>;
  unprepare(): Promise<void>;
}

describe('the package mssql, with failoverOptions of holdfast/tedious', () => {
  const mssql = createRequire(import.meta.url)('mssql') as Mssql;
  let pool: Pool;
  beforeEach(async () => {
    const config = cluster.config();
    pool = new mssql.ConnectionPool({
      server: config.server,
      user: 'app',
      password: 'app',
      database: 'app',
      port: cluster.gateway.port,
      options: tedious.failoverOptions(config).options,
    });
    await pool.connect();
    return async () => {
      await pool.close();
    };
  });

  it('reads, writes, prepares and streams', async () => {
    await pool.request().input('text', 'one').query('INSERT INTO note (text) VALUES (@text)');
    expect((await pool.request().query('SELECT text FROM note')).recordset).toEqual([{ text: 'one' }]);
    const prepared = new mssql.PreparedStatement(pool);
    prepared.input('id', mssql.Int);
    await prepared.prepare('SELECT balance FROM account WHERE id = @id');
    expect((await prepared.execute({ id: 1 })).recordset).toEqual([{ balance: 100 }]);
    await cluster.replacePrimary();
    expect((await prepared.execute({ id: 2 })).recordset).toEqual([{ balance: 100 }]);
    await prepared.unprepare();
    const request = pool.request();
    request.stream = true;
    const rows: unknown[] = [];
    request.on('row', (row) => rows.push(row));
    const done = new Promise((resolve) => request.on('done', resolve));
    void request.query('SELECT id FROM account ORDER BY id');
    await done;
    expect(rows).toEqual([{ id: 1 }, { id: 2 }]);
  });

  it('keeps an open transaction over the loss of its primary', async () => {
    const transaction = pool.transaction();
    await transaction.begin();
    await transaction.request().query('UPDATE account SET balance = 90 WHERE id = 1');
    await cluster.replacePrimary();
    await transaction.request().query('UPDATE account SET balance = 110 WHERE id = 2');
    await transaction.commit();
    expect(await balances()).toEqual([90, 110]);
    const other = pool.transaction();
    await other.begin();
    await other.request().query('UPDATE account SET balance = 0 WHERE id = 1');
    await other.rollback();
    expect(await balances()).toEqual([90, 110]);
  });
});
