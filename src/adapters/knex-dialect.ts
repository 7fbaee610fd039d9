import knex, { type Knex } from 'knex';
import { ConfigurationError } from '../errors.ts';
import type { FailoverEvents } from '../events.ts';
import { cancel, isDoomed, withdraw } from '../pg/client.ts';
import type { FailoverKeys } from '../pg/public-types.ts';
import { readConnection } from './knex-connection.ts';
import { makeKnexDriver, type KnexDriver } from './knex-driver.ts';

declare module 'knex' {
  namespace Knex {
    /** What may stand in `connection` beside Knex's own keys. */
    interface PgConnectionConfig {
      failover?: FailoverKeys['failover'];
      target_session_attrs?: FailoverKeys['target_session_attrs'];
      load_balance_hosts?: FailoverKeys['load_balance_hosts'];
    }
  }
}

/** As Knex's own types have it, but for what they leave out. */
interface StockDialect extends Knex.Client {
  cancelQuery(connection?: object): unknown;
}

// By way of a Knex without a connection: the class itself is exported by no public module of Knex.
const { constructor: PostgresDialect } = knex({ client: 'pg' }).client as {
  constructor: Omit<typeof Knex.Client, 'prototype'> & (new (config: Knex.Config) => StockDialect);
};

/** What Knex notes on a connection that is not to be used again; the pool looks at it. */
interface KnexConnection {
  readonly __knex__disposed?: unknown;
}

/**
 * Knex's own dialect for PostgreSQL, whose connections survive the loss of their server: give the class as `client`.
 *
 * `connection` is what Knex's `pg` takes, and besides the hosts of a cluster as libpq spells them and the key
 * `failover`. Everything else of the configuration means what it means with Knex.
 */
// Knex makes a transaction's client, and that of `withUserParams`, from this prototype and without the constructor: they
// have no private fields, and of the instance only what Knex copies, the driver among it.
export class HoldfastPostgres extends PostgresDialect {
  /** @throws ConfigurationError for bad or contradictory settings; those that a function gives are read when it is asked */
  constructor(config: Knex.Config) {
    refusePool((config as { connectionPool?: unknown }).connectionPool);
    const connection = readConnection(config.connection);
    super(connection === undefined ? config : { ...config, connection });
    const { failover } = (typeof connection === 'object' ? connection : {}) as { failover?: unknown };
    // Knex works on a deep copy, but a topology provider is known by its identity, and Knex 3.0 takes its private fields.
    if (failover !== undefined) Object.assign(this.connectionSettings, { failover });
  }

  /**
   * Events and counters of the cluster, for all connections of this Knex: `db.client.failover`. Null with
   * `failover: false`, and for a Knex without `connection`.
   */
  get failover(): FailoverEvents | null {
    return (this.driver as KnexDriver | undefined)?.failover ?? null;
  }

  /** @internal */
  override initializeDriver(): void {
    const { connection } = this.config;
    this.driver = makeKnexDriver(typeof connection === 'function' ? undefined : (connection ?? {}));
  }

  /** @internal For `knex.initialize`; the constructor has looked already. */
  override initializeExternalPool(pool: unknown): void {
    refusePool(pool);
  }

  /** @internal A13: the next borrower must not find himself inside a transaction that is gone. */
  override async validateConnection(connection: object): Promise<boolean> {
    return !isDoomed(connection) && (await super.validateConnection(connection));
  }

  /** @internal R15: `timeout` without `cancel` gives the statement up with its connection; what waits is never sent. */
  override releaseConnection(connection: KnexConnection): unknown {
    if (Boolean(connection.__knex__disposed)) withdraw(connection);
    return super.releaseConnection(connection) as unknown;
  }

  /**
   * T10: Knex itself asks on another connection for the end of a process number, which may be another server's, and
   * during a failover nobody's or a stranger's.
   *
   * @internal
   */
  override cancelQuery(connection?: object): unknown {
    const cancelled = connection === undefined ? undefined : cancel(connection);
    return cancelled ?? super.cancelQuery(connection);
  }
}

function refusePool(pool: unknown): void {
  if (pool === undefined || pool === null) return;
  throw new ConfigurationError(
    `'connectionPool' can't be given together with the dialect of holdfast/knex, which makes connections of its own: give 'connection', and the size of the pool in 'pool'`,
  );
}
