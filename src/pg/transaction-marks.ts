import type { MarkState } from '../session/loss-situation.ts';
import type { CommitMark } from './commit-mark.ts';

/**
 * What is known of the xid of the open transaction (R6). The mark is asked for behind each unit that may assign an xid
 * until it is there; the answer must have arrived before COMMIT is written.
 */
export class TransactionMarks {
  #mark: CommitMark | (() => CommitMark | null) | null = null;
  /** Units sent that are not proved to read only, and how many of them an answer has covered. */
  #sent = 0;
  #covered = 0;
  /** Where this transaction's count begins: an answer to an older request is about another transaction. */
  #base = 0;
  /** Some unit of the transaction was not proved to read only. */
  #mayHaveWritten = false;
  /** Some unit may have acted outside of this database, or without an xid (A7). */
  #mayHaveActedOutside = false;

  get mark(): CommitMark | null {
    // Read only when a connection is lost, so it is made then.
    if (typeof this.#mark === 'function') this.#mark = this.#mark();
    return this.#mark;
  }

  /** Some unit of the transaction is not proved to read only. */
  get mayHaveWritten(): boolean {
    return this.#mayHaveWritten;
  }

  /** How to make it, for one who needs it later, if at all; null if there is none. */
  take(): (() => CommitMark | null) | null {
    const mark = this.#mark;
    return mark === null || typeof mark === 'function' ? mark : () => mark;
  }

  /** Nothing was sent that may have written, or an answer says that no xid was assigned: there is nothing to commit. */
  get hasNoXid(): boolean {
    return this.#mark === null && (!this.#mayHaveWritten || !this.isUncovered);
  }

  /** True once the mark is there: nothing more has to be noted. */
  get isKnown(): boolean {
    return this.#mark !== null;
  }

  /** A unit of the transaction is written to the server. */
  unitSent(unit: { readonly provedRead: boolean; readonly staysInside: boolean }): void {
    if (unit.provedRead) return;
    this.#sent++;
    this.#mayHaveWritten = true;
    if (!unit.staysInside) this.#mayHaveActedOutside = true;
  }

  /** A mark is asked for now: the number to give to `answered`, so that it covers nothing that is sent later. */
  request(): number {
    return this.#sent;
  }

  /** The hidden statement has answered; null: no xid was assigned when it ran. */
  answered(mark: (() => CommitMark | null) | null, request: number): void {
    if (request <= this.#base) return;
    this.#mark ??= mark;
    this.#covered = Math.max(this.#covered, request);
  }

  /** True if the xid is still to be asked for. */
  get wanted(): boolean {
    return this.#mark === null && this.isUncovered;
  }

  /** Something was sent that may have assigned an xid, and no answer says whether it did. */
  get isUncovered(): boolean {
    return this.#covered < this.#sent;
  }

  get state(): MarkState {
    if (this.mark !== null) return 'known';
    if (!this.#mayHaveWritten) return 'only-read';
    return this.isUncovered || this.#mayHaveActedOutside ? 'unknown' : 'no-xid';
  }

  /** The transaction is over, or its server is lost: a replay is another transaction with a mark of its own. */
  reset(): void {
    this.#mark = null;
    this.#base = this.#sent;
    this.#covered = this.#sent;
    this.#mayHaveWritten = false;
    this.#mayHaveActedOutside = false;
  }
}
