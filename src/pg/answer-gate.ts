/**
 * The way of all bytes to the application, which keeps their order while one answer is held back: its place is taken by a
 * buffer of its own, and what comes behind that waits.
 */
export class AnswerGate {
  readonly #pass: (bytes: Buffer) => boolean;
  readonly #queue: Buffer[] = [];
  #queuedBytes = 0;
  /** Null: not settled yet. */
  readonly #places = new Map<Buffer, Buffer | null>();

  constructor(pass: (bytes: Buffer) => boolean) {
    this.#pass = pass;
  }

  /** A place in the order, to be delivered where the answer would have been. */
  hold(): Buffer {
    const place = Buffer.alloc(1);
    this.#places.set(place, null);
    return place;
  }

  /** False: no more is wanted for now. */
  deliver(bytes: Buffer): boolean {
    if (this.#queue.length === 0 && !this.#places.has(bytes)) return this.#pass(bytes);
    this.#queue.push(bytes);
    this.#queuedBytes += bytes.length;
    return this.#drain() && this.#queuedBytes < MAX_QUEUED_BYTES;
  }

  /** What was held back at this place is handed on now. False: no more is wanted for now. */
  settle(place: Buffer, answer: Buffer): boolean {
    this.#places.set(place, answer);
    return this.#drain();
  }

  clear(): void {
    this.#queue.length = 0;
    this.#queuedBytes = 0;
    this.#places.clear();
  }

  #drain(): boolean {
    let isWanted = true;
    for (let [head] = this.#queue; head !== undefined; [head] = this.#queue) {
      const settled = this.#places.get(head);
      if (settled === null) break;
      this.#places.delete(head);
      // Before it is delivered: the application may close its client meanwhile.
      this.#queue.shift();
      this.#queuedBytes -= head.length;
      isWanted = this.#pass(settled ?? head) && isWanted;
    }
    return isWanted;
  }
}

/** What was pipelined behind a held answer may be large: no more of it is read then. */
const MAX_QUEUED_BYTES = 1_048_576;
