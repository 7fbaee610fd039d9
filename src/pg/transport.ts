import { type Duplex } from 'node:stream';
import type { Socket } from 'node:net';
import { ConfigurationError } from '../errors.ts';

/** What lies under a server connection: a socket, or what an application's `stream` function gave, which may be less. */
export type Transport = Duplex & Partial<Omit<Socket, keyof Duplex>>;

/** pg's `stream` setting as a function; pg calls it with the configuration of its Connection. */
export type StreamFunction = (config: object) => Transport;

/** What pg and the driver call of a stream, whatever it is. */
const METHODS = ['connect', 'setNoDelay', 'on', 'write', 'end', 'destroy', 'pause', 'resume'] as const;

/** Every stream that was ever given. */
const given = new WeakSet();

/** The application's `stream` function, if it has one. */
export function streamFunctionOf(clientConfig: object): StreamFunction | null {
  const { stream } = clientConfig as { readonly stream?: unknown };
  return typeof stream === 'function' ? (stream as StreamFunction) : null;
}

/**
 * A new stream from the application's function.
 *
 * @throws ConfigurationError if it gives something else, or one that it gave before: the conversation with another
 *   server can't go over it
 */
export function newStream(make: StreamFunction, config: object): Transport {
  const stream = make(config);
  const made = stream as Transport | undefined | null;
  const missing = METHODS.find((name) => typeof made?.[name] !== 'function');
  if (missing !== undefined) {
    throw new ConfigurationError(
      `the 'stream' function must return a stream such as net.Socket, but what it returned has no ${missing}()`,
    );
  }
  if (given.has(stream)) {
    throw new ConfigurationError(
      `the 'stream' function has returned the same stream twice: it must make a new one each time`,
    );
  }
  given.add(stream);
  return stream;
}
