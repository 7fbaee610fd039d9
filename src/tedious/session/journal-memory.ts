import type { Coordinator } from '../../cluster/coordinator.ts';
import type { Journal } from '../../session/journal.ts';
import type { UnitDigest } from '../../session/response-digest.ts';
import type { TdsUnit } from './tds-unit.ts';

export interface JournalMemoryLimits {
  readonly maxJournalStatements: number;
  readonly maxJournalBytes: number;
  readonly maxProcessJournalBytes: number;
}

const NOT_REPLAYABLE = 'what is running goes on, but can not be replayed if its server is lost';

/**
 * Keeps what one session holds of the application's messages within its own and the process's limits (R7, design.md section 9),
 * and tells when one is passed: the journal of the open transaction, and the rows of a bulk load until all have come.
 */
export class JournalMemory {
  readonly #open: Journal<TdsUnit>;
  readonly #coordinator: Coordinator;
  readonly #limits: JournalMemoryLimits;
  readonly #sessionId: number;
  #journalBytes = 0;
  #bulkLoadBytes = 0;

  constructor(
    open: Journal<TdsUnit>,
    coordinator: Coordinator,
    limits: JournalMemoryLimits,
    sessionId: number,
  ) {
    this.#open = open;
    this.#coordinator = coordinator;
    this.#limits = limits;
    this.#sessionId = sessionId;
  }

  /** A unit goes into the journal, or ends it. Returns true if a transaction of the application's ended with it. */
  complete(unit: TdsUnit, digest: UnitDigest): boolean {
    const open = this.#open;
    const statements = open.units.length + 1;
    const before = open.unreplayable;
    const endedAny = open.complete(unit, digest, false);
    // Of a COMMIT inside of the unit it is no limit that was passed.
    const after = open.unreplayable;
    if (before === null && after !== null && open.open && !unit.committed) {
      const { maxJournalStatements } = this.#limits;
      this.#tell(
        statements > maxJournalStatements ? 'maxJournalStatements' : 'maxJournalBytes',
        NOT_REPLAYABLE,
      );
    }
    return endedAny;
  }

  /** The unit that was completed is accounted for, or all is given back. */
  account(unit: TdsUnit): void {
    const open = this.#open;
    if (!open.open || open.units.length === 0) {
      this.releaseJournal();
      return;
    }
    const bytes = unit.message.payload.length;
    if (this.#coordinator.reserveJournal(bytes)) {
      this.#journalBytes += bytes;
      return;
    }
    const { maxProcessJournalBytes } = this.#limits;
    open.makeUnreplayable(
      `the journals of the process take more than ${maxProcessJournalBytes} bytes (failover.maxProcessJournalBytes)`,
    );
    this.releaseJournal();
    this.#tell('maxProcessJournalBytes', NOT_REPLAYABLE);
  }

  /** More rows of a bulk load have come. False if there is no room for them: none of it is held then. */
  holdBulkLoad(bytes: number): boolean {
    if (this.#coordinator.reserveJournal(bytes)) {
      this.#bulkLoadBytes += bytes;
      return true;
    }
    this.releaseBulkLoad();
    this.#tell('maxProcessJournalBytes', 'a bulk load is refused: nothing of it was sent');
    return false;
  }

  releaseBulkLoad(): void {
    if (this.#bulkLoadBytes > 0) this.#coordinator.reserveJournal(-this.#bulkLoadBytes);
    this.#bulkLoadBytes = 0;
  }

  releaseJournal(): void {
    if (this.#journalBytes > 0) this.#coordinator.reserveJournal(-this.#journalBytes);
    this.#journalBytes = 0;
  }

  #tell(limit: keyof JournalMemoryLimits, consequence: string): void {
    const value = this.#limits[limit];
    this.#coordinator.publish('limitReached', {
      session: this.#sessionId,
      limit: `failover.${limit}`,
      value,
      consequence,
    });
  }
}
