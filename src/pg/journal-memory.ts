import type { Coordinator } from '../cluster/coordinator.ts';
import type { Arena } from '../session/arena.ts';
import type { Conversation } from './conversation.ts';

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
    if (this.#arena.end - keepFrom + bytes > maxJournalBytes) {
      this.#drop('failover.maxJournalBytes', maxJournalBytes);
      keepFrom = this.#keepFrom();
    }
    const growth = this.#arena.capacityWith(bytes, keepFrom) - IDLE_BYTES - this.#reserved;
    if (growth > 0) {
      if (this.#coordinator.reserveJournal(growth)) this.#reserved += growth;
      else {
        this.#drop('failover.maxProcessJournalBytes', maxProcessJournalBytes);
        keepFrom = this.#keepFrom();
      }
    }
    return keepFrom;
  }

  /** Nothing is pending and no transaction is open: the memory is free. `inUse`: the socket still holds some of it. */
  idle(inUse: boolean): void {
    this.#arena.clear(inUse);
    this.release();
  }

  /** Gives the process's share back. */
  release(): void {
    if (this.#reserved === 0) return;
    this.#coordinator.reserveJournal(-this.#reserved);
    this.#reserved = 0;
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
