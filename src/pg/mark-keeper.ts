import { FAILED } from '../session/journal.ts';
import { commitMark, MARK_SQL, parseMark, POOLED_MARK_SQL, type CommitMark } from './commit-mark.ts';
import type { Conversation } from './conversation.ts';
import { BackendType, readRow } from './backend-messages.ts';
import { markMessages, SYNC_MESSAGE } from './frontend-messages.ts';
import { HiddenAnswer } from './hidden-answer.ts';
import type { UnitJudgement } from './judge-units.ts';
import type { PgUnit } from './pg-unit.ts';
import type { ProbeResult } from './probe.ts';
import type { ServerConnection } from './server-connection.ts';
import type { SqlRow } from './sql-runner.ts';
import { TransactionMarks } from './transaction-marks.ts';
import { isTransactionControl, mayCopyIn, onlyOpens } from './unit-facts.ts';

const RUN_INSIDE = markMessages(null, true);
const RUN_BEHIND = markMessages(null, false);

/** What the keeper needs of its session. */
export interface MarkHost {
  /** Sends what waited for the mark. */
  flush(): void;
  /** Our own statement has broken the application's transaction: it must be brought back by a replay. */
  cut(): void;
  /** The answer has come from another backend than the session's. */
  sharesBackend(): void;
  /** In the order in which they run. */
  judge(units: readonly PgUnit[]): ReadonlyMap<PgUnit, UnitJudgement>;
}

/**
 * Learns the commit mark of each transaction, with no added round trip (R6): behind a unit that may assign an xid a
 * hidden statement goes out in the same write, inside the unit or behind it. What may end the transaction waits until the
 * answer is in, which the server would have given before in any case: the mark has always arrived when COMMIT is written.
 */
export class MarkKeeper {
  readonly transaction = new TransactionMarks();
  readonly #host: MarkHost;
  readonly #conversation: Conversation;
  #probe: ProbeResult | null = null;
  #works = false;
  #sql = MARK_SQL;
  /** Another backend has answered: nothing is believed any more, and what ends the transaction is not sent. */
  #isElsewhere = false;
  /** The statement is there for certain. Where it may be gone it is prepared anew: a failing Bind would break a transaction. */
  #isPrepared = false;
  /** To be asked for when the unit in flight is answered: COPY allows no hidden messages before. */
  #isDue = false;
  #awaited = 0;
  #insideRequest = 0;
  #isBroken = false;
  /** The mark inside the unit in flight was run: a unit that failed has skipped it, its Parse too. */
  #wasRun = true;

  constructor(host: MarkHost, conversation: Conversation) {
    this.#host = host;
    this.#conversation = conversation;
  }

  /** A new connection; `works` if marks can be made there. */
  connected(probe: ProbeResult, works: boolean): void {
    this.#probe = probe;
    this.#works = works;
    this.#sql = probe.isPooled ? POOLED_MARK_SQL : MARK_SQL;
    this.#isElsewhere = false;
    this.#awaited = 0;
    this.#isBroken = false;
    this.#reset();
    this.statementMayBeGone();
  }

  transactionEnded(): void {
    this.#reset();
    // What was pipelined behind is already on the wire, and may have written in the next transaction.
    this.#count(this.#conversation.pending.filter((unit) => unit.writtenTo > unit.start));
  }

  #count(units: readonly PgUnit[]): void {
    if (units.length === 0) return;
    for (const [unit, judgement] of this.#host.judge(units)) {
      if (isTransactionControl(unit)) continue;
      // What rests on code may have come to write since it was judged: its xid is asked for like any other's.
      const provedRead = judgement.provedRead && !judgement.restsOnCode;
      unit.countedAsRead = provedRead;
      this.transaction.unitSent({ provedRead, staysInside: judgement.staysInside });
    }
  }

  #reset(): void {
    this.transaction.reset();
    this.#isDue = false;
  }

  /** A unit that may have rolled the transaction back has left one open: it has another xid, not known yet. */
  anotherTransaction(unit: PgUnit): void {
    this.transactionEnded();
    if (!isTransactionControl(unit)) this.transaction.unitSent({ provedRead: false, staysInside: false });
  }

  /** DEALLOCATE, DISCARD, or code that nobody could read. */
  statementMayBeGone(): void {
    this.#isPrepared = false;
  }

  /** A unit is about to be written: counts it in if it runs inside a transaction. */
  sending(unit: PgUnit): void {
    if (isTransactionControl(unit) || !this.#isInTransaction(unit)) return;
    // Alone on the wire it belongs to the transaction whose mark is known.
    if (this.transaction.isKnown && this.#conversation.pending.length <= 1) return;
    // Where no marks are made, all that counts is whether it has only read.
    if (!this.#works && this.transaction.isUncovered) return;
    this.#count([unit]);
  }

  /** True if what may end the transaction may have to wait: see `allowsEnding`. */
  get mayDelay(): boolean {
    return this.#awaited > 0 || this.#isElsewhere || this.transaction.wanted;
  }

  /**
   * How the mark goes out with this unit: inside it, where that can be told apart, which costs no message more from the
   * server; else behind it. Null if it is not wanted, or can't go out yet.
   */
  withUnit(unit: PgUnit): { readonly where: 'inside' | 'behind'; readonly messages: Buffer } | null {
    if (!this.#works || !this.transaction.wanted || !unit.closed || this.#awaited > 0) return null;
    if (!this.#isInTransaction(unit)) return null;
    // In a failed transaction it would only fail as well, and behind a COMMIT it would see another one.
    if (this.#conversation.journal.status === FAILED || isTransactionControl(unit)) return null;
    if (mayCopyIn(unit)) {
      this.#isDue = true;
      return null;
    }
    if (unit.isPlain && unit.executes === 1) {
      this.#isBroken = false;
      this.#wasRun = false;
      unit.hasMarkInside = true;
      this.#awaited++;
      this.#insideRequest = this.transaction.request();
      return { where: 'inside', messages: this.#messages(true) };
    }
    return { where: 'behind', messages: Buffer.concat([this.#messages(false), SYNC_MESSAGE]) };
  }

  /** A message of the mark inside a unit. */
  message(type: number, bytes: Buffer, start: number): void {
    this.#wasRun = true;
    if (type === BackendType.DataRow) {
      this.transaction.answered(this.#markOf(readRow(bytes, start + 5)), this.#insideRequest);
    } else if (type === BackendType.ErrorResponse) this.#isBroken = true;
  }

  /** The unit with the mark inside is answered. False if our statement has broken its transaction: then it is cut. */
  unitReady(status: number): boolean {
    this.#awaited--;
    if (!this.#wasRun) this.statementMayBeGone();
    if (!this.#isBroken) return true;
    this.#isBroken = false;
    this.statementMayBeGone();
    if (status !== FAILED) return true;
    this.#host.cut();
    return false;
  }

  /** The mark is being written behind a unit: takes its answer. */
  expect(connection: ServerConnection): void {
    this.#awaited++;
    const request = this.transaction.request();
    connection.expect(
      new HiddenAnswer((error, row, status) => {
        this.#awaited--;
        if (error === null) this.transaction.answered(this.#markOf(row), request);
        else if (status === FAILED && this.#conversation.journal.status !== FAILED) {
          this.#host.cut(); // A late cancel has hit our statement, say.
          return;
        } else this.statementMayBeGone();
        this.#host.flush();
      }),
    );
  }

  /**
   * What may end the transaction is to be written (R6). False: it has to wait until the mark is in, which is asked for
   * if nothing was sent yet that does.
   */
  allowsEnding(connection: ServerConnection): boolean {
    if (this.#isElsewhere) return false;
    if (!this.#works || this.#conversation.journal.status === FAILED) return this.#awaited === 0;
    if (this.#awaited > 0) return false;
    // While its own units are still on their way, asking now would be in front of some of them.
    if (!this.transaction.wanted || !this.#conversation.journal.open) return true;
    this.#isDue = false;
    const messages = Buffer.concat([this.#messages(false), SYNC_MESSAGE]);
    this.expect(connection);
    connection.write(messages);
    return false;
  }

  /** A unit was answered; behind a COPY the mark is asked for now, in front of whatever comes next. */
  afterUnit(connection: ServerConnection): void {
    if (!this.#isDue) return;
    this.#isDue = false;
    if (!this.transaction.wanted || this.#conversation.journal.status === FAILED) return;
    const messages = Buffer.concat([this.#messages(false), SYNC_MESSAGE]);
    this.expect(connection);
    connection.write(messages);
  }

  /** A replay is over: for the server it is another transaction, which needs a mark of its own. */
  async afterReplay(connection: ServerConnection, units: readonly PgUnit[], status: number): Promise<void> {
    this.#count(units);
    if (!this.#works || !this.transaction.wanted || status === FAILED) return;
    const [row] = await connection.run(this.#sql);
    this.transaction.answered(this.#markOf(row ?? null), this.transaction.request());
  }

  #isInTransaction(unit: PgUnit): boolean {
    if (this.#conversation.journal.open || onlyOpens(unit)) return true;
    return this.#conversation.pending.some((one) => one !== unit && onlyOpens(one));
  }

  /** `isUnnamed`: the unnamed portal is free, since the unit that the mark rides in is done with it. */
  #messages(isUnnamed: boolean): Buffer {
    if (this.#isPrepared) return isUnnamed ? RUN_INSIDE : RUN_BEHIND;
    // Behind a pooler the next session may find it, or this one not: there it is made anew each time.
    this.#isPrepared = this.#probe?.isPooled !== true;
    return markMessages(this.#sql, isUnnamed);
  }

  /** Null if no xid was assigned; else how to make the mark, which is needed only if the connection is lost. */
  #markOf(row: SqlRow | null): (() => CommitMark | null) | null {
    const probe = this.#probe;
    if (row === null || probe === null) return null;
    if (probe.isPooled && row[2] !== probe.backendPid) {
      this.#isElsewhere = true;
      setImmediate(() => {
        this.#host.sharesBackend();
      });
      return null;
    }
    if (row[0] === null) return null;
    return () => {
      const found = parseMark(row);
      return found === null ? null : commitMark(found, probe);
    };
  }
}
