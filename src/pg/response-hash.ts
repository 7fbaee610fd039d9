import type { ResponseDigest } from '../session/response-digest.ts';
import { BackendType, readErrorFields } from './backend-messages.ts';

/** Bytes of a description that matter, put together for hashing. Grows to the largest one seen. */
let scratch = Buffer.allocUnsafe(1024);

/**
 * Feeds one backend message into the digest of its unit. Only what an application can see and what a replay on
 * another copy of the cluster must give again counts:
 *
 * - of a RowDescription the names, type OIDs and formats, not table OIDs and column numbers;
 * - of an error its SQLSTATE, not its text, position or source line.
 */
export function digestMessage(
  digest: ResponseDigest,
  type: number,
  bytes: Buffer,
  start: number,
  end: number,
): void {
  const body = start + 5;
  switch (type) {
    case BackendType.DataRow:
    case BackendType.CopyData:
      digest.row(bytes, body, end);
      return;
    case BackendType.RowDescription: {
      const length = copyDescription(bytes, body, end);
      digest.message(scratch, 0, length, type);
      return;
    }
    case BackendType.ErrorResponse: {
      const code = Buffer.from(errorCode(bytes, start, end), 'latin1');
      digest.message(code, 0, code.length, type);
      return;
    }
    default:
      digest.message(bytes, body, end, type);
  }
}

/** What `digestMessage` hashes of a message that is no row, as a range of bytes. Valid until the next call. */
export function hashedPart(type: number, bytes: Buffer, start: number, end: number): Buffer {
  if (type === BackendType.RowDescription) return scratch.subarray(0, copyDescription(bytes, start + 5, end));
  if (type === BackendType.ErrorResponse) return Buffer.from(errorCode(bytes, start, end), 'latin1');
  return bytes.subarray(start + 5, end);
}

export function errorCode(bytes: Buffer, start: number, end: number): string {
  return readErrorFields(bytes, start + 5, end).get('C') ?? '';
}

function copyDescription(bytes: Buffer, body: number, end: number): number {
  if (end - body > scratch.length) scratch = Buffer.allocUnsafe((end - body) * 2);
  let at = body + 2;
  let used = 0;
  while (at < end) {
    const nameEnd = bytes.indexOf(0, at) + 1;
    used += bytes.copy(scratch, used, at, nameEnd);
    // Skipped: table OID (4), column number (2). Kept: type OID (4). Skipped: size (2), modifier (4). Kept: format (2).
    used += bytes.copy(scratch, used, nameEnd + 6, nameEnd + 10);
    used += bytes.copy(scratch, used, nameEnd + 16, nameEnd + 18);
    at = nameEnd + 18;
  }
  return used;
}
