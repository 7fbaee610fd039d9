/**
 * The keys of commit tokens: uuids of version 7, whose first 48 bits are a time in milliseconds.
 *
 * The time is the server's, not ours (A11): read when a connection was made, and carried on by a monotonic clock. It
 * need not be right. A key that is too old is refused by the server, and the transaction rolled back; one that is too
 * new is purged late. No answer rests on it.
 */
import { randomFillSync } from 'node:crypto';

/** What a server said of its clock, and of how far its tokens were purged. */
export interface TokenTime {
  /** Milliseconds since 1970 by the server's clock. */
  readonly serverMillis: number;
  /** Keys up to these milliseconds are not taken any more. */
  readonly watermarkMillis: number;
}

export interface TokenKeysOptions {
  /** A clock that never goes back; milliseconds. Default performance.now. */
  readonly now?: () => number;
  /** Fills with randomness. Default node:crypto's. */
  readonly fillRandom?: (bytes: Buffer) => void;
}

/** A key in the form of a binary parameter. */
export type TokenKey = Buffer;

const KEY_BYTES = 16;
const RANDOM_BYTES_A_KEY = 8;
/** Drawing them one by one costs more than everything else. */
const KEYS_A_BLOCK = 512;
const MAX_COUNTER = 0xfff;
/** A clock that was read anew and is behind by less than this is waited for, so that keys do not go back. */
const MAX_WAIT_MILLIS = 1_000;

/**
 * Makes the keys of one database's tokens in this process. Each is greater than the one before, but when the server's
 * clock was read anew and is far behind.
 */
export class TokenKeys {
  readonly #now: () => number;
  readonly #fillRandom: (bytes: Buffer) => void;
  readonly #block = Buffer.alloc(KEYS_A_BLOCK * RANDOM_BYTES_A_KEY);
  #used = this.#block.length;
  /** The server's clock less ours. */
  #offsetMillis: number | null = null;
  /** The watermark is below it. */
  #leastMillis = 0;
  #lastMillis = 0;
  #counter = 0;
  #lastMadeAt: number | null = null;

  constructor({ now = () => performance.now(), fillRandom = randomFillSync }: TokenKeysOptions = {}) {
    this.#now = now;
    this.#fillRandom = fillRandom;
  }

  /** False until a server has told its time: no keys before that. */
  get hasTime(): boolean {
    return this.#offsetMillis !== null;
  }

  /** By our clock, when the last key was made; null if none was. */
  get lastMadeAt(): number | null {
    return this.#lastMadeAt;
  }

  /** A server has just said what time it is. Keys follow it from now on, above its watermark. */
  observe({ serverMillis, watermarkMillis }: TokenTime): void {
    this.#offsetMillis = serverMillis - this.#now();
    this.#leastMillis = watermarkMillis + 1;
    const next = Math.max(Math.floor(serverMillis), this.#leastMillis);
    if (this.#lastMillis - next > MAX_WAIT_MILLIS) this.#lastMillis = next - 1;
    // A process that was copied while it stood still, with its machine, must not make its twin's keys.
    this.#used = this.#block.length;
  }

  /** @throws Error if no time was observed yet */
  next(): TokenKey {
    if (this.#offsetMillis === null) throw new Error('no server has told its time yet');
    const random = this.#random();
    const now = this.#now();
    this.#lastMadeAt = now;
    const millis = Math.max(Math.floor(this.#offsetMillis + now), this.#leastMillis);
    if (millis > this.#lastMillis || this.#counter === MAX_COUNTER) {
      // With more keys in one millisecond than there are numbers, the next one is begun early.
      this.#lastMillis = Math.max(millis, this.#lastMillis + 1);
      this.#counter = 0;
    } else {
      this.#counter += 1;
    }
    const key = Buffer.allocUnsafe(KEY_BYTES);
    key.writeUIntBE(this.#lastMillis, 0, 6);
    key.writeUInt16BE(0x7000 | this.#counter, 6);
    this.#block.copy(key, 8, random, random + RANDOM_BYTES_A_KEY);
    key[8] = 0x80 | (key[8]! & 0x3f);
    return key;
  }

  #random(): number {
    if (this.#used === this.#block.length) {
      this.#fillRandom(this.#block);
      this.#used = 0;
    }
    const at = this.#used;
    this.#used += RANDOM_BYTES_A_KEY;
    return at;
  }
}

/** The key as PostgreSQL writes a uuid. */
export function tokenText(key: TokenKey): string {
  const hex = key.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** The time in a key, in milliseconds. */
export function tokenMillis(key: TokenKey): number {
  return key.readUIntBE(0, 6);
}
