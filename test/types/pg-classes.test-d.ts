import type stock from 'pg';
import Cursor from 'pg-cursor';
import { describe, expectTypeOf, it } from 'vitest';
import holdfast, {
  Client,
  Pool,
  type ClientConfig,
  type PoolConfig,
  type QueryResult,
} from '../../src/pg.ts';

/** Our classes must fit wherever code was written for those of @types/pg, without a cast. */
describe('the types of holdfast/pg', () => {
  it('our classes are assignable where those of pg are expected', () => {
    expectTypeOf<Client>().toExtend<stock.Client>();
    expectTypeOf<Client>().toExtend<stock.ClientBase>();
    expectTypeOf<Pool>().toExtend<stock.Pool>();
    expectTypeOf<typeof Client>().toExtend<typeof stock.Client>();
    expectTypeOf<typeof Pool>().toExtend<typeof stock.Pool>();
    expectTypeOf(holdfast).toExtend<typeof stock>();
    expectTypeOf<Client>().toExtend<Parameters<NonNullable<stock.PoolConfig['onConnect']>>[0]>();
  });

  it('configurations of pg are configurations of ours', () => {
    expectTypeOf<stock.ClientConfig>().toExtend<ClientConfig>();
    expectTypeOf<stock.PoolConfig>().toExtend<PoolConfig>();
    expectTypeOf<{ failover: false }>().toExtend<ClientConfig>();
    expectTypeOf(new Client('postgres://h/d')).toExtend<stock.Client>();
  });

  it('query() keeps the overloads of pg', () => {
    const client = new Client();
    const pool = new Pool();
    expectTypeOf(client.query<{ a: number }>('SELECT 1 AS a')).toEqualTypeOf<
      Promise<QueryResult<{ a: number }>>
    >();
    expectTypeOf(pool.query<{ a: number }>('SELECT $1', [1])).toEqualTypeOf<
      Promise<QueryResult<{ a: number }>>
    >();
    expectTypeOf(client.query({ text: 'SELECT 1', rowMode: 'array' as const })).toEqualTypeOf<
      Promise<stock.QueryArrayResult>
    >();
    expectTypeOf(client.query(new Cursor('SELECT 1'))).toEqualTypeOf<Cursor>();
    client.query('SELECT 1', (_error: Error, result: QueryResult) => {
      expectTypeOf(result.rows).toEqualTypeOf<any[]>();
    });
    expectTypeOf<Client['query']>().toEqualTypeOf<stock.Client['query']>();
  });

  it('a pool gives pool clients', () => {
    expectTypeOf(new Pool().connect()).toEqualTypeOf<Promise<stock.PoolClient>>();
    expectTypeOf<Client['failover']>().not.toBeAny();
    expectTypeOf<Pool['failover']>().not.toBeAny();
  });
});
