import type { EventEmitter } from 'node:events';
import type pg from 'pg';
import type { FailoverEvents } from '../events.ts';
import { ClientSocket, type OuterConnection } from './client-socket.ts';
import { resolveConnection } from './connection-hosts.ts';
import { knowCopies } from './known-copies.ts';
import { LogicalSession } from './logical-session.ts';
import { isPoolContext, makeContext, POOL_CONTEXT } from './make-context.ts';
import type { ClientConfig } from './public-types.ts';
import { dropIfDoomed } from './release-of-a-doomed-client.ts';
import type { SessionContext } from './session-context.ts';
import { StockClient } from './stock-pg.ts';
import { VirtualSocket } from './virtual-socket.ts';
import { withdrawable } from './withdrawable-query.ts';

/** The session behind each client with failover; clients without are plain pg. */
const sessions = new WeakMap<object, LogicalSession>();

interface OuterClient {
  readonly connection: OuterConnection & EventEmitter;
  readonly connectionParameters: { readonly query_timeout?: unknown };
  readonly _activeQuery: unknown;
}

/**
 * pg's own Client on a virtual socket: everything above the wire is pg's code. With `failover: false` it is nothing but
 * pg's Client.
 */
export class Client extends StockClient {
  /** Events and counters of the cluster; for a pool's client the pool's. Null with `failover: false`. */
  declare readonly failover: FailoverEvents | null;

  /** @throws ConfigurationError for bad or contradictory settings */
  constructor(config?: string | ClientConfig) {
    const shared =
      typeof config === 'object' ? (config as { [POOL_CONTEXT]?: unknown })[POOL_CONTEXT] : undefined;
    const context = isPoolContext(shared) ? shared : makeContext(resolveConnection(config));
    if (context === null) {
      super(config);
      Object.defineProperty(this, 'failover', { value: null, enumerable: false });
      return;
    }
    const { socket, session, bind } = makeSocket(context);
    super(outerConfig(context, socket));
    Object.defineProperty(this, 'failover', { value: context.events, enumerable: false });
    sessions.set(this, session);
    dropIfDoomed(this, () => session.isDoomed);
    const { connection } = this as unknown as OuterClient;
    bind(connection);
    socket.on('backendKeyData', (message: object) => connection.emit('backendKeyData', message));
    // TLS is the hidden connection's; pg must not try it on the virtual socket. `client.ssl` stays as given (T13).
    Object.assign(connection, { ssl: false });
    connection.prependListener('errorMessage', session.passage.receive);
  }
}

knowCopies(Client, 'pg.client');

type AnyQuery = (this: Client, config: unknown, values?: unknown, callback?: unknown) => unknown;

// Not a method of the class: its one signature would hide pg's overloads from everybody's types.
Object.defineProperty(Client.prototype, 'query', {
  configurable: true,
  writable: true,
  enumerable: false,
  value: function query(this: Client, config: unknown, values?: unknown, callback?: unknown): unknown {
    // Looked up at each call: tracing tools patch pg's prototype at any time.
    const stock = (StockClient.prototype as unknown as { query: AnyQuery }).query;
    const { connectionParameters } = this as unknown as OuterClient;
    const limit = queryTimeout(config) ?? connectionParameters.query_timeout;
    const session = limit ? sessions.get(this) : undefined;
    if (session === undefined) return stock.call(this, config, values, callback);
    const plain = (query: unknown): unknown => stock.call(this, query);
    const isActive = (query: unknown): boolean => (this as unknown as OuterClient)._activeQuery === query;
    return withdrawable(session, limit, plain, isActive, config, values, callback);
  },
});

/** The query's own limit, if it is one that pg makes a Query of. */
function queryTimeout(config: unknown): unknown {
  return typeof config === 'object' && config !== null
    ? (config as { query_timeout?: unknown }).query_timeout
    : undefined;
}

/** True if the client is inside a transaction that is gone (A13). */
export function isDoomed(client: object): boolean {
  return sessions.get(client)?.isDoomed ?? false;
}

/** The application has given up on what the client does (R15): what still waits is never sent. */
export function withdraw(client: object): void {
  sessions.get(client)?.withdraw();
}

/**
 * The same, and the server is told to stop. Resolves when it has, or after `dialTimeoutMillis`.
 *
 * @returns undefined for a client without failover
 */
export function cancel(client: object): Promise<void> | undefined {
  return sessions.get(client)?.cancel();
}

function makeSocket(context: SessionContext): {
  socket: VirtualSocket;
  session: LogicalSession;
  bind: (connection: OuterConnection) => void;
} {
  let outer: OuterConnection | null = null;
  let made: LogicalSession | null = null;
  const socket = new VirtualSocket((virtual) => {
    const session = new LogicalSession(virtual, context);
    made = session;
    return new ClientSocket(virtual, session, () => outer!);
  });
  return {
    socket,
    session: made!,
    bind: (connection) => {
      outer = connection;
    },
  };
}

/** What pg's own constructor gets: the resolved configuration, but on the virtual socket. */
function outerConfig(context: SessionContext, socket: VirtualSocket): pg.ClientConfig {
  const { clientConfig } = context.resolved;
  return { ...clientConfig, password: clientConfig['password'], stream: () => socket } as pg.ClientConfig;
}
