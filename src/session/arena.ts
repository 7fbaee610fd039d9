/**
 * Bytes of the application's messages of one session: at once the write buffer and the journal.
 *
 * Positions are absolute and only grow, so a unit's range stays valid when live bytes are moved to the front. A
 * transaction costs no garbage: `clear` reuses the memory. Memory handed to a socket may be reused only when the socket
 * has let go of it (driver seam, trap T15): the caller says so with `release`.
 */
const INITIAL_BYTES = 4096;

export class Arena {
  #bytes: Buffer;
  /** Absolute position of the first byte of `#bytes`. */
  #origin = 0;
  #end = 0;

  readonly #softLimitBytes: number;

  /** @param softLimitBytes above it `hasRoom` is false, so that the owner can keep to its limit */
  constructor(softLimitBytes = Number.POSITIVE_INFINITY) {
    this.#bytes = Buffer.allocUnsafeSlow(INITIAL_BYTES);
    this.#softLimitBytes = softLimitBytes;
  }

  /** Absolute position behind the last byte. */
  get end(): number {
    return this.#end;
  }

  /** Bytes of memory held. */
  get capacity(): number {
    return this.#bytes.length;
  }

  /** True if so many more bytes fit without dropping any, growing, or passing the soft limit. */
  hasRoom(length: number): boolean {
    const used = this.#end - this.#origin + length;
    return used <= this.#bytes.length && used <= this.#softLimitBytes;
  }

  /** Appends a copy of `source[start, end)`; bytes before `keepFrom` may be dropped to make room. */
  append(source: Buffer, start: number, end: number, keepFrom: number): void {
    const length = end - start;
    if (this.#end - this.#origin + length > this.#bytes.length) this.#makeRoom(length, keepFrom);
    source.copy(this.#bytes, this.#end - this.#origin, start, end);
    this.#end += length;
  }

  /** A view of the bytes `[from, to)`; valid until they are dropped. */
  view(from: number, to: number): Buffer {
    return this.#bytes.subarray(from - this.#origin, to - this.#origin);
  }

  /**
   * Drops everything. With `inUse` the old memory is left to whoever still holds it; else it is overwritten, so that no
   * password stays there until somebody needs the room (D11).
   */
  clear(inUse: boolean, maxIdleBytes = 65_536): void {
    if (!inUse) this.#bytes.fill(0, 0, this.#end - this.#origin);
    if (inUse || this.#bytes.length > maxIdleBytes) this.#bytes = Buffer.allocUnsafeSlow(INITIAL_BYTES);
    this.#origin = this.#end;
  }

  /** Bytes of memory that will be held once so many more are appended. */
  capacityWith(length: number, keepFrom: number): number {
    let capacity = this.#bytes.length;
    if (this.#end - this.#origin + length <= capacity) return capacity;
    while (capacity < this.#end - keepFrom + length) capacity *= 2;
    return capacity;
  }

  #makeRoom(length: number, keepFrom: number): void {
    const capacity = this.capacityWith(length, keepFrom);
    // Always new memory: the socket may still hold a view of the old one (T15).
    const bytes = Buffer.allocUnsafeSlow(capacity);
    this.#bytes.copy(bytes, 0, keepFrom - this.#origin, this.#end - this.#origin);
    this.#bytes = bytes;
    this.#origin = keepFrom;
  }
}
