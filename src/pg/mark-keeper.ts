import { FAILED } from '../session/journal.ts';
import { commitMark, MARK_SQL, parseMark, type CommitMark } from './commit-mark.ts';
import type { Conversation } from './conversation.ts';
import { preparedMessages } from './frontend-messages.ts';
import { HiddenAnswer } from './hidden-answer.ts';
import type { PgUnit } from './pg-unit.ts';
import type { ProbeResult } from './probe.ts';
import type { ServerConnection } from './server-connection.ts';
import type { SqlRow } from './sql-runner.ts';
import { TransactionMarks } from './transaction-marks.ts';
import { isTransactionControl, mayCopyIn, onlyOpens } from './unit-facts.ts';

/** What the keeper needs of its session. */
export interface MarkHost {
  /** Nothing of the application's is sent while a hold is on. */
  hold(): void;
  letGo(): void;
  /** Our own statement has broken the application's transaction: it must be brought back by a replay. */
  cut(): void;
  judge(unit: PgUnit): { readonly provedRead: boolean; readonly staysInside: boolean };
}

/**
 * Learns the commit mark of each transaction, with no added round trip (R6): behind a unit that may assign an xid a
 * hidden statement goes out in the same write. The next unit waits until its answer is in, which the server would have
 * given before in any case, so the mark has always arrived when COMMIT is written.
 */
export class MarkKeeper {
  readonly transaction = new TransactionMarks();
  readonly #host: MarkHost;
  readonly #conversation: Conversation;
  #probe: ProbeResult | null = null;
  #works = false;
  /** Statements are prepared under a new name wherever an old one may be gone: a failing Bind would break a transaction. */
  #generation = 0;
  #isPrepared = false;
  /** To be asked for when the unit in flight is answered: COPY allows no hidden messages before. */
  #isDue = false;

  constructor(host: MarkHost, conversation: Conversation) {
    this.#host = host;
    this.#conversation = conversation;
  }

  /** A new connection; `works` if marks can be made there. */
  connected(probe: ProbeResult, works: boolean): void {
    this.#probe = probe;
    this.#works = works;
    this.transactionEnded();
    this.statementMayBeGone();
  }

  transactionEnded(): void {
    this.transaction.reset();
    this.#isDue = false;
  }

  /** DEALLOCATE, DISCARD, or code that nobody could read. */
  statementMayBeGone(): void {
    this.#isPrepared = false;
    this.#generation++;
  }

  /** A unit is about to be written: counts it in if it runs inside a transaction. */
  sending(unit: PgUnit): void {
    if (isTransactionControl(unit) || !this.#isInTransaction(unit)) return;
    this.transaction.unitSent(this.#host.judge(unit));
  }

  /** The hidden statement to go out behind this unit, or null. */
  behind(unit: PgUnit): Buffer | null {
    if (!this.#works || !this.transaction.wanted || !unit.closed) return null;
    // In a failed transaction it would only fail as well.
    if (this.#conversation.journal.status === FAILED) return null;
    if (mayCopyIn(unit)) {
      this.#isDue = true;
      return null;
    }
    return this.#messages();
  }

  /** The messages of `behind` are being written: takes their answer. */
  expect(connection: ServerConnection): void {
    this.#host.hold();
    connection.expect(
      new HiddenAnswer((error, row, status) => {
        if (error === null) this.transaction.answered(this.#markOf(row));
        else if (status === FAILED && this.#conversation.journal.status !== FAILED) {
          this.#host.cut(); // A late cancel has hit our statement, say.
          return;
        } else this.statementMayBeGone();
        this.#host.letGo();
      }),
    );
  }

  /** A unit was answered; behind a COPY the mark is asked for now, in front of whatever comes next. */
  afterUnit(connection: ServerConnection): void {
    if (!this.#isDue) return;
    this.#isDue = false;
    if (!this.transaction.wanted || this.#conversation.journal.status === FAILED) return;
    const messages = this.#messages();
    this.expect(connection);
    connection.write(messages);
  }

  /** A replay is over: for the server it is another transaction, which needs a mark of its own. */
  async afterReplay(connection: ServerConnection, units: readonly PgUnit[], status: number): Promise<void> {
    for (const unit of units)
      if (!isTransactionControl(unit)) this.transaction.unitSent(this.#host.judge(unit));
    if (!this.#works || !this.transaction.wanted || status === FAILED) return;
    const [row] = await connection.run(MARK_SQL);
    this.transaction.answered(this.#markOf(row ?? null));
  }

  #isInTransaction(unit: PgUnit): boolean {
    if (this.#conversation.journal.open || onlyOpens(unit)) return true;
    return this.#conversation.pending.some((one) => one !== unit && onlyOpens(one));
  }

  #messages(): Buffer {
    const text = this.#isPrepared ? null : MARK_SQL;
    this.#isPrepared = true;
    return preparedMessages(`holdfast_mark_${this.#generation}`, text);
  }

  #markOf(row: SqlRow | null): CommitMark | null {
    const found = row === null ? null : parseMark(row);
    return found === null || this.#probe === null ? null : commitMark(found, this.#probe);
  }
}
