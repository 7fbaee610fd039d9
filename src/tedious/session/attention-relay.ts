import type { TdsEndpoint } from '../endpoint/tds-endpoint.ts';
import type { Receiver, ServerConnection } from '../link/server-connection.ts';
import { attentionAnswer } from './local-answers.ts';
import type { TdsUnit } from './tds-unit.ts';

/**
 * ATTENTION: the application waits for two messages, the cut answer and an acknowledgement (MS-TDS 2.2.1.7). The second
 * one comes from the server, or from here where that is gone.
 */
export class AttentionRelay {
  readonly #endpoint: TdsEndpoint;
  #isOwed = false;

  constructor(endpoint: TdsEndpoint) {
    this.#endpoint = endpoint;
  }

  relay(connection: ServerConnection): void {
    this.#isOwed = true;
    const receiver: Receiver = {
      token: () => undefined,
      paused: () => undefined,
      ended: () => {
        this.#acknowledge();
      },
      // The session is told of the loss, and answers then.
      abandoned: () => undefined,
    };
    connection.attention(receiver);
  }

  /** The server is gone that was asked to stop: what it was to stop is not run again. */
  connectionLost(pending: readonly TdsUnit[]): void {
    const unit = pending.find(({ isCancelled }) => isCancelled);
    if (unit !== undefined) {
      unit.isAbandoned = true;
      this.#endpoint.answer(CUT, true);
      this.#isOwed = true;
    }
    if (this.#isOwed) this.#acknowledge();
  }

  answerLocally(): void {
    this.#isOwed = true;
    this.#acknowledge();
  }

  #acknowledge(): void {
    if (!this.#isOwed) return;
    this.#isOwed = false;
    this.#endpoint.answer(attentionAnswer(), true);
  }
}

/** DONE with its error bit: the answer was cut. */
const CUT = Buffer.from([0xfd, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
