import { RowHash } from './row-hash.ts';

/**
 * What the application was given for one unit, as 64-bit digests (design.md section 2, "Results are compared twice").
 *
 * A response is a series of messages, some of which are rows. Runs of rows count twice: as a sequence, and as a
 * multiset (count, sum and xor of the row hashes), because SELECT without ORDER BY comes back in another order after a
 * promotion in 8 of 8 cases (design review C). A complete result matches if its multiset form matches.
 *
 * Digests are made over whole messages, never over what the network happened to deliver together, since a replay
 * arrives in other chunks.
 */
export interface UnitDigest {
  /** Fold of all messages with runs of rows in their multiset form. */
  readonly multisetA: number;
  readonly multisetB: number;
  /** Fold of all messages in the order in which they came. */
  readonly sequenceA: number;
  readonly sequenceB: number;
  /** Messages counted, rows included. */
  readonly messages: number;
  /** ReadyForQuery's status byte: part of the digest (R13). */
  readonly status: number;
}

/** True if the two responses gave the application the same results (R4, R5). */
export function sameResults(one: UnitDigest, other: UnitDigest): boolean {
  return (
    one.multisetA === other.multisetA &&
    one.multisetB === other.multisetB &&
    one.messages === other.messages &&
    one.status === other.status
  );
}

/** True if the results are the same and came in the same order. */
export function sameSequence(one: UnitDigest, other: UnitDigest): boolean {
  return sameResults(one, other) && one.sequenceA === other.sequenceA && one.sequenceB === other.sequenceB;
}

/**
 * What was already handed over of a response that never became complete. A new answer to the same unit must contain
 * it: see `ResumeFilter`.
 */
export interface PartialResponse {
  /**
   * The complete parts: for each message that is no row its two lanes; a run of rows that another message ended counts
   * as five values (count, sums, xors) before it.
   */
  readonly items: Int32Array;
  /** Tells for each item whether it is a message (2 values) or a run of rows (5 values). */
  readonly kinds: Uint8Array;
  /** Rows of the unfinished run. */
  readonly rows: number;
  /** Hashes of the rows of the unfinished run, two lanes a row; null if there were more than `maxKeptRows`. */
  readonly rowHashes: Int32Array | null;
  /** Fold in sequence of the rows of the unfinished run. */
  readonly rowSequenceA: number;
  readonly rowSequenceB: number;
}

export const ITEM_MESSAGE = 0;
export const ITEM_ROWS = 1;

const ROW_SALT = 0x44;

export class ResponseDigest {
  readonly #hash = new RowHash();
  readonly #maxKeptRows: number;

  #multisetA = 0;
  #multisetB = 0;
  #sequenceA = 0;
  #sequenceB = 0;
  #messages = 0;

  #items = new Int32Array(32);
  #itemsUsed = 0;
  #kinds = new Uint8Array(8);
  #kindsUsed = 0;

  #rows = 0;
  #sumA = 0;
  #sumB = 0;
  #xorA = 0;
  #xorB = 0;
  #rowSequenceA = 0;
  #rowSequenceB = 0;
  #kept = new Int32Array(16);

  /** @param maxKeptRows rows of one unfinished result whose hashes are kept (8 bytes each) */
  constructor(maxKeptRows: number) {
    this.#maxKeptRows = maxKeptRows;
  }

  /** Messages taken so far, rows included. Zero: the application was given nothing yet. */
  get messages(): number {
    return this.#messages;
  }

  /** Starts a new response. Memory of a large earlier one is let go. */
  reset(): void {
    this.#multisetA = 0;
    this.#multisetB = 0;
    this.#sequenceA = 0;
    this.#sequenceB = 0;
    this.#messages = 0;
    this.#itemsUsed = 0;
    this.#kindsUsed = 0;
    this.#rows = 0;
    this.#sumA = 0;
    this.#sumB = 0;
    this.#xorA = 0;
    this.#xorB = 0;
    this.#rowSequenceA = 0;
    this.#rowSequenceB = 0;
    if (this.#kept.length > 4096) this.#kept = new Int32Array(16);
    if (this.#items.length > 4096) this.#items = new Int32Array(32);
  }

  /** Takes a message which is no row; `salt` is its type, so that equal bodies of other types differ. */
  message(bytes: Uint8Array, start: number, end: number, salt: number): void {
    this.#endRows();
    const hash = this.#hash;
    hash.hash(bytes, start, end, salt);
    this.#item(ITEM_MESSAGE, 2);
    const at = this.#itemsUsed;
    this.#items[at] = hash.a;
    this.#items[at + 1] = hash.b;
    this.#itemsUsed = at + 2;
    this.#fold(hash.a, hash.b);
    this.#sequenceA = foldLane(this.#sequenceA, hash.a);
    this.#sequenceB = foldLane(this.#sequenceB, hash.b);
    this.#messages++;
  }

  /** Takes one row. */
  row(bytes: Uint8Array, start: number, end: number): void {
    const hash = this.#hash;
    hash.hash(bytes, start, end, ROW_SALT);
    const { a, b } = hash;
    const index = this.#rows++;
    this.#sumA = (this.#sumA + a) | 0;
    this.#sumB = (this.#sumB + b) | 0;
    this.#xorA ^= a;
    this.#xorB ^= b;
    this.#rowSequenceA = foldLane(this.#rowSequenceA, a);
    this.#rowSequenceB = foldLane(this.#rowSequenceB, b);
    this.#sequenceA = foldLane(this.#sequenceA, a);
    this.#sequenceB = foldLane(this.#sequenceB, b);
    this.#messages++;
    if (index < this.#maxKeptRows) {
      if (index * 2 + 2 > this.#kept.length) this.#kept = grown(this.#kept);
      this.#kept[index * 2] = a;
      this.#kept[index * 2 + 1] = b;
    }
  }

  /** Lanes of the last row or message taken; valid until the next one. */
  get lastA(): number {
    return this.#hash.a;
  }

  get lastB(): number {
    return this.#hash.b;
  }

  /** Ends the response with ReadyForQuery's status byte. */
  finish(status: number): UnitDigest {
    this.#endRows();
    return {
      multisetA: this.#multisetA,
      multisetB: this.#multisetB,
      sequenceA: this.#sequenceA,
      sequenceB: this.#sequenceB,
      messages: this.#messages,
      status,
    };
  }

  /** What was taken so far, as a copy. */
  partial(): PartialResponse {
    const overCap = this.#rows > this.#maxKeptRows;
    return {
      items: this.#items.slice(0, this.#itemsUsed),
      kinds: this.#kinds.slice(0, this.#kindsUsed),
      rows: this.#rows,
      rowHashes: overCap ? null : this.#kept.slice(0, this.#rows * 2),
      rowSequenceA: this.#rowSequenceA,
      rowSequenceB: this.#rowSequenceB,
    };
  }

  /** A run of rows is over: it enters the fold as one value that does not depend on the rows' order. */
  #endRows(): void {
    if (this.#rows === 0) return;
    this.#item(ITEM_ROWS, 5);
    const items = this.#items;
    const at = this.#itemsUsed;
    items[at] = this.#rows;
    items[at + 1] = this.#sumA;
    items[at + 2] = this.#sumB;
    items[at + 3] = this.#xorA;
    items[at + 4] = this.#xorB;
    this.#itemsUsed = at + 5;
    this.#fold(this.#rows, this.#rows);
    this.#fold(this.#sumA, this.#sumB);
    this.#fold(this.#xorA, this.#xorB);
    this.#rows = 0;
    this.#sumA = 0;
    this.#sumB = 0;
    this.#xorA = 0;
    this.#xorB = 0;
    this.#rowSequenceA = 0;
    this.#rowSequenceB = 0;
  }

  #fold(a: number, b: number): void {
    this.#multisetA = foldLane(this.#multisetA, a);
    this.#multisetB = foldLane(this.#multisetB, b);
  }

  #item(kind: number, values: number): void {
    if (this.#itemsUsed + values > this.#items.length) this.#items = grown(this.#items);
    if (this.#kindsUsed === this.#kinds.length) {
      const kinds = new Uint8Array(this.#kinds.length * 2);
      kinds.set(this.#kinds);
      this.#kinds = kinds;
    }
    this.#kinds[this.#kindsUsed++] = kind;
  }
}

/** Order matters: fold(fold(x, a), b) differs from fold(fold(x, b), a). */
function foldLane(fold: number, lane: number): number {
  const mixed = Math.imul(fold ^ lane, 0x9e3779b1);
  return (((mixed << 13) | (mixed >>> 19)) + 0x165667b1) | 0;
}

function grown(values: Int32Array): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(values.length * 2);
  larger.set(values);
  return larger;
}
