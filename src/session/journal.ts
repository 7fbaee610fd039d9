import type { UnitDigest } from './response-digest.ts';

/** Status byte of ReadyForQuery. */
export const IDLE = 0x49; // 'I'
export const IN_TRANSACTION = 0x54; // 'T'
export const FAILED = 0x45; // 'E'

/**
 * One unit of the application's conversation: everything up to a Sync, or one Query message. The journal of the open
 * transaction is a series of units with the digests of their answers.
 *
 * An engine adds what it knows of the unit's SQL; the journal never looks into that.
 */
export interface Unit {
  /** Absolute range in the arena; `end` grows while the unit is still being written. */
  readonly start: number;
  end: number;
  /** False while the application may still add to it (no Sync yet, or COPY data to come). */
  closed: boolean;
  /** Up to where its bytes were written to the socket of the current connection; `start` if nothing was. */
  writtenTo: number;
  /** Its bytes are gone (a cap was passed): it can't be sent again. */
  dropped: boolean;
  /** Place in the process-wide order of sends and acknowledgements of this cluster; 0 while not yet (B). */
  sentSequence: number;
  acknowledgedSequence: number;
  /** Null until its ReadyForQuery came. */
  digest: UnitDigest | null;
  /** A COMMIT or PREPARE TRANSACTION tag came in its answer (A1). */
  committed: boolean;
  /** CommandCompletes that came in its answer. */
  completions: number;
  /** An ErrorResponse came in its answer; SQLSTATE. */
  error: string | null;
  /** The application has given up on it (R15). */
  withdrawn: boolean;
}

export interface JournalLimits {
  readonly maxStatements: number;
  readonly maxBytes: number;
}

/**
 * The journal of the open transaction, and the transaction status as the server tells it: ReadyForQuery's status byte
 * *and* the command tags (design.md section 1, review A1).
 */
export class Journal<U extends Unit> {
  readonly #limits: JournalLimits;
  #units: U[] = [];
  #status: number = IDLE;
  #unreplayable: string | null = null;
  #chained: 'no' | 'awaiting-begin' = 'no';

  constructor(limits: JournalLimits) {
    this.#limits = limits;
  }

  /** Status byte of the last ReadyForQuery. */
  get status(): number {
    return this.#status;
  }

  get open(): boolean {
    return this.#status !== IDLE;
  }

  /** Completed units of the open transaction, in order. */
  get units(): readonly U[] {
    return this.#units;
  }

  /** Why the open transaction can't be replayed (R7), or null if it can. */
  get unreplayable(): string | null {
    if (this.#unreplayable !== null) return this.#unreplayable;
    // Without its BEGIN the rest would run in autocommit (A1).
    return this.awaitsChainedBegin ? 'it was begun by COMMIT AND CHAIN and its mode is not known yet' : null;
  }

  /** True after COMMIT AND CHAIN, until the engine has put in the BEGIN that the chained transaction does not have. */
  get awaitsChainedBegin(): boolean {
    return this.#chained === 'awaiting-begin';
  }

  /** First position in the arena that the journal still needs. */
  keepFrom(otherwise: number): number {
    const first = this.#units.find((unit) => unit.end > unit.start);
    return first === undefined ? otherwise : first.start;
  }

  /**
   * Takes a unit whose ReadyForQuery has come.
   *
   * @param chains the unit is a lone COMMIT AND CHAIN: the new transaction has no BEGIN of its own
   * @returns true if a transaction of the application ended with it
   */
  complete(unit: U, digest: UnitDigest, chains: boolean): boolean {
    const before = this.#status;
    unit.digest = digest;
    this.#status = digest.status;
    if (digest.status === IDLE) {
      this.#clear();
      return before !== IDLE || unit.committed;
    }
    if (unit.committed) {
      // A1: whatever the status byte says, the journalled transaction is over and must never be sent again.
      this.#clear();
      if (chains) this.#chained = 'awaiting-begin';
      else
        this.#unreplayable = 'the transaction began inside a multi-statement string that also holds a COMMIT';
      return true;
    }
    if (this.#unreplayable !== null) return false;
    if (unit.dropped) {
      this.makeUnreplayable('a limit of the journal was passed while one of its statements was under way');
      return false;
    }
    this.#units.push(unit);
    if (this.#units.length > this.#limits.maxStatements) {
      this.makeUnreplayable(
        `it has more than ${this.#limits.maxStatements} statements (failover.maxJournalStatements)`,
      );
    } else if (unit.end - this.keepFrom(unit.start) > this.#limits.maxBytes) {
      this.makeUnreplayable(
        `its statements take more than ${this.#limits.maxBytes} bytes (failover.maxJournalBytes)`,
      );
    }
    return false;
  }

  /** Puts in the BEGIN of a chained transaction, made from what the server says of the transaction (A1). */
  beginChained(begin: U): void {
    this.#chained = 'no';
    this.#units.unshift(begin);
  }

  /** From now on the open transaction is not replayable; the reason goes into the error (R7). Frees its units. */
  makeUnreplayable(reason: string): void {
    this.#unreplayable ??= reason;
    this.#units = [];
    this.#chained = 'no';
  }

  /** The transaction is over without an answer of the server's: rolled back, resolved or given up. */
  reset(): void {
    this.#status = IDLE;
    this.#clear();
  }

  #clear(): void {
    if (this.#units.length > 0) this.#units = [];
    this.#unreplayable = null;
    this.#chained = 'no';
  }
}
