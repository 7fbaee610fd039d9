import { describe, expect, it } from 'vitest';
import { RowHash } from '../../../src/session/row-hash.ts';

const SALT = 0x44;

/** Both lanes, as one exact number where 53 bits are enough, else as text. */
function hashOf(bytes: Uint8Array, start = 0, end = bytes.length, salt = SALT): string {
  const hash = new RowHash();
  hash.hash(bytes, start, end, salt);
  return `${hash.a}:${hash.b}`;
}

function lanes(bytes: Uint8Array): readonly [number, number] {
  const hash = new RowHash();
  hash.hash(bytes, 0, bytes.length, SALT);
  return [hash.a, hash.b];
}

describe('the hash of a row', () => {
  it('depends on the bytes of its range alone', () => {
    const row = Buffer.from('abcdefghijklmnop');
    for (let length = 0; length <= row.length; length++) {
      const expected = hashOf(row.subarray(0, length));
      for (let shift = 0; shift < 5; shift++) {
        const frame = Buffer.concat([
          Buffer.alloc(shift, 0xff),
          row.subarray(0, length),
          Buffer.alloc(9, 0xaa),
        ]);
        expect(hashOf(frame, shift, shift + length)).toBe(expected);
      }
    }
  });

  it('changes with each bit of rows of any length', () => {
    for (let length = 1; length <= 40; length++) {
      const row = Buffer.from(Array.from({ length }, (_, i) => (i * 37 + 11) & 255));
      const seen = new Set([hashOf(row)]);
      for (let bit = 0; bit < length * 8; bit++) {
        const other = Buffer.from(row);
        other[bit >> 3]! ^= 1 << (bit & 7);
        seen.add(hashOf(other));
      }
      expect(seen.size).toBe(length * 8 + 1);
    }
  });

  it('tells zeros by their number', () => {
    const seen = new Set(Array.from({ length: 200 }, (_, length) => hashOf(Buffer.alloc(length))));
    expect(seen.size).toBe(200);
  });

  it('tells messages of other types with equal bodies apart', () => {
    const body = Buffer.from('COMMIT');
    const seen = new Set(Array.from({ length: 128 }, (_, salt) => hashOf(body, 0, body.length, salt)));
    expect(seen.size).toBe(128);
  });

  it('has lanes that are spread evenly and fall together by chance only', () => {
    const ROWS = 200_000;
    const pairs = new Set<string>();
    const firsts = new Map<number, number>();
    let firstCollisions = 0;
    let secondCollisions = 0;
    const seconds = new Set<number>();
    const bits = new Array<number>(64).fill(0);
    for (let i = 0; i < ROWS; i++) {
      // As alike as rows get: a count and a few digits that differ.
      const [a, b] = lanes(
        Buffer.from(`\0\u0002\0\0\0\u0006${String(i).padStart(6, '0')}\0\0\0\u0001x`, 'latin1'),
      );
      pairs.add(`${a}:${b}`);
      if (firsts.has(a)) firstCollisions++;
      firsts.set(a, b);
      if (seconds.has(b)) secondCollisions++;
      seconds.add(b);
      for (let bit = 0; bit < 32; bit++) {
        bits[bit]! += (a >>> bit) & 1;
        bits[bit + 32]! += (b >>> bit) & 1;
      }
    }
    expect(pairs.size).toBe(ROWS);
    // By chance n²/2^33 = 4.7 rows share one lane.
    expect(firstCollisions).toBeLessThan(25);
    expect(secondCollisions).toBeLessThan(25);
    // 8 standard deviations.
    for (const ones of bits) expect(Math.abs(ones - ROWS / 2)).toBeLessThan(8 * Math.sqrt(ROWS / 4));
  });
});
