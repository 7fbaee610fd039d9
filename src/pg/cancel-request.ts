import { Socket } from 'node:net';
import type { HostAddress } from '../topology/host-address.ts';
import { newStream, type StreamFunction, type Transport } from './transport.ts';

export interface CancelTarget {
  readonly address: HostAddress;
  /** The application's `stream` function, if it has one. */
  readonly makeStream: StreamFunction | null;
  /** For the whole of it. */
  readonly timeoutMillis: number;
}

/**
 * Sends a CancelRequest over a connection of its own, in the clear, as pg does. The server does not answer; it closes
 * the connection when it has passed the signal on, and nobody may close it before: PgBouncer 1.18 dies of that. `done` is
 * called once, with the error if it could not be sent. Returns the connection, if there is one.
 */
export function sendCancelRequest(
  { address: { host, port }, makeStream, timeoutMillis }: CancelTarget,
  request: Buffer,
  done: (error?: Error) => void,
): Transport | null {
  let wire: Transport;
  try {
    wire = makeStream === null ? new Socket() : newStream(makeStream, { stream: makeStream, ssl: false });
  } catch (error) {
    done(error instanceof Error ? error : new Error(String(error)));
    return null;
  }
  let isDone = false;
  const finish = (error?: Error): void => {
    clearTimeout(timer);
    wire.destroy();
    if (!isDone) done(error);
    isDone = true;
  };
  const timer = setTimeout(() => {
    finish(new Error('timeout expired'));
  }, timeoutMillis);
  timer.unref();
  wire.once('connect', () => wire.write(request));
  wire.on('error', finish);
  wire.on('close', () => {
    finish();
  });
  wire.resume();
  // As pg calls it.
  if (host.startsWith('/')) wire.connect?.(`${host}/.s.PGSQL.${port}`);
  else wire.connect?.(port, host);
  return wire;
}
