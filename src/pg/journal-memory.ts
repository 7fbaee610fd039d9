import type { Coordinator } from '../cluster/coordinator.ts';
import type { Arena } from '../session/arena.ts';
import type { Conversation } from './conversation.ts';
import { NOT_KEPT } from './kept-answer.ts';
import type { PgUnit } from './pg-unit.ts';

export interface JournalMemoryLimits {
  readonly maxJournalBytes: number;
  readonly maxProcessJournalBytes: number;
}

/** Memory that an idle session keeps without accounting for it. */
const IDLE_BYTES = 65_536;

/**
 * Keeps one session's journal within its own and the process's limit (R7, design.md section 9): past it, what runs goes
 * on, but can no longer be replayed, and says so.
 */
export class JournalMemory {
  readonly #arena: Arena;
  readonly #conversation: Conversation;
  readonly #coordinator: Coordinator;
  readonly #limits: JournalMemoryLimits;
  readonly #sessionId: number;
  /** Bytes reserved of the process's. */
  #reserved = 0;
  /** Bytes of answers that are kept with the journal. */
  #kept = 0;

  constructor(
    arena: Arena,
    conversation: Conversation,
    coordinator: Coordinator,
    limits: JournalMemoryLimits,
    sessionId: number,
  ) {
    this.#arena = arena;
    this.#conversation = conversation;
    this.#coordinator = coordinator;
    this.#limits = limits;
    this.#sessionId = sessionId;
  }

  /** Makes room for so many more bytes; returns from where on the arena must be kept. */
  beforeAppend(bytes: number): number {
    const { maxJournalBytes, maxProcessJournalBytes } = this.#limits;
    let keepFrom = this.#keepFrom();
    if (this.#kept > 0 && this.#arena.end - keepFrom + bytes + this.#kept > maxJournalBytes)
      this.#forgetAnswers();
    if (this.#arena.end - keepFrom + bytes > maxJournalBytes) {
      this.#drop('failover.maxJournalBytes', maxJournalBytes);
      keepFrom = this.#keepFrom();
    }
    if (!this.#reserve(this.#arena.capacityWith(bytes, keepFrom))) {
      this.#forgetAnswers();
      if (!this.#reserve(this.#arena.capacityWith(bytes, keepFrom))) {
        this.#drop('failover.maxProcessJournalBytes', maxProcessJournalBytes);
        keepFrom = this.#keepFrom();
      }
    }
    return keepFrom;
  }

  /**
   * What was kept of the unit's answer counts as well. Past a limit all such answers are let go: the statements can still
   * be replayed, but not with the values that they gave.
   */
  keepAnswer(unit: PgUnit): void {
    const { journal } = this.#conversation;
    if (journal.units.length <= 1) this.#kept = 0;
    if (unit.answer === null || journal.units.at(-1) !== unit) return;
    this.#kept += unit.answer.length;
    const used = this.#arena.end - this.#keepFrom() + this.#kept;
    if (used > this.#limits.maxJournalBytes || !this.#reserve(this.#arena.capacity)) this.#forgetAnswers();
  }

  /** Nothing is pending and no transaction is open: the memory is free. `inUse`: the socket still holds some of it. */
  idle(inUse: boolean): void {
    this.#arena.clear(inUse);
    this.release();
  }

  /** Gives the process's share back. */
  release(): void {
    this.#kept = 0;
    if (this.#reserved === 0) return;
    this.#coordinator.reserveJournal(-this.#reserved);
    this.#reserved = 0;
  }

  /** Takes the process's share for so much memory of the arena, and the answers. */
  #reserve(capacity: number): boolean {
    const growth = capacity + this.#kept - IDLE_BYTES - this.#reserved;
    if (growth <= 0) return true;
    if (!this.#coordinator.reserveJournal(growth)) return false;
    this.#reserved += growth;
    return true;
  }

  #forgetAnswers(): void {
    for (const unit of this.#conversation.journal.units) if (unit.answer !== null) unit.answer = NOT_KEPT;
    this.#kept = 0;
  }

  #keepFrom(): number {
    let keepFrom = this.#conversation.journal.keepFrom(this.#arena.end);
    for (const unit of this.#conversation.pending) {
      // Of a unit that can't be sent again only what was not written yet is needed, and the short ones as a whole: the
      // answer to a COMMIT that the driver gives itself is made from its messages.
      const from = unit.dropped && unit.end - unit.start > IDLE_BYTES ? unit.writtenTo : unit.start;
      if (from < keepFrom) keepFrom = from;
    }
    return keepFrom;
  }

  #drop(limit: string, value: number): void {
    const { journal, pending } = this.#conversation;
    let changed = false;
    if (journal.open && journal.unreplayable === null) {
      journal.makeUnreplayable(`its statements take more than the ${value} bytes of ${limit}`);
      changed = true;
    }
    for (const unit of pending) {
      if (unit.dropped || unit.writtenTo === unit.start) continue;
      unit.dropped = true;
      changed = true;
    }
    if (!changed) return;
    this.#coordinator.publish('limitReached', {
      session: this.#sessionId,
      limit,
      value,
      consequence: 'what is running goes on, but can not be replayed if its server is lost',
    });
  }
}
