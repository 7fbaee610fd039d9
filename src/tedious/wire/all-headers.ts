import { MESSAGE } from './message-type.ts';

/**
 * ALL_HEADERS stands in front of batches, RPCs and transaction requests and holds the descriptor of the transaction in
 * which they are to run (MS-TDS 2.2.5.3): total length, then headers of length, type, data.
 */
const TRANSACTION_DESCRIPTOR_HEADER = 2;

/** "No transaction." */
export const NO_TRANSACTION = Buffer.alloc(8);

export function hasAllHeaders(type: number): boolean {
  return type === MESSAGE.sqlBatch || type === MESSAGE.rpc || type === MESSAGE.transaction;
}

/** Where in the payload the eight bytes of the descriptor begin; -1 if there are none. */
export function descriptorAt(payload: Buffer): number {
  if (payload.length < 4) return -1;
  const end = Math.min(payload.readUInt32LE(0), payload.length);
  for (let at = 4; at + 6 <= end;) {
    const length = payload.readUInt32LE(at);
    if (payload.readUInt16LE(at + 4) === TRANSACTION_DESCRIPTOR_HEADER && at + 14 <= end) return at + 6;
    if (length < 6) return -1;
    at += length;
  }
  return -1;
}

/** Where the body begins. */
export function bodyAt(payload: Buffer): number {
  return payload.length < 4 ? 0 : Math.min(payload.readUInt32LE(0), payload.length);
}

/** ALL_HEADERS with a transaction descriptor and nothing else. */
export function writeAllHeaders(descriptor: Buffer): Buffer {
  const bytes = Buffer.alloc(22);
  bytes.writeUInt32LE(22, 0);
  bytes.writeUInt32LE(18, 4);
  bytes.writeUInt16LE(TRANSACTION_DESCRIPTOR_HEADER, 8);
  descriptor.copy(bytes, 10);
  bytes.writeUInt32LE(1, 18);
  return bytes;
}
