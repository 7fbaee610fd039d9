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
type SettingsOfClient = OwnClientConfig;
type SettingsOfPool = OwnPoolConfig;

/**
 * The types that code finds below the default export of `pg`, as in `let pool: pg.Pool`.
 *
 * @hidden They are the named ones.
 */
declare namespace pg {
  // Not as type aliases: what bundles the declarations would take the classes of these names for types only.
  export {
    OwnClient as Client,
    OwnPool as Pool,
    SettingsOfClient as ClientConfig,
    SettingsOfPool as PoolConfig,
  };
  export type BindConfig = Stock.BindConfig;
  export type ClientBase = Stock.ClientBase;
  export type Connection = Stock.Connection;
  export type ConnectionConfig = Stock.ConnectionConfig;
  export type CustomTypesConfig = Stock.CustomTypesConfig;
  export type DatabaseError = Stock.DatabaseError;
  export type Defaults = Stock.Defaults;
  export type Events = Stock.Events;
  export type ExecuteConfig = Stock.ExecuteConfig;
  export type FieldDef = Stock.FieldDef;
  export type MessageConfig = Stock.MessageConfig;
  export type Notification = Stock.Notification;
  export type PoolClient = Stock.PoolClient;
  export type PoolOptions = Stock.PoolOptions;
  export type QueryParse = Stock.QueryParse;
  export type QueryResultBase = Stock.QueryResultBase;
  export type QueryResultRow = Stock.QueryResultRow;
  export type Submittable = Stock.Submittable;
  export type TypeOverrides = Stock.TypeOverrides;
  export type Query<R extends Stock.QueryResultRow = Row, I extends Values = Row> = Stock.Query<R, I>;
  export type QueryArrayConfig<I = Values> = Stock.QueryArrayConfig<I>;
  export type QueryArrayResult<R extends Values = Values> = Stock.QueryArrayResult<R>;
  export type QueryConfig<I = Values> = Stock.QueryConfig<I>;
  export type QueryConfigValues<T> = Stock.QueryConfigValues<T>;
  export type QueryResult<R extends Stock.QueryResultRow = Row> = Stock.QueryResult<R>;
  export type Result<R extends Stock.QueryResultRow = Row> = Stock.Result<R>;
  export type ResultBuilder<R extends Stock.QueryResultRow = Row> = Stock.ResultBuilder<R>;
}

export default pg;
