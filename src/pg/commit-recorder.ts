import type { ServerIdentity } from '../cluster/member.ts';
import { IDLE } from '../session/journal.ts';
import type { CommitMark } from './commit-mark.ts';
import { CommittedTransaction, type CommittedOn } from './committed-transaction.ts';
import type { UnitCompleted } from './conversation.ts';
import type { PgUnit } from './pg-unit.ts';
import type { ProbeResult } from './probe.ts';
import type { SessionContext } from './session-context.ts';
import type { Principal } from './principal.ts';
import type { StatementText } from './statement-text.ts';
import type { JudgedSession } from './statement-judge.ts';
import type { TransactionMarks } from './transaction-marks.ts';
import { endingOf, isSessionCommand, isTransactionControl, preparedAs, proofOf } from './unit-facts.ts';

/** A session whose acknowledged transactions are to be kept. */
export interface RecordedSession {
  readonly id: number;
  readonly context: SessionContext;
  readonly probe: ProbeResult | null;
  readonly server: ServerIdentity | null;
  readonly marks: { readonly transaction: TransactionMarks };
  readonly memory: { readonly judged: JudgedSession; principal(own: readonly StatementText[]): Principal };
  /** Bytes of the arena. */
  bytesBetween(from: number, to: number): Buffer;
}

/** What a finished piece of work was, as far as the log needs it. */
interface Work {
  readonly units: readonly PgUnit[];
  readonly isComplete: boolean;
  readonly mark: (() => CommitMark | null) | null;
  readonly isWrite: boolean;
}

/**
 * Puts one session's acknowledged transactions into the committed log of its cluster (R9). Reads do not get there: a
 * transaction without an xid, and a statement that is proved to only read.
 */
export class CommitRecorder {
  readonly #session: RecordedSession;
  readonly #isOn: boolean;
  readonly #isRerun: boolean;
  readonly #bytesBetween: (from: number, to: number) => Buffer;
  /** The connection, as long as its probe is the same. */
  #on: CommittedOn | null = null;
  #probe: ProbeResult | null = null;

  constructor(session: RecordedSession) {
    this.#session = session;
    this.#bytesBetween = (from, to) => session.bytesBetween(from, to);
    this.#isRerun = session.context.options.lostCommits === 'reapply';
    this.#isOn = session.context.options.lostCommits !== 'ignore';
  }

  /**
   * A unit was answered; called before anybody forgets what it was about.
   *
   * @param isHeld - its answer is to be held back, so it is kept in any case
   * @returns what it has committed; null if nothing; 'unknown' if nobody can find out about it
   */
  completed(
    { unit, status, wasOpen, ended, before }: UnitCompleted,
    isHeld = false,
  ): CommittedTransaction | 'unknown' | null {
    if (!this.#isOn && !isHeld) return null;
    if (ended && unit.committed) {
      return wasOpen ? this.#endedTransaction(unit, before) : this.#statement(unit);
    }
    return !wasOpen && status === IDLE && unit.error === null ? this.#statement(unit) : null;
  }

  /**
   * The connection is lost, and this first pending unit had been answered in part: that may have said that it is committed.
   * `isHeld`, and returns: as `completed`.
   */
  lost(
    unit: PgUnit,
    isOpen: boolean,
    journal: readonly PgUnit[],
    isHeld = false,
  ): CommittedTransaction | 'unknown' | null {
    if (!this.#isOn && !isHeld) return null;
    const proof = proofOf(unit);
    if (proof === 'committed' && isOpen) return this.#endedTransaction(unit, journal);
    const isStatement = proof === 'committed' || (proof === 'completed' && !isOpen);
    return isStatement ? this.#statement(unit) : null;
  }

  /**
   * It was found out on this server that a COMMIT in doubt had taken effect (A5): the application is told so now. `isHeld`, and
   * returns: as `completed`.
   */
  resolved(
    unit: PgUnit,
    journal: readonly PgUnit[],
    mark: CommitMark | null,
    isHeld = false,
  ): CommittedTransaction | 'unknown' | null {
    if (!this.#isOn && !isHeld) return null;
    const units = [...journal, unit];
    // What was pipelined in front of the COMMIT and never answered could not be compared if it ran again.
    const isComplete = journal.every(({ digest, synthetic }) => digest !== null || synthetic !== null);
    // By whichever of them: it was found with all of them.
    return this.#add(unit, { units, isComplete, mark: () => mark, isWrite: true }, unit.tokenKeys);
  }

  #endedTransaction(unit: PgUnit, journal: readonly PgUnit[]): CommittedTransaction | 'unknown' | null {
    const { transaction } = this.#session.marks;
    const mark = transaction.take();
    // Of a string that goes on behind its COMMIT mark and token tell only half.
    const isWhole = ENDS.has(endingOf(unit));
    const wasWritten = unit.token?.wasWritten ?? null;
    if (isWhole && (wasWritten === false || (mark === null && transaction.hasNoXid))) return null;
    return this.#add(unit, {
      // Without what came before it, the COMMIT alone says nothing.
      units: journal.length > 0 ? [...journal, unit] : NOTHING,
      isComplete: isWhole,
      mark: isWhole ? mark : null,
      isWrite: mark !== null || (isWhole && wasWritten === true),
    });
  }

  #statement(unit: PgUnit): CommittedTransaction | 'unknown' | null {
    const { context, memory } = this.#session;
    if (unit.texts.length === 0 || isSessionCommand(unit)) return null;
    if (isTransactionControl(unit) && !unit.texts.some(endsPrepared)) return null;
    // Of a string that goes on behind its COMMIT the token tells only half.
    const isWhole = !unit.committed || ENDS.has(endingOf(unit));
    const wasWritten = isWhole ? (unit.token?.wasWritten ?? null) : null;
    // By the server's own word there was nothing to commit.
    if (wasWritten === false) return null;
    let staysInside = true;
    let provedRead = true;
    for (const text of unit.texts) {
      const judgement = context.database.known(text, memory.judged);
      provedRead &&= judgement?.provedRead ?? false;
      staysInside &&= judgement?.staysInside ?? false;
    }
    if (provedRead) return null;
    return this.#add(unit, {
      units: [unit],
      isComplete: true,
      mark: null,
      isWrite: wasWritten === true || (unit.changedRows && staysInside),
    });
  }

  /** @param tokens those of earlier attempts alone say nothing of what was acknowledged without one */
  #add(
    unit: PgUnit,
    { units, isComplete, mark, isWrite }: Work,
    tokens: readonly Buffer[] = unit.token === null ? NO_TOKENS : unit.tokenKeys,
  ): CommittedTransaction | 'unknown' {
    const session = this.#session;
    const on = this.#connection();
    if (on === null) return 'unknown';
    const { coordinator, committed } = session.context;
    const areKept = units.length > 0 && !units.some((one) => one.dropped);
    const facts = {
      on,
      units: areKept ? units : NOTHING,
      isComplete: isComplete && areKept,
      mark,
      tokens,
      preparedAs: preparedAs(unit),
      isWrite,
      judged: session.memory.judged,
      principal: this.#isRerun ? session.memory.principal(unit.texts) : NOT_NEEDED,
      sentSequence: unit.sentSequence,
      acknowledgedSequence: coordinator.nextSequence(),
      sentAtMillis: unit.sentAtMillis,
      acknowledgedAtMillis: Date.now(),
    };
    const transaction = new CommittedTransaction(facts, this.#bytesBetween);
    coordinator.acknowledged(transaction, committed);
    return transaction;
  }

  /** Null where the server does not tell who it is and where its log is: nothing could ever be found out. */
  #connection(): CommittedOn | null {
    const { id, context, probe, server } = this.#session;
    if (this.#on !== null && this.#probe === probe) return this.#on;
    this.#probe = probe;
    this.#on = null;
    if (probe === null || server === null || probe.incarnation === null) return null;
    if (probe.timeline === null || probe.insertLsn === null) return null;
    this.#on = {
      context,
      session: id,
      address: server.address,
      incarnation: probe.incarnation,
      timeline: probe.timeline,
      probe,
    };
    return this.#on;
  }
}

const NOTHING: readonly PgUnit[] = [];
const NOT_NEEDED: Principal = { kind: 'unknown', reason: 'nobody asked for it' };
const NO_TOKENS: readonly Buffer[] = [];

const ENDS: ReadonlySet<string> = new Set(['commit', 'commit-and-chain', 'prepare', 'trailing-commit']);

function endsPrepared({ commands }: { readonly commands: readonly string[] }): boolean {
  return commands.includes('commit-prepared') || commands.includes('rollback-prepared');
}
