import { connect, type Socket } from 'node:net';
import type { HostAddress } from '../topology/host-address.ts';

/**
 * Sends a CancelRequest over a connection of its own, in the clear, as pg does. The server does not answer; it closes
 * the connection when it has passed the signal on. `done` is called once, with the error if it could not be sent.
 */
export function sendCancelRequest(
  { host, port }: HostAddress,
  request: Buffer,
  timeoutMillis: number,
  done: (error?: Error) => void,
): Socket {
  const target = host.startsWith('/') ? { path: `${host}/.s.PGSQL.${port}` } : { host, port };
  const wire = connect(target, () => wire.end(request));
  let isDone = false;
  const finish = (error?: Error): void => {
    wire.destroy();
    if (!isDone) done(error);
    isDone = true;
  };
  wire.setTimeout(timeoutMillis, () => {
    finish(new Error('timeout expired'));
  });
  wire.on('error', finish);
  wire.on('close', () => {
    finish();
  });
  wire.resume();
  return wire;
}
