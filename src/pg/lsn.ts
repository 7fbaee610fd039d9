/**
 * A position in PostgreSQL's write-ahead log, in bytes, as an unsigned 64-bit number.
 *
 * It says nothing without its timeline: two timelines use the same numbers for different bytes (design review A15).
 */
export type Lsn = bigint;

const PATTERN = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/;
const LOW_BITS = 32n;
const LOW_MASK = 0xffff_ffffn;

/** Reads `pg_lsn` as the server writes it, such as `0/16B3748`. Throws a RangeError for anything else. */
export function parseLsn(text: string): Lsn {
  const match = PATTERN.exec(text);
  if (match === null) throw new RangeError(`not a log position: "${text}"`);
  return (BigInt(`0x${match[1]!}`) << LOW_BITS) | BigInt(`0x${match[2]!}`);
}

/** As the server writes it: two hexadecimal halves, capitals, no leading zeros. */
export function formatLsn(lsn: Lsn): string {
  return `${hexadecimal(lsn >> LOW_BITS)}/${hexadecimal(lsn & LOW_MASK)}`;
}

/** Negative, zero or positive, for `Array.prototype.sort`. Both must be of one timeline. */
export function compareLsn(left: Lsn, right: Lsn): number {
  if (left === right) return 0;
  return left < right ? -1 : 1;
}

function hexadecimal(half: bigint): string {
  return half.toString(16).toUpperCase();
}
