import { isKept } from './pinning/given-answer.ts';

/** In the place of an answer that was too long to keep. */
export const NOT_KEPT: Buffer = Buffer.alloc(0);

const INITIAL_BYTES = 1024;
/** A larger one is not kept for the next answer. */
const MAX_IDLE_BYTES = 65_536;
/** Of an answer of which only the beginning counts. */
const BEGINNING_BYTES = 8_192;

/**
 * Gathers what is kept of the answer that is under way, so that a replay can give the same values again. One a session:
 * where nothing is to be kept it costs a comparison for each message.
 */
export class KeptAnswer {
  readonly #maxBytes: number;
  #bytes = Buffer.allocUnsafeSlow(INITIAL_BYTES);
  #used = 0;
  #limit = 0;
  #isTooLong = false;

  /** @param maxBytes - of a longer answer nothing is kept */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** The next answer begins. */
  begin(keeps: 'all' | 'beginning' | 'nothing'): void {
    this.#used = 0;
    this.#isTooLong = false;
    this.#limit = keeps === 'nothing' ? 0 : keeps === 'all' ? this.#maxBytes : BEGINNING_BYTES;
    if (this.#bytes.length > MAX_IDLE_BYTES) this.#bytes = Buffer.allocUnsafeSlow(INITIAL_BYTES);
  }

  /** A message for the application. */
  add(type: number, bytes: Buffer, start: number, end: number): void {
    if (this.#limit === 0 || !isKept(type)) return;
    const used = this.#used + end - start;
    if (used > this.#limit) {
      // The beginning is what was kept up to here.
      if (this.#limit !== BEGINNING_BYTES) this.#isTooLong = true;
      this.#limit = 0;
      return;
    }
    if (used > this.#bytes.length) this.#grow(used);
    bytes.copy(this.#bytes, this.#used, start, end);
    this.#used = used;
  }

  /** What was kept, or null if there was nothing to keep. */
  take(): Buffer | null {
    if (this.#isTooLong) return NOT_KEPT;
    if (this.#used === 0) return null;
    const kept = Buffer.from(this.#bytes.subarray(0, this.#used));
    this.#used = 0;
    return kept;
  }

  #grow(atLeast: number): void {
    let length = this.#bytes.length;
    while (length < atLeast) length *= 2;
    const larger = Buffer.allocUnsafeSlow(length);
    this.#bytes.copy(larger, 0, 0, this.#used);
    this.#bytes = larger;
  }
}
