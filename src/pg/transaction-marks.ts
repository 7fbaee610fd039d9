import type { MarkState } from '../session/loss-plan.ts';
import type { CommitMark } from './commit-mark.ts';

/**
 * What is known of the xid of the open transaction (R6). The mark is asked for behind each unit that may assign an xid
 * until it is there; the answer must have arrived before COMMIT is written.
 */
export class TransactionMarks {
  #mark: CommitMark | (() => CommitMark | null) | null = null;
  /** A unit ran that is not proved to read only, and no answer has covered it yet. */
  #uncovered = false;
  /** Some unit of the transaction was not proved to read only. */
  #mayHaveWritten = false;
  /** Some unit may have acted outside of this database, or without an xid (A7). */
  #mayHaveActedOutside = false;

  get mark(): CommitMark | null {
    // Read only when a connection is lost, so it is made then.
    if (typeof this.#mark === 'function') this.#mark = this.#mark();
    return this.#mark;
  }

  /** A unit of the transaction is written to the server. */
  unitSent(unit: { readonly provedRead: boolean; readonly staysInside: boolean }): void {
    if (unit.provedRead) return;
    this.#uncovered = true;
    this.#mayHaveWritten = true;
    if (!unit.staysInside) this.#mayHaveActedOutside = true;
  }

  /** The hidden statement behind a unit has answered; null: no xid was assigned up to there. */
  answered(mark: (() => CommitMark | null) | null): void {
    this.#mark ??= mark;
    this.#uncovered = false;
  }

  /** True if the xid is still to be asked for. */
  get wanted(): boolean {
    return this.#mark === null && this.#uncovered;
  }

  get state(): MarkState {
    if (this.mark !== null) return 'known';
    if (!this.#mayHaveWritten) return 'only-read';
    return this.#uncovered || this.#mayHaveActedOutside ? 'unknown' : 'no-xid';
  }

  /** The transaction is over, or its server is lost: a replay is another transaction with a mark of its own. */
  reset(): void {
    this.#mark = null;
    this.#uncovered = false;
    this.#mayHaveWritten = false;
    this.#mayHaveActedOutside = false;
  }
}
