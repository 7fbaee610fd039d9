/**
 * A 64-bit hash of a message body, as two independent 32-bit lanes.
 *
 * Each lane is MurmurHash3_x86_32 with its own per-process seed; both share one pass over the bytes. Written here and
 * not taken from a library because it runs once for each row on the hot path: a WebAssembly hash costs a copy and a
 * BigInt a row, `crypto` over a microsecond an object (measured: facts on the driver seam, section 3). The lanes are
 * left in two fields, since returning a pair would allocate for every row.
 *
 * It guards against accidents, not against an adversary who knows the seed.
 */
import { randomInt } from 'node:crypto';

const C1 = 0xcc9e2d51 | 0;
const C2 = 0x1b873593 | 0;

const SEED_A = randomInt(0x100000000) | 0;
const SEED_B = randomInt(0x100000000) | 0;

export class RowHash {
  /** First lane of the last hashed range, a signed 32-bit integer. */
  a = 0;
  /** Second lane of the last hashed range, a signed 32-bit integer. */
  b = 0;

  /** Hashes `bytes[start, end)`; `salt` separates kinds of messages with equal bodies. */
  hash(bytes: Uint8Array, start: number, end: number, salt: number): void {
    let a = SEED_A ^ salt;
    let b = SEED_B ^ Math.imul(salt, 0x9e3779b1);
    let i = start;
    const lastBlock = end - 3;
    while (i < lastBlock) {
      let k = bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24);
      i += 4;
      k = Math.imul(k, C1);
      k = (k << 15) | (k >>> 17);
      k = Math.imul(k, C2);
      a ^= k;
      a = (a << 13) | (a >>> 19);
      a = (Math.imul(a, 5) + 0xe6546b64) | 0;
      b ^= k;
      b = (b << 11) | (b >>> 21);
      b = (Math.imul(b, 9) + 0x52dce729) | 0;
    }
    let k = 0;
    const rest = end - i;
    if (rest > 2) k ^= bytes[i + 2]! << 16;
    if (rest > 1) k ^= bytes[i + 1]! << 8;
    if (rest > 0) {
      k ^= bytes[i]!;
      k = Math.imul(k, C1);
      k = (k << 15) | (k >>> 17);
      k = Math.imul(k, C2);
      a ^= k;
      b ^= Math.imul(k, 0x2c1b3c6d);
    }
    const length = end - start;
    this.a = finish(a ^ length);
    this.b = finish(b ^ Math.imul(length, 0x297a2d39));
  }
}

function finish(value: number): number {
  let h = value;
  h ^= h >>> 16;
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  h ^= h >>> 16;
  return h;
}
