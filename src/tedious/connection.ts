import type { ConnectionConfiguration } from 'tedious';
import { Connection as StockConnection } from './stock-tedious.ts';
import type { FailoverEvents } from '../events.ts';
import { makeContext, withoutFailover, type FailoverConfiguration } from './connection-settings.ts';
import { TdsSession } from './session/tds-session.ts';
import type { SessionContext } from './session/session-context.ts';

/**
 * tedious's own Connection on a stream of the driver's: everything above the wire is tedious's code. With
 * `failover: false` it is nothing but tedious's Connection.
 */
export class Connection extends StockConnection {
  /** Events and counters of the cluster. Null with `failover: false`. */
  declare readonly failover: FailoverEvents | null;

  /** @throws ConfigurationError for bad or contradictory settings */
  constructor(config: FailoverConfiguration) {
    const context = makeContext(config, StockConnection);
    super(context === null ? withoutFailover(config) : outerConfig(context));
    Object.defineProperty(this, 'failover', { value: context?.events ?? null, enumerable: false });
  }
}

/** What tedious's own constructor gets: no encryption inside of the process, and our stream in place of a socket. */
function outerConfig(context: SessionContext): ConnectionConfiguration {
  const { config } = context;
  const options = { ...config.options };
  // The name of an instance is looked up before our stream is asked for.
  delete options.instanceName;
  const connector = (): Promise<unknown> => Promise.resolve(new TdsSession(context).endpoint.stream);
  return {
    ...config,
    options: {
      ...options,
      port: options.port ?? context.hosts[0]!.port,
      encrypt: false,
      multiSubnetFailover: false,
      connector: connector as NonNullable<typeof options.connector>,
    },
  };
}
