import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareLsn, formatLsn, parseLsn } from '../../../src/pg/lsn.ts';

describe('a log position', () => {
  it('is read as the server writes it', () => {
    expect(parseLsn('0/16B3748')).toBe(0x16b3748n);
    expect(parseLsn('0/0')).toBe(0n);
    expect(parseLsn('1/0')).toBe(0x1_0000_0000n);
    expect(parseLsn('FFFFFFFF/FFFFFFFF')).toBe(0xffff_ffff_ffff_ffffn);
    expect(parseLsn('a/b')).toBe(0xa_0000_000bn);
  });

  it('is written as the server writes it', () => {
    expect(formatLsn(0x16b3748n)).toBe('0/16B3748');
    expect(formatLsn(0xa_0000_000bn)).toBe('A/B');
  });

  it('survives the way there and back, and is ordered by its number', () => {
    const lsn = fc.bigInt(0n, 0xffff_ffff_ffff_ffffn);
    fc.assert(fc.property(lsn, (value) => parseLsn(formatLsn(value)) === value));
    fc.assert(
      fc.property(
        lsn,
        lsn,
        (left, right) => Math.sign(compareLsn(left, right)) === Math.sign(Number(left - right)),
      ),
    );
  });

  it.each(['', '16B3748', '0/', '/0', '0/16B3748 ', '0/1_0', '123456789/0', '-1/0', '0/G'])(
    'is not "%s"',
    (text) => {
      expect(() => parseLsn(text)).toThrow(RangeError);
    },
  );
});
