import knex, { type Knex } from 'knex';
import { FailoverEvents, type FailoverSnapshot } from '../events.ts';
import { Connection, isDoomed } from '../tedious/connection.ts';
import type { FailoverConfiguration } from '../tedious/connection-settings.ts';
import { tedious } from '../tedious/stock-tedious.ts';

/** As Knex has it, but for what its types leave out. */
interface StockDialect extends Knex.Client {
  _driver(): object;
  _generateConnection(): object;
}

// By way of a Knex without a connection: the class itself is exported by no public module of Knex.
const { constructor: MssqlDialect } = knex({ client: 'mssql' }).client as {
  constructor: Omit<typeof Knex.Client, 'prototype'> & (new (config: Knex.Config) => StockDialect);
};

/**
 * Knex's own dialect for SQL Server, whose connections survive the loss of their server: give the class as `client`.
 * `connection` is what Knex's `mssql` takes, and besides the key `failover`.
 */
export class HoldfastMssql extends MssqlDialect {
  constructor(config: Knex.Config) {
    super(config);
    const { connection } = config;
    const { failover } = (typeof connection === 'object' ? connection : {}) as { failover?: unknown };
    // Knex works on a deep copy, but a topology provider is known by its identity.
    if (failover !== undefined) Object.assign(this.connectionSettings, { failover });
  }

  /** Events and counters of the cluster, for all connections of this Knex: `db.client.failover`. */
  get failover(): FailoverEvents {
    return driverOf(this).events;
  }

  /** @internal */
  override _driver(): object {
    return driverOf(this).driver;
  }

  /** @internal */
  override _generateConnection(): object {
    const { failover } = this.connectionSettings as { failover?: unknown };
    const config = super._generateConnection();
    return failover === undefined ? config : { ...config, failover };
  }

  /** @internal A13: the next borrower must not find himself inside a transaction that is gone. */
  override async validateConnection(connection: object): Promise<boolean> {
    return !isDoomed(connection) && (await super.validateConnection(connection));
  }
}

interface Driver {
  readonly events: FailoverEvents;
  readonly driver: object;
}

/** By their settings: Knex makes a transaction's client from the prototype, with the same ones. */
const drivers = new WeakMap<object, Driver>();

function driverOf({ connectionSettings }: { readonly connectionSettings: object }): Driver {
  let known = drivers.get(connectionSettings);
  if (known !== undefined) return known;
  let latest: FailoverEvents | null = null;
  const events = new FailoverEvents((): FailoverSnapshot => {
    if (latest === null) throw new Error('no connection was made yet');
    return latest.snapshot();
  });
  class SharingConnection extends Connection {
    constructor(config: FailoverConfiguration) {
      super(config, events);
      latest ??= new Connection(config).failover;
    }
  }
  known = { events, driver: { ...tedious, Connection: SharingConnection } };
  drivers.set(connectionSettings, known);
  return known;
}
