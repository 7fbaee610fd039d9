import { EventEmitter } from 'node:events';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { HostAddress } from '../topology/host-address.ts';
import { BackendType } from './backend-messages.ts';
import { DirectSocket } from './direct-socket.ts';
import { ServerConnection } from './server-connection.ts';
import { StockClient } from './stock-pg.ts';
import { newStream, streamFunctionOf, type Transport } from './transport.ts';

/** The subset of pg's Client and Connection that dialling needs. */
interface StockConnection extends EventEmitter {
  stream: Transport;
}
interface ClientToDial extends EventEmitter {
  connection: StockConnection;
  connect(): Promise<unknown>;
  query(text: string, values?: unknown[]): Promise<{ rows: unknown[] }>;
}
type HiddenClientConstructor = new (config: object) => ClientToDial;

/** Tracing libraries wrap methods and keep the original here (shimmer's convention). */
interface Wrapped {
  readonly __original?: unknown;
}

/**
 * A private copy of pg's Client: the same code, but with a prototype of its own, so that nobody who patches
 * `pg.Client.prototype` (tracing tools, tests) gets between the driver and its own connections (trap T11).
 */
const HiddenClient = ((): HiddenClientConstructor => {
  const original = StockClient as unknown as HiddenClientConstructor;
  const descriptors = Object.getOwnPropertyDescriptors(original.prototype as object) as Record<
    string,
    PropertyDescriptor
  >;
  for (const descriptor of Object.values(descriptors)) {
    let value: unknown = descriptor.value;
    while (typeof value === 'function' && typeof (value as Wrapped).__original === 'function') {
      value = (value as Wrapped).__original;
    }
    if (typeof value === 'function') descriptor.value = value;
  }
  const prototype = Object.create(EventEmitter.prototype, descriptors) as object;
  const hidden = function (config: object): unknown {
    return Reflect.construct(original, [config], hidden);
  };
  hidden.prototype = prototype;
  return hidden as unknown as HiddenClientConstructor;
})();

export interface DialOptions {
  /** How long one attempt may take, from TCP to ReadyForQuery; milliseconds. */
  readonly timeoutMillis: number;
  readonly signal: AbortSignal;
  /** What is configured otherwise than the application's own connections are. */
  readonly extra?: object;
}

/**
 * Opens and authenticates one connection with a stock pg client, and takes its socket over: TLS, SCRAM, channel
 * binding and password functions are pg's own (design.md section 2). Rejects with exactly the error that pg gives.
 */
export async function dial(
  clientConfig: object,
  address: HostAddress,
  options: DialOptions,
): Promise<ServerConnection> {
  options.signal.throwIfAborted();
  const application = new ApplicationStream(clientConfig);
  const client = new HiddenClient(configFor(clientConfig, address, options, application));
  client.on('error', () => {
    // The connect promise has the error; afterwards the socket belongs to the ServerConnection, which hears it itself.
  });
  const connection = client.connection;
  const parameters = new Map<string, string>();
  let processId = 0;
  let secretKey = 0;
  connection.on('parameterStatus', (message: { parameterName: string; parameterValue: string }) => {
    parameters.set(message.parameterName, message.parameterValue);
  });
  connection.on('backendKeyData', (message: { processID: number; secretKey: number }) => {
    processId = message.processID;
    secretKey = message.secretKey;
  });
  const tap = new FrameTap();
  const listenFirst = (): void => {
    connection.stream.prependListener('data', tap.take);
  };
  const encrypted = (client as ClientToDial & { ssl?: unknown }).ssl;
  connection.once(encrypted === false || encrypted === undefined ? 'connect' : 'sslconnect', listenFirst);
  const onAbort = (): void => {
    connection.stream.destroy();
  };
  options.signal.addEventListener('abort', onAbort, { once: true });
  try {
    await client.connect();
  } catch (error) {
    connection.stream.destroy();
    options.signal.throwIfAborted();
    throw error;
  } finally {
    options.signal.removeEventListener('abort', onAbort);
  }
  const socket = connection.stream;
  // pg's parser lets go of the stream; what it may hold of an unfinished message is in the tap as well.
  for (const listener of socket.listeners('data')) {
    if (!application.listeners.has(listener)) socket.off('data', listener as () => void);
  }
  const identity = { address, processId, secretKey, parameters };
  return new ServerConnection(socket, tap.leftover(), identity, socket === application.stream);
}

/** A stock client on a socket behind which nobody asks who it is; `config` says how it parses values. */
export async function hiddenClientOn(socket: Duplex, config: object): Promise<ClientToDial> {
  const { types } = config as { types?: unknown };
  const client = new HiddenClient({ stream: () => socket, ssl: false, host: 'localhost', types });
  client.on('error', () => {
    // The connection's owner hears of it, and the statement in flight has it.
  });
  await client.connect();
  return client;
}

/** The stream of one dial if the application makes its streams itself. */
class ApplicationStream {
  readonly #make;
  stream: Transport | null = null;
  /** Its own listeners for 'data', which stay. */
  listeners: ReadonlySet<unknown> = new Set();

  constructor(clientConfig: object) {
    this.#make = streamFunctionOf(clientConfig);
  }

  /** With what pg would call the function with; null if there is none. */
  open(config: object): Transport | null {
    if (this.#make === null) return null;
    this.stream = newStream(this.#make, { ...config, stream: this.#make });
    this.listeners = new Set(this.stream.listeners('data'));
    return this.stream;
  }
}

function configFor(
  clientConfig: object,
  address: HostAddress,
  { timeoutMillis, extra }: DialOptions,
  application: ApplicationStream,
): object {
  const own = clientConfig as { connectionTimeoutMillis?: number; password?: unknown };
  const theirs = own.connectionTimeoutMillis;
  const limit = theirs !== undefined && theirs > 0 ? Math.min(theirs, timeoutMillis) : timeoutMillis;
  return {
    ...clientConfig,
    // Not enumerable where pg-pool or we hid it, so the spread loses it.
    password: own.password,
    host: address.host,
    port: address.port,
    connectionTimeoutMillis: Math.max(1, Math.ceil(limit)),
    stream: (config: { readonly ssl?: unknown }) => application.open(config) ?? ownSocket(config.ssl),
    connection: undefined,
    pipeline: false,
    ...extra,
  };
}

function ownSocket(ssl: unknown): Socket {
  return (ssl === undefined || ssl === false) && DirectSocket.isSafe ? new DirectSocket() : new Socket();
}

/** Follows the framing of the bytes that pg's parser reads, to know what of an unfinished message it holds. */
class FrameTap {
  #rest: Buffer = Buffer.alloc(0);
  #ready = false;

  readonly take = (chunk: Buffer): void => {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    while (bytes.length >= 5) {
      const end = 1 + bytes.readUInt32BE(1);
      if (bytes.length < end) break;
      this.#ready ||= bytes[0] === BackendType.ReadyForQuery;
      bytes = bytes.subarray(end);
    }
    this.#rest = bytes;
  };

  /** Bytes of a message that is not complete yet. */
  leftover(): Buffer {
    return this.#ready ? this.#rest : Buffer.alloc(0);
  }
}
