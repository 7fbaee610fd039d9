import type { PositionSurvey } from './position-poller.ts';

/** One acknowledged transaction until a standby has it. */
export class ReplicationWait {
  readonly #transaction: { readonly incarnation: string };
  readonly #onReached: () => void;
  /** Place in the process-wide order: a position that was asked for behind it lies behind the transaction. */
  #after: number;
  #upTo: bigint | null = null;

  /** @param transaction - `incarnation`: the life of the primary that has it, which may change */
  constructor(transaction: { readonly incarnation: string }, after: number, onReached: () => void) {
    this.#transaction = transaction;
    this.#after = after;
    this.#onReached = onReached;
  }

  /** Another server has it now, or the same one again: what was found out of its position holds no more. */
  restart(after: number): void {
    this.#after = after;
    this.#upTo = null;
  }

  /** True if it is over. */
  surveyed({ incarnation, position, reached }: PositionSurvey, askedSequence: number): boolean {
    if (incarnation !== this.#transaction.incarnation || askedSequence <= this.#after) return false;
    this.#upTo ??= position.position;
    if (reached === null || reached < this.#upTo) return false;
    this.#onReached();
    return true;
  }
}

/** All transactions of a cluster whose answer is held until a standby has them. */
export class ReplicationWaits {
  readonly #waits = new Set<ReplicationWait>();

  get size(): number {
    return this.#waits.size;
  }

  add(wait: ReplicationWait): void {
    this.#waits.add(wait);
  }

  remove(wait: ReplicationWait): void {
    this.#waits.delete(wait);
  }

  surveyed(survey: PositionSurvey, askedSequence: number): void {
    for (const wait of [...this.#waits]) if (wait.surveyed(survey, askedSequence)) this.#waits.delete(wait);
  }
}
