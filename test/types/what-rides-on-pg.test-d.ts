import { PrismaPg } from '@prisma/adapter-pg';
import connectPgSimple from 'connect-pg-simple';
import type { RunnerOptions } from 'graphile-worker';
import type knex from 'knex';
import { PostgresDialect, type PostgresPool } from 'kysely';
import type PgBoss from 'pg-boss';
import type stock from 'pg';
import type * as stockNamespace from 'pg';
import Cursor from 'pg-cursor';
import { assertType, describe, expectTypeOf, it } from 'vitest';
import holdfast, { Client, Pool, type ClientConfig, type PoolConfig } from 'holdfast/pg';

/** Functions as applications have them, written for the types of pg. */
declare function takesPool(pool: stock.Pool): void;
declare function takesClientBase(client: stock.ClientBase): void;
declare function takesClient(client: stock.Client): void;
declare function takesPoolClient(client: stock.PoolClient): void;
declare function takesModule(module: typeof stock): void;
declare function takesEither(one: stock.Pool | stock.PoolClient | stock.Client): void;
declare function takesPoolConfig(config: stock.PoolConfig): void;
declare function takesClientConfig(config: stock.ClientConfig): void;
declare function takesMaker(make: () => stock.Pool): void;
declare function takesQueryable(one: Pick<stock.Pool, 'query'>): void;
declare function takesClass(Class: new (config?: string | stock.ClientConfig) => stock.Client): void;
declare function takesPoolClass(Class: typeof stock.Pool): void;
declare function takesNamespacePool(pool: stockNamespace.Pool): void;

describe('what was written for the types of pg takes ours', () => {
  it('functions of applications', () => {
    const pool = new Pool();
    const client = new Client();
    takesPool(pool);
    takesNamespacePool(pool);
    takesPool(new holdfast.Pool({ max: 1 }));
    takesEither(pool);
    takesEither(client);
    takesClientBase(client);
    takesClient(client);
    takesModule(holdfast);
    takesMaker(() => new Pool());
    takesQueryable(pool);
    takesQueryable(client);
    takesClass(Client);
    takesClass(holdfast.Client);
    takesPoolClass(Pool);
    void pool.connect().then((one) => {
      takesPoolClient(one);
      takesClientBase(one);
    });
    takesPoolConfig({ max: 1 } satisfies PoolConfig);
    takesClientConfig({ host: 'h' } satisfies ClientConfig);
    // Settings of ours go wherever those of pg go; and `Client` of a stock pool may be our class.
    expectTypeOf<PoolConfig>().toExtend<stock.PoolConfig>();
    expectTypeOf<ClientConfig>().toExtend<stock.ClientConfig>();
    takesPoolConfig({ Client });
  });

  it('ORMs and tools', () => {
    const pool = new Pool();
    assertType(new PrismaPg(pool));
    assertType(new PrismaPg({ connectionString: 'postgres://h/d', Client } satisfies PoolConfig));
    assertType(new PostgresDialect({ pool }));
    assertType(new PostgresDialect({ pool: async () => await Promise.resolve(pool), cursor: Cursor }));
    expectTypeOf<Pool>().toExtend<PostgresPool>();
    const boss = {
      db: { executeSql: async (text: string, values: any[]) => await pool.query(text, values) },
    };
    assertType<PgBoss.ConstructorOptions>(boss);
    assertType<RunnerOptions>({ pgPool: pool });
    const Store = connectPgSimple(null as never);
    assertType(new Store({ pool }));
    assertType(new Store({ conObject: { host: 'h' } satisfies PoolConfig }));
    assertType<knex.Knex.Config>({ client: 'pg', connection: { host: 'h' } satisfies ClientConfig });
  });
});
