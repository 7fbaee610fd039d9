/**
 * ALL_HEADERS stands in front of batches, RPCs and transaction requests and holds the descriptor of the transaction in
 * which they are to run (MS-TDS 2.2.5.3): total length, then headers of length, type, data.
 */
const TRANSACTION_DESCRIPTOR_HEADER = 2;

/** "No transaction." */
export const NO_TRANSACTION = Buffer.alloc(8);

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
