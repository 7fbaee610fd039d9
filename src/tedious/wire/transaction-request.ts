import { bodyAt } from './all-headers.ts';

/** What a transaction manager request asks for (MS-TDS 2.2.6.9), as far as a client without distributed transactions does. */
export type TransactionRequest =
  | { readonly kind: 'begin'; readonly isolation: number; readonly name: string }
  /** `begins`: another transaction begins right behind it. */
  | { readonly kind: 'commit' | 'rollback'; readonly name: string; readonly begins: boolean }
  | { readonly kind: 'save'; readonly name: string }
  | { readonly kind: 'other'; readonly type: number };

const BEGIN = 5;
const COMMIT = 7;
const ROLLBACK = 8;
const SAVE = 9;
const BEGINS_ANOTHER = 1;

/** @param payload of a message of type `MESSAGE.transaction` */
export function readTransactionRequest(payload: Buffer): TransactionRequest {
  const at = bodyAt(payload);
  const type = payload.readUInt16LE(at);
  switch (type) {
    case BEGIN:
      return { kind: 'begin', isolation: payload[at + 2]!, name: nameAt(payload, at + 3) };
    case COMMIT:
    case ROLLBACK: {
      const flags = payload[at + 3 + payload[at + 2]!] ?? 0;
      return {
        kind: type === COMMIT ? 'commit' : 'rollback',
        name: nameAt(payload, at + 2),
        begins: (flags & BEGINS_ANOTHER) !== 0,
      };
    }
    case SAVE:
      return { kind: 'save', name: nameAt(payload, at + 2) };
    default:
      return { kind: 'other', type };
  }
}

/** A byte with the length in bytes, then UTF-16. */
function nameAt(payload: Buffer, at: number): string {
  return payload.toString('utf16le', at + 1, at + 1 + payload[at]!);
}
