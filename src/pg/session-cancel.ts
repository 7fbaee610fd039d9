import type { SessionState } from '../session/state.ts';
import { sendCancelRequest } from './cancel-request.ts';
import type { Conversation } from './conversation.ts';
import { cancelMessage } from './frontend-messages.ts';
import type { ServerConnection } from './server-connection.ts';
import type { SessionContext } from './session-context.ts';
import { streamFunctionOf, type Transport } from './transport.ts';

/** How long to wait for the statement to end before its server is told again; each time twice as long. */
const FIRST_PAUSE_MILLIS = 10;

/** A session as far as cancelling goes. */
export interface CancelledSession {
  readonly state: SessionState;
  readonly connection: ServerConnection | null;
  readonly conversation: Conversation;
  readonly context: SessionContext;
  /** Nothing of the application's is sent until as many `letGo`. */
  hold(): void;
  letGo(): void;
}

/** Tells servers to stop what they do for a session, with its own key, so that nobody else is ever hit (T10). */
export class SessionCancel {
  readonly #session: CancelledSession;

  constructor(session: CancelledSession) {
    this.#session = session;
  }

  /**
   * Cancels the statement in flight; while the session recovers there is none. Resolves when it is over, at the latest
   * after `dialTimeoutMillis`; rejects if the server can't be told.
   */
  async statement(): Promise<void> {
    const session = this.#session;
    const { connection } = session;
    const [unit] = session.conversation.pending;
    if (connection === null || unit === undefined) return;
    const deadline = performance.now() + session.context.options.dialTimeoutMillis;
    const isAtWork = (): boolean =>
      session.state.kind === 'online' &&
      session.connection === connection &&
      session.conversation.pending[0] === unit;
    // Told again: the server forgets a request that overtakes its statement.
    for (let pause = FIRST_PAUSE_MILLIS; isAtWork() && performance.now() < deadline; pause *= 2) {
      // The request must not reach the server behind the next statement of the same session.
      session.hold();
      try {
        await this.#told(connection);
      } finally {
        if (session.connection === connection) session.letGo();
      }
      if (isAtWork()) await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }

  /** A replay that waits for a lock would go on waiting on the server, and hold the locks that it has. */
  replay(): void {
    const { connection, state } = this.#session;
    if (connection === null || state.kind !== 'replaying') return;
    this.#send(connection, () => undefined)?.unref?.();
  }

  #told(connection: ServerConnection): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#send(connection, (error) => {
        if (error === undefined) resolve();
        else reject(error);
      });
    });
  }

  #send(connection: ServerConnection, done: (error?: Error) => void): Transport | null {
    const { options, resolved } = this.#session.context;
    const { address, processId, secretKey } = connection;
    const makeStream = streamFunctionOf(resolved.clientConfig);
    const target = { address, makeStream, timeoutMillis: options.dialTimeoutMillis };
    return sendCancelRequest(target, cancelMessage(processId, secretKey), done);
  }
}
