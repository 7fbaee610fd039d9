import type stock from 'pg';
import type * as stockNamespace from 'pg';
import type { NoticeMessage } from 'pg-protocol/dist/messages.js';
import { from as copyFrom, type CopyStreamQuery } from 'pg-copy-streams';
import Cursor from 'pg-cursor';
import QueryStream from 'pg-query-stream';
import { describe, expectTypeOf, it } from 'vitest';
import holdfast, {
  Client,
  Pool,
  type ClientConfig,
  type PoolConfig,
  type QueryResult,
} from '../../src/pg.ts';
import * as ours from '../../src/pg.ts';

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

  it('query() gives back what it was given, if that submits itself', () => {
    const client = new Client();
    const pool = new Pool();
    expectTypeOf(client.query(new QueryStream('SELECT 1'))).toEqualTypeOf<QueryStream>();
    expectTypeOf(client.query(copyFrom('COPY t FROM STDIN'))).toEqualTypeOf<CopyStreamQuery>();
    expectTypeOf(client.query(new holdfast.Query('SELECT 1'))).toEqualTypeOf<stock.Query>();
    expectTypeOf(pool.query(new QueryStream('SELECT 1'))).toEqualTypeOf<QueryStream>();
    class Own {
      submit(connection: stock.Connection): void {
        connection.sync();
      }
    }
    expectTypeOf(client.query(new Own())).toEqualTypeOf<Own>();
  });

  it('query() takes values, callbacks and configurations as in pg', () => {
    const client = new Client();
    const pool = new Pool();
    for (const one of [client, pool]) {
      expectTypeOf(one.query<{ a: number }>({ text: 'SELECT $1', values: [1] })).toEqualTypeOf<
        Promise<QueryResult<{ a: number }>>
      >();
      expectTypeOf(one.query<[number]>({ text: 'SELECT 1', rowMode: 'array' })).toEqualTypeOf<
        Promise<stock.QueryArrayResult<[number]>>
      >();
      one.query('SELECT $1', [1], (_error, result) => {
        expectTypeOf(result).toEqualTypeOf<QueryResult>();
      });
      one.query({ text: 'SELECT 1', rowMode: 'array' }, (error, result) => {
        expectTypeOf(error).toEqualTypeOf<Error>();
        expectTypeOf(result).toEqualTypeOf<stock.QueryArrayResult>();
      });
      // @ts-expect-error values are a list
      void one.query('SELECT $1', 1);
      // @ts-expect-error a query has a text
      void one.query({ values: [1] });
    }
    expectTypeOf<Pool['query']>().toEqualTypeOf<stock.Pool['query']>();
  });

  it('connect(), end() and release() keep their overloads', () => {
    const client = new Client();
    const pool = new Pool();
    expectTypeOf(client.connect()).toEqualTypeOf<Promise<stock.Client>>();
    client.connect((error: Error) => {
      expectTypeOf(error).toEqualTypeOf<Error>();
    });
    expectTypeOf<Client['connect']>().toEqualTypeOf<stock.Client['connect']>();
    pool.connect((error, one, done) => {
      expectTypeOf(error).toEqualTypeOf<Error | undefined>();
      expectTypeOf(one).toEqualTypeOf<stock.PoolClient | undefined>();
      done(true);
      one?.release();
      one?.release(new Error());
    });
    expectTypeOf<Pool['connect']>().toEqualTypeOf<stock.Pool['connect']>();
    expectTypeOf<Client['end']>().toEqualTypeOf<stock.Client['end']>();
    expectTypeOf<Pool['end']>().toEqualTypeOf<stock.Pool['end']>();
  });

  it('listeners are typed as in pg', () => {
    const client = new Client();
    client.on('error', (error) => {
      expectTypeOf(error).toEqualTypeOf<Error>();
    });
    client.on('notice', (notice) => {
      expectTypeOf(notice).toEqualTypeOf<NoticeMessage>();
    });
    client.on('notification', (message) => {
      expectTypeOf(message).toEqualTypeOf<stock.Notification>();
    });
    new Pool()
      .on('connect', (one) => {
        expectTypeOf(one).toEqualTypeOf<stock.PoolClient>();
      })
      .on('error', (error, one) => {
        expectTypeOf(error).toEqualTypeOf<Error>();
        expectTypeOf(one).toEqualTypeOf<stock.PoolClient>();
      });
    // @ts-expect-error no such event
    new Pool().on('end', () => undefined);
  });

  it('what pg has as types is there, by name and below the default export', () => {
    type Below = [holdfast.BindConfig, holdfast.ClientBase, holdfast.Connection, holdfast.ConnectionConfig,
      holdfast.CustomTypesConfig, holdfast.DatabaseError, holdfast.Defaults, holdfast.Events, holdfast.ExecuteConfig,
      holdfast.FieldDef, holdfast.MessageConfig, holdfast.Notification, holdfast.PoolClient, holdfast.PoolOptions,
      holdfast.Query, holdfast.QueryArrayConfig, holdfast.QueryArrayResult, holdfast.QueryConfig,
      holdfast.QueryConfigValues<[1]>, holdfast.QueryParse, holdfast.QueryResult, holdfast.QueryResultBase,
      holdfast.QueryResultRow, holdfast.Result, holdfast.ResultBuilder, holdfast.Submittable, holdfast.TypeOverrides]; // prettier-ignore
    type Stock = [stock.BindConfig, stock.ClientBase, stock.Connection, stock.ConnectionConfig, stock.CustomTypesConfig,
      stock.DatabaseError, stock.Defaults, stock.Events, stock.ExecuteConfig, stock.FieldDef, stock.MessageConfig,
      stock.Notification, stock.PoolClient, stock.PoolOptions, stock.Query, stock.QueryArrayConfig,
      stock.QueryArrayResult, stock.QueryConfig, stock.QueryConfigValues<[1]>, stock.QueryParse, stock.QueryResult,
      stock.QueryResultBase, stock.QueryResultRow, stock.Result, stock.ResultBuilder, stock.Submittable,
      stock.TypeOverrides]; // prettier-ignore
    type Named = [ours.BindConfig, ours.ClientBase, ours.Connection, ours.ConnectionConfig, ours.CustomTypesConfig,
      ours.DatabaseError, ours.Defaults, ours.Events, ours.ExecuteConfig, ours.FieldDef, ours.MessageConfig,
      ours.Notification, ours.PoolClient, ours.PoolOptions, ours.Query, ours.QueryArrayConfig, ours.QueryArrayResult,
      ours.QueryConfig, ours.QueryConfigValues<[1]>, ours.QueryParse, ours.QueryResult, ours.QueryResultBase,
      ours.QueryResultRow, ours.Result, ours.ResultBuilder, ours.Submittable, ours.TypeOverrides]; // prettier-ignore
    expectTypeOf<Below>().toEqualTypeOf<Stock>();
    expectTypeOf<Named>().toEqualTypeOf<Stock>();
    expectTypeOf<holdfast.QueryResult<{ a: 1 }>>().toEqualTypeOf<stock.QueryResult<{ a: 1 }>>();
    expectTypeOf<ours.Query<{ a: 1 }, [2]>>().toEqualTypeOf<stockNamespace.Query<{ a: 1 }, [2]>>();
    const client: holdfast.Client = new holdfast.Client({} satisfies holdfast.ClientConfig);
    const pool: holdfast.Pool = new holdfast.Pool({} satisfies holdfast.PoolConfig);
    expectTypeOf(client).toEqualTypeOf<Client>();
    expectTypeOf(pool).toEqualTypeOf<Pool>();
    expectTypeOf(new ours.DatabaseError('', 0, 'error')).toExtend<stock.DatabaseError>();
  });

  it('all values of the module as a namespace are those of pg', () => {
    // Of what @types/pg calls values these three are none in an ES module.
    type Stock = Omit<typeof stockNamespace, 'ClientBase' | 'Events' | 'native' | 'default'>;
    expectTypeOf<typeof ours>().toExtend<Stock>();
    expectTypeOf<(typeof ours)['default']>().toExtend<(typeof stockNamespace)['default']>();
  });

  it('a pool gives pool clients', () => {
    expectTypeOf(new Pool().connect()).toEqualTypeOf<Promise<stock.PoolClient>>();
    expectTypeOf<Client['failover']>().not.toBeAny();
    expectTypeOf<Pool['failover']>().not.toBeAny();
  });
});
