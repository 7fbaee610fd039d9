/** Beyond it the answer is handed on as it comes: then it can't be taken back any more. */
export const MAX_HELD_BYTES = 262_144;

/**
 * Messages of an answer that are kept back until it is complete. An autocommit write whose connection is lost may have to
 * run again, and what was handed over of its first answer could not be taken back (R3).
 */
export class HeldAnswer {
  readonly #runs: Buffer[] = [];
  /** The last messages, as long as they lie one behind the other. */
  #bytes: Buffer | null = null;
  #from = 0;
  #to = 0;
  #length = 0;

  /** Bytes held. */
  get length(): number {
    return this.#length;
  }

  /** Takes a whole message. The memory must stay as it is. */
  push(bytes: Buffer, start: number, end: number): void {
    this.#length += end - start;
    if (this.#bytes === bytes && this.#to === start) {
      this.#to = end;
      return;
    }
    this.#cut();
    this.#bytes = bytes;
    this.#from = start;
    this.#to = end;
  }

  /** All that is held. */
  take(): Buffer {
    this.#cut();
    const [first] = this.#runs;
    return this.#runs.length === 1 && first !== undefined ? first : Buffer.concat(this.#runs, this.#length);
  }

  #cut(): void {
    if (this.#bytes !== null) this.#runs.push(this.#bytes.subarray(this.#from, this.#to));
    this.#bytes = null;
  }
}
