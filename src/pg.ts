/**
 * `holdfast/pg`: everything that `pg` exports, with `Client` and `Pool` replaced by subclasses that keep their
 * sessions alive when the server under them dies.
 */
import type * as Stock from 'pg';
import type { QueryResultRow } from 'pg';
import { Client } from './pg/client.ts';
import { pgModule } from './pg/pg-module.ts';
import { Pool } from './pg/pool.ts';
import type { ClientConfig as OwnClientConfig, PoolConfig as OwnPoolConfig } from './pg/public-types.ts';
import { pg as stock } from './pg/stock-pg.ts';

export { Client, Pool };
export type { ClientConfig, FailoverKeys, PoolConfig } from './pg/public-types.ts';
export type {
  BindConfig,
  ClientBase,
  ConnectionConfig,
  CustomTypesConfig,
  Defaults,
  Events,
  ExecuteConfig,
  FieldDef,
  MessageConfig,
  Notification,
  PoolClient,
  PoolOptions,
  QueryArrayConfig,
  QueryArrayResult,
  QueryConfig,
  QueryConfigValues,
  QueryParse,
  QueryResult,
  QueryResultBase,
  QueryResultRow,
  ResultBuilder,
  Submittable,
  TransactionStatus,
} from 'pg';

export const {
  Connection,
  DatabaseError,
  Query,
  Result,
  TypeOverrides,
  defaults,
  escapeIdentifier,
  escapeLiteral,
  types,
} = stock;
/** What pg's types take for values and rows unless they are told: anything. */
type Values = NonNullable<Stock.QueryConfig['values']>;
type Row = Stock.QueryResult['rows'][number];

// The classes among them are types as well.
export type Connection = Stock.Connection;
export type DatabaseError = Stock.DatabaseError;
export type Query<R extends QueryResultRow = Row, I extends Values = Row> = Stock.Query<R, I>;
export type Result<R extends QueryResultRow = Row> = Stock.Result<R>;
export type TypeOverrides = Stock.TypeOverrides;

/** pg's internal helpers, re-exported because pg exports them. */
export const utils: unknown = (stock as unknown as { utils: unknown }).utils;

/** The same as an object, for `import pg from 'holdfast/pg'`. */
const pg: typeof pgModule = pgModule;

type OwnClient = Client;
type OwnPool = Pool;

/**
 * The types that code finds below the default export of `pg`, as in `let pool: pg.Pool`.
 *
 * @hidden They are the named ones.
 */
declare namespace pg {
  type Client = OwnClient;
  type ClientConfig = OwnClientConfig;
  type Pool = OwnPool;
  type PoolConfig = OwnPoolConfig;
  type BindConfig = Stock.BindConfig;
  type ClientBase = Stock.ClientBase;
  type Connection = Stock.Connection;
  type ConnectionConfig = Stock.ConnectionConfig;
  type CustomTypesConfig = Stock.CustomTypesConfig;
  type DatabaseError = Stock.DatabaseError;
  type Defaults = Stock.Defaults;
  type Events = Stock.Events;
  type ExecuteConfig = Stock.ExecuteConfig;
  type FieldDef = Stock.FieldDef;
  type MessageConfig = Stock.MessageConfig;
  type Notification = Stock.Notification;
  type PoolClient = Stock.PoolClient;
  type PoolOptions = Stock.PoolOptions;
  type QueryParse = Stock.QueryParse;
  type QueryResultBase = Stock.QueryResultBase;
  type QueryResultRow = Stock.QueryResultRow;
  type Submittable = Stock.Submittable;
  type TypeOverrides = Stock.TypeOverrides;
  type Query<R extends Stock.QueryResultRow = Row, I extends Values = Row> = Stock.Query<R, I>;
  type QueryArrayConfig<I = Values> = Stock.QueryArrayConfig<I>;
  type QueryArrayResult<R extends Values = Values> = Stock.QueryArrayResult<R>;
  type QueryConfig<I = Values> = Stock.QueryConfig<I>;
  type QueryConfigValues<T> = Stock.QueryConfigValues<T>;
  type QueryResult<R extends Stock.QueryResultRow = Row> = Stock.QueryResult<R>;
  type Result<R extends Stock.QueryResultRow = Row> = Stock.Result<R>;
  type ResultBuilder<R extends Stock.QueryResultRow = Row> = Stock.ResultBuilder<R>;
}

export default pg;
