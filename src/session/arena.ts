/**
 * Bytes of the application's messages of one session: at once the write buffer and the journal.
 *
 * Positions are absolute and only grow, so a unit's range stays valid when live bytes are moved to the front. A
 * transaction costs no garbage: `clear` reuses the memory. Memory handed to a socket may be reused only when the socket
 * has let go of it (driver seam, trap T15): the caller says so with `release`.
 */
export class Arena {
  #bytes: Buffer;
  /** Absolute position of the first byte of `#bytes`. */
  #origin = 0;
  #end = 0;

  constructor(initialBytes = 4096) {
    this.#bytes = Buffer.allocUnsafeSlow(initialBytes);
  }

  /** Absolute position behind the last byte. */
  get end(): number {
    return this.#end;
  }

  /** Bytes of memory held. */
  get capacity(): number {
    return this.#bytes.length;
  }

  /** Appends a copy of `source[start, end)`; bytes before `keepFrom` may be dropped to make room. */
  append(source: Uint8Array, start: number, end: number, keepFrom: number): void {
    const length = end - start;
    if (this.#end - this.#origin + length > this.#bytes.length) this.#makeRoom(length, keepFrom);
    this.#bytes.set(
      start === 0 && end === source.length ? source : source.subarray(start, end),
      this.#end - this.#origin,
    );
    this.#end += length;
  }

  /** A view of the bytes `[from, to)`; valid until they are dropped. */
  view(from: number, to: number): Buffer {
    return this.#bytes.subarray(from - this.#origin, to - this.#origin);
  }

  /** Drops everything. With `inUse` the old memory is left to whoever still holds it. */
  clear(inUse: boolean, maxIdleBytes = 65_536): void {
    if (inUse || this.#bytes.length > maxIdleBytes) this.#bytes = Buffer.allocUnsafeSlow(4096);
    this.#origin = this.#end;
  }

  #makeRoom(length: number, keepFrom: number): void {
    const live = this.#end - keepFrom;
    let capacity = this.#bytes.length;
    while (capacity < live + length) capacity *= 2;
    // Always new memory: the socket may still hold a view of the old one (T15).
    const bytes = Buffer.allocUnsafeSlow(capacity);
    this.#bytes.copy(bytes, 0, keepFrom - this.#origin, this.#end - this.#origin);
    this.#bytes = bytes;
    this.#origin = keepFrom;
  }
}
