/**
 * `holdfast/pg`: everything that `pg` exports, with `Client` and `Pool` replaced by subclasses that keep their
 * sessions alive when the server under them dies.
 */
import stock from 'pg';
import { Client } from './pg/client.ts';
import { pgModule } from './pg/pg-module.ts';
import { Pool } from './pg/pool.ts';

export { Client, Pool };
export type { ClientConfig, FailoverKeys, PoolConfig } from './pg/public-types.ts';
export type {
  BindConfig,
  ClientBase,
  ConnectionConfig,
  CustomTypesConfig,
  Defaults,
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
/** pg's internal helpers, re-exported because pg exports them. */
export const utils: unknown = (stock as unknown as { utils: unknown }).utils;

/** The same as an object, for `import pg from 'holdfast/pg'`. */
const pg: typeof pgModule = pgModule;

export default pg;
