import type { ConnectionConfiguration } from 'tedious';
import { Connection as StockConnection } from './stock-tedious.ts';
import type { FailoverEvents } from '../events.ts';
import { makeContext, withoutFailover, type FailoverConfiguration } from './connection-settings.ts';
import type { SessionContext } from './session/session-context.ts';
import { TdsSession } from './session/tds-session.ts';

/** The session behind each connection with failover, once it connects. */
const sessions = new WeakMap<object, TdsSession>();

/**
 * tedious's own Connection on a stream of the driver's: everything above the wire is tedious's code. With
 * `failover: false` it is nothing but tedious's Connection.
 */
export class Connection extends StockConnection {
  /** Events and counters of the cluster. Null with `failover: false`. */
  declare readonly failover: FailoverEvents | null;

  /**
   * @param config - as tedious's, and besides the key `failover`
   * @param events - where it reports to; default: events of its own
   * @throws ConfigurationError for bad or contradictory settings
   */
  constructor(config: FailoverConfiguration, events?: FailoverEvents) {
    const context = makeContext(config, StockConnection, events);
    let opened: (session: TdsSession) => void = () => undefined;
    super(
      context === null
        ? withoutFailover(config)
        : outerConfig(context, (session) => {
            opened(session);
          }),
    );
    opened = (session) => {
      sessions.set(this, session);
    };
    Object.defineProperty(this, 'failover', { value: context?.events ?? null, enumerable: false });
  }
}

/** A connection that connects at once, as tedious's function of this name makes it. */
export function connect(
  config: FailoverConfiguration,
  connectListener?: (error?: Error) => void,
): Connection {
  const connection = new Connection(config);
  connection.connect(connectListener);
  return connection;
}

/** True if the connection is inside a transaction that is gone (A13). */
export function isDoomed(connection: object): boolean {
  return sessions.get(connection)?.isDoomed ?? false;
}

/**
 * Options for libraries that make tedious's connections themselves and pass `options` on, such as the package `mssql`: to be
 * merged into what they call `options`. All connections made with them share what is returned as `failover`.
 *
 * @param config - the whole of tedious's configuration, with the true settings of encryption and authentication
 * @throws ConfigurationError for bad or contradictory settings, and with `failover: false`
 */
export function failoverOptions(config: FailoverConfiguration): {
  readonly options: NonNullable<ConnectionConfiguration['options']>;
  readonly failover: FailoverEvents | null;
} {
  const context = makeContext(config, StockConnection);
  if (context === null) return { options: withoutFailover(config).options ?? {}, failover: null };
  return { options: outerConfig(context, () => undefined).options ?? {}, failover: context.events };
}

/** What tedious's own constructor gets: no encryption inside of the process, and our stream in place of a socket. */
function outerConfig(
  context: SessionContext,
  opened: (session: TdsSession) => void,
): ConnectionConfiguration {
  const { config } = context;
  const options = { ...config.options };
  // The name of an instance is looked up before our stream is asked for.
  delete options.instanceName;
  const connector = (): Promise<unknown> => {
    const session = new TdsSession(context);
    opened(session);
    return Promise.resolve(session.endpoint.stream);
  };
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
