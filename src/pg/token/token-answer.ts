import { BackendType } from '../backend-messages.ts';
import { errorCode } from '../response-hash.ts';
import type { Responder } from '../responder.ts';
import { tokenWasWritten, type TokenRefusal } from './unit-token.ts';

/** Takes the answer to a token that goes out as a unit of its own. */
export class TokenAnswer implements Responder {
  readonly #done: (refusal: TokenRefusal | null, wasWritten: boolean) => void;
  #refusal: TokenRefusal | null = null;
  #wasWritten = false;

  /** @param done not called if the connection is lost before */
  constructor(done: (refusal: TokenRefusal | null, wasWritten: boolean) => void) {
    this.#done = done;
  }

  message(type: number, bytes: Buffer, start: number, end: number): boolean {
    if (type === BackendType.ErrorResponse) {
      this.#refusal ??= {
        code: errorCode(bytes, start, end),
        message: Buffer.from(bytes.subarray(start, end)),
      };
    } else if (type === BackendType.DataRow) this.#wasWritten = tokenWasWritten(bytes, start);
    return false;
  }

  ready(): boolean {
    this.#done(this.#refusal, this.#wasWritten);
    return false;
  }

  abandoned(): void {
    // The session is told of the loss as a whole.
  }
}
