import type { Receiver, ServerConnection } from '../link/server-connection.ts';
import type { RequestMessage } from '../wire/request-message.ts';
import { isHandleToken } from './unit-answer.ts';

/** Prepares a statement once more, on a server that does not know it. Null if the server refuses it. */
export function prepareAgain(connection: ServerConnection, message: RequestMessage): Promise<number | null> {
  return new Promise((resolve, reject) => {
    let handle: number | null = null;
    const receiver: Receiver = {
      token: (kind, bytes, start, end) => {
        if (isHandleToken(kind, bytes, start)) handle = bytes.readInt32LE(end - 4);
      },
      paused: () => undefined,
      ended: () => {
        resolve(handle);
      },
      abandoned: reject,
    };
    connection.send({ ...message, reset: 'none' }, receiver);
  });
}
