import type { LogPosition } from './log-position.ts';

/** An acknowledged transaction that not every candidate for promotion is known to have (R9). */
export interface LoggedTransaction {
  /** The life of the server that has it for certain: where it was acknowledged, or where it was found again. */
  incarnation: string;
  /** Timeline of that life. */
  timeline: number;
  /** Places in the process-wide order of sends and acknowledgements: of what committed it, and of the answer. */
  readonly sentSequence: number;
  readonly acknowledgedSequence: number;
  /** Milliseconds since 1970. */
  readonly acknowledgedAtMillis: number;
  /** Memory that it holds, roughly. */
  readonly bytes: number;
  /** Its commit record lies at or behind this; null if that is not known. */
  notBefore: LogPosition | null;
  /** Its commit record ends at or before this; null until a position was asked for behind the acknowledgement. */
  upTo: LogPosition | null;
  /** Set when it is to be judged: the server that acknowledged it had flushed it. */
  wasFlushed: boolean;
  /** Forgets the application's bytes (D11). */
  discard(): void;
}

export interface CommittedLogLimits {
  readonly maxCommittedLogBytes: number;
  readonly maxCommittedLogTransactions: number;
  readonly maxCommittedLogAgeMillis: number;
}

/** The option that made transactions fall out, and its value. */
export interface LogOverflow {
  readonly limit: keyof CommittedLogLimits;
  readonly value: number;
}

/** A position of the server's log, and when it was asked for and answered in the process-wide order. */
export interface PositionSample {
  readonly incarnation: string;
  readonly position: LogPosition;
  readonly askedSequence: number;
  readonly answeredSequence: number;
}

/** Vacated places at the front before the array is made anew. */
const MAX_GAP = 1024;

/**
 * The acknowledged transactions of one process on one cluster, in the order of their acknowledgements, for as long as a
 * failover could lose them (design.md section 5). A pure structure: positions, times and the news of a new primary are
 * brought to it.
 *
 * What falls out at a limit is counted, as its loss can't be found any more.
 */
export class CommittedLog<Transaction extends LoggedTransaction = LoggedTransaction> {
  readonly #limits: CommittedLogLimits;
  /** Places in front of the first one are null: they must not keep what was dropped in memory. */
  #entries: (Transaction | null)[] = [];
  /** Index of the first one. */
  #head = 0;
  /** Index of the first one without an upper bound; those before all have one. */
  #unbounded = 0;
  #bytes = 0;
  #dropped = 0;
  #overflows = false;
  /** The last two, the newer one first: the newest may have been answered behind a COMMIT that was on its way. */
  #samples: readonly PositionSample[] = [];
  #flushed: { readonly incarnation: string; readonly position: bigint } | null = null;

  constructor(limits: CommittedLogLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#entries.length - this.#head;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** How many have fallen out at a limit. */
  get dropped(): number {
    return this.#dropped;
  }

  /** The acknowledged transactions now, in order. */
  entries(): readonly Transaction[] {
    return this.#entries.slice(this.#head) as Transaction[];
  }

  /** Returns the limit that has made older ones fall out, the first time since all was purged; else null. */
  add(entry: Transaction): LogOverflow | null {
    entry.notBefore ??= this.#lowerBound(entry);
    this.#entries.push(entry);
    this.#bytes += entry.bytes;
    return this.#shrink(entry.acknowledgedAtMillis);
  }

  /** A position was read on the primary: nothing that was acknowledged before it was asked for lies behind it. */
  sampled(sample: PositionSample): void {
    this.#samples = [sample, ...this.#samples.slice(0, 1)];
    let index = Math.max(this.#unbounded, this.#head);
    for (; index < this.#entries.length; index++) {
      const entry = this.#entries[index]!;
      if (entry.acknowledgedSequence > sample.askedSequence) break;
      // One that was acknowledged elsewhere waits to be judged.
      if (entry.incarnation === sample.incarnation) entry.upTo ??= sample.position;
    }
    this.#unbounded = index;
  }

  /** Every candidate has all of the log of this life up to `position`: what lies before can't be lost. */
  purge(incarnation: string, position: bigint): void {
    while (this.#head < this.#entries.length) {
      const entry = this.#entries[this.#head]!;
      if (entry.incarnation !== incarnation || entry.upTo === null || entry.upTo.position > position) break;
      this.#dropFirst();
    }
    // Purged to the end: the next time that it overflows is news.
    if (this.size === 0) this.#overflows = false;
    this.#compact();
  }

  /** This life of the primary has flushed its log up to here. */
  flushed(incarnation: string, position: bigint): void {
    this.#flushed = { incarnation, position };
  }

  /** What is too old falls out; as `add` does. */
  expire(nowMillis: number): LogOverflow | null {
    return this.#shrink(nowMillis);
  }

  /** True if there are some that were acknowledged on another life of a server than this one. */
  hasUnsettled(incarnation: string): boolean {
    for (let index = this.#head; index < this.#entries.length; index++) {
      if (this.#entries[index]!.incarnation !== incarnation) return true;
    }
    return false;
  }

  /** Takes those out. */
  takeUnsettled(incarnation: string): readonly Transaction[] {
    const taken: Transaction[] = [];
    const kept: Transaction[] = [];
    for (let index = this.#head; index < this.#entries.length; index++) {
      const entry = this.#entries[index]!;
      (entry.incarnation === incarnation ? kept : taken).push(entry);
    }
    for (const entry of taken) entry.wasFlushed = this.#wasFlushed(entry);
    if (taken.length > 0) this.#replace(kept);
    return taken;
  }

  /** Puts back what was found again, or could not be judged yet. */
  putBack(entries: readonly Transaction[]): void {
    if (entries.length === 0) return;
    const all = [...entries, ...this.entries()];
    all.sort((one, other) => one.acknowledgedSequence - other.acknowledgedSequence);
    this.#replace(all);
  }

  #replace(entries: readonly Transaction[]): void {
    this.#entries = entries.slice();
    this.#head = 0;
    this.#unbounded = 0;
    this.#bytes = entries.reduce((sum, entry) => sum + entry.bytes, 0);
  }

  #wasFlushed({ incarnation, upTo }: Transaction): boolean {
    const flushed = this.#flushed;
    return flushed?.incarnation === incarnation && upTo !== null && upTo.position <= flushed.position;
  }

  #lowerBound(entry: Transaction): LogPosition | null {
    const sample = this.#samples.find((one) => one.answeredSequence < entry.sentSequence);
    return sample?.incarnation === entry.incarnation ? sample.position : null;
  }

  #shrink(nowMillis: number): LogOverflow | null {
    let overflow: LogOverflow | null = null;
    for (let limit = this.#exceeded(nowMillis); limit !== null; limit = this.#exceeded(nowMillis)) {
      overflow ??= { limit, value: this.#limits[limit] };
      this.#dropped++;
      this.#dropFirst();
    }
    this.#compact();
    if (overflow === null || this.#overflows) return null;
    this.#overflows = true;
    return overflow;
  }

  #exceeded(nowMillis: number): keyof CommittedLogLimits | null {
    const first = this.#entries[this.#head];
    if (first === undefined || first === null) return null;
    if (this.#bytes > this.#limits.maxCommittedLogBytes) return 'maxCommittedLogBytes';
    if (this.size > this.#limits.maxCommittedLogTransactions) return 'maxCommittedLogTransactions';
    if (nowMillis - first.acknowledgedAtMillis > this.#limits.maxCommittedLogAgeMillis)
      return 'maxCommittedLogAgeMillis';
    return null;
  }

  #dropFirst(): void {
    const entry = this.#entries[this.#head]!;
    this.#entries[this.#head] = null;
    this.#head++;
    this.#bytes -= entry.bytes;
    entry.discard();
  }

  #compact(): void {
    if (this.#head === this.#entries.length) this.#replace([]);
    else if (this.#head >= MAX_GAP && this.#head * 2 >= this.#entries.length) {
      this.#entries = this.#entries.slice(this.#head);
      this.#unbounded = Math.max(0, this.#unbounded - this.#head);
      this.#head = 0;
    }
  }
}
