import { ResponseDigest, type PartialResponse } from './response-digest.ts';

/** What to do with a message of the new answer to a unit that was half delivered. */
export type ResumeVerdict = 'pass' | 'swallow' | 'diverged';

/**
 * Lines up the new answer to a unit with what the application was already given of the old one (R2, R4).
 *
 * Complete parts must come again and are swallowed. Of the unfinished run of rows each row already given is skipped
 * once, wherever it comes (design review C: sound, since if the given rows are a subset of the new result, the
 * application ends up with exactly the new result); the others flow on. A given row that has not come again when the
 * run ends is a divergence (R5).
 *
 * Where more rows were given than hashes were kept, the prefix must come again in the same order.
 */
export class ResumeFilter {
  readonly #given: PartialResponse;
  /** Same measure as the old answer: makes this filter independent of how hashes are folded. */
  readonly #probe: ResponseDigest;
  /** Hash of a given row → how often it is still to be skipped. */
  readonly #toSkip: Map<number, number> | null;
  #left: number;
  #item = 0;
  #value = 0;

  constructor(given: PartialResponse) {
    this.#given = given;
    this.#probe = new ResponseDigest(0);
    this.#left = given.rows;
    this.#toSkip = given.rowHashes === null ? null : countRows(given.rowHashes);
  }

  /** True once everything already given has come again: the filter is not needed any more. */
  get done(): boolean {
    return this.#item === this.#given.kinds.length && this.#left === 0;
  }

  /** A row of the new answer. */
  row(bytes: Uint8Array, start: number, end: number): ResumeVerdict {
    const given = this.#given;
    this.#probe.row(bytes, start, end);
    if (this.#item < given.kinds.length) return 'swallow'; // Part of a run that is compared as a whole when it ends.
    if (this.#left === 0) return 'pass';
    if (this.#toSkip === null) {
      this.#left--;
      if (this.#left > 0) return 'swallow';
      const seen = this.#probe.partial();
      return seen.rowSequenceA === given.rowSequenceA && seen.rowSequenceB === given.rowSequenceB
        ? 'swallow'
        : 'diverged';
    }
    const key = rowKey(this.#probe.lastA, this.#probe.lastB);
    const times = this.#toSkip.get(key);
    if (times === undefined) return 'pass';
    if (times === 1) this.#toSkip.delete(key);
    else this.#toSkip.set(key, times - 1);
    this.#left--;
    return 'swallow';
  }

  /**
   * Another message of the new answer. An error passes: the application's statement failed in truth, and what it was
   * given before is void with it.
   */
  message(bytes: Uint8Array, start: number, end: number, salt: number, isError: boolean): ResumeVerdict {
    const given = this.#given;
    if (this.#item === given.kinds.length) {
      if (isError) {
        this.#left = 0; // What was given is void with it: the filter is done.
        return 'pass';
      }
      return this.#left === 0 ? 'pass' : 'diverged';
    }
    return this.#compare(bytes, start, end, salt) ? 'swallow' : 'diverged';
  }

  /** Compares the run of rows before this message, if there was one, and then the message. */
  #compare(bytes: Uint8Array, start: number, end: number, salt: number): boolean {
    const { items, kinds } = this.#given;
    this.#probe.message(bytes, start, end, salt);
    const seen = this.#probe.partial();
    const itemsSeen = seen.kinds.length;
    for (let i = 0; i < itemsSeen; i++) {
      if (kinds[this.#item + i] !== seen.kinds[i]) return false;
    }
    for (let i = 0; i < seen.items.length; i++) {
      if (items[this.#value + i] !== seen.items[i]) return false;
    }
    this.#item += itemsSeen;
    this.#value += seen.items.length;
    this.#probe.reset();
    return true;
  }
}

/** 53 of the 64 bits, which a number holds exactly. */
function rowKey(a: number, b: number): number {
  return (a >>> 0) * 0x200000 + (b >>> 11);
}

function countRows(rowHashes: Int32Array): Map<number, number> {
  const counts = new Map<number, number>();
  for (let i = 0; i < rowHashes.length; i += 2) {
    const key = rowKey(rowHashes[i]!, rowHashes[i + 1]!);
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return counts;
}
