import type { RowShape } from '../wire/row-shape.ts';
import { ENVIRONMENT, TOKEN } from '../wire/token-kind.ts';

const RAW_CHANGES: ReadonlySet<number> = new Set([
  ENVIRONMENT.database,
  ENVIRONMENT.language,
  ENVIRONMENT.collation,
]);

/**
 * The bytes of a token that two servers agree on if they give the same result: without names of servers, numbers of
 * lines, descriptors of transactions, and how values are cut into pieces (facts on SQL Server, "Digest").
 */
export function meaningOf(
  kind: number,
  bytes: Buffer,
  start: number,
  end: number,
  shape: RowShape | null,
): Buffer {
  switch (kind) {
    case TOKEN.row:
    case TOKEN.nullBitmapRow:
      return shape === null ? bytes.subarray(start, end) : shape.canonical(bytes, start, end);
    case TOKEN.error:
    case TOKEN.info: {
      // number, state, class, text
      const characters = bytes.readUInt16LE(start + 9);
      return bytes.subarray(start + 3, start + 11 + characters * 2);
    }
    case TOKEN.environmentChange:
      return RAW_CHANGES.has(bytes[start + 3]!)
        ? bytes.subarray(start, end)
        : bytes.subarray(start + 3, start + 4);
    default:
      return bytes.subarray(start, end);
  }
}

/** The number of an ERROR or INFO token. */
export function numberOf(bytes: Buffer, start: number): number {
  return bytes.readInt32LE(start + 3);
}
