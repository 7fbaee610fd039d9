import { FAILED } from '../session/journal.ts';
import { planLoss } from '../session/loss-plan.ts';
import type { LossPlan, MarkState, PendingUnit } from '../session/loss-situation.ts';
import type { CommitOutcomePolicy } from '../options.ts';
import type { CommitMark } from './commit-mark.ts';
import type { Conversation } from './conversation.ts';
import { judgeUnits, type UnitJudgement } from './judge-units.ts';
import type { RenewedJudgement } from './judgement.ts';
import type { PgUnit } from './pg-unit.ts';
import type { SessionContext } from './session-context.ts';
import type { SessionMemory } from './session-memory.ts';
import type { StatementText } from './statement-text.ts';
import type { TransactionMarks } from './transaction-marks.ts';
import {
  endedPrepared,
  endingOf,
  isOrderSensitive,
  isSessionCommand,
  isTransactionControl,
  onlyOpens,
  opensTransaction,
  proofOf,
} from './unit-facts.ts';

/** The session whose loss is assessed. */
export interface AssessedSession {
  readonly context: SessionContext;
  readonly conversation: Conversation;
  readonly memory: SessionMemory;
  /** It has a server again, over which all its statements were judged. */
  readonly isConnected: boolean;
  /** Why its state can't be restored on the new server; null if it can, or if that is not known yet. */
  readonly refusal: string | null;
}

/** Judging takes some 0.1 ms a text that is not remembered. */
const MAX_JUDGED_AT_LOSS = 500;

/** R7, A7 */
const ACTED_OUTSIDE =
  'one of its statements may have acted outside the database (dblink, foreign tables, COPY … PROGRAM, untrusted ' +
  'languages): see failover.onOutsideEffects';

/**
 * What is known of a session's work when its connection is lost: the facts from which `planLoss` decides. Made twice: at
 * the loss, and again on the new connection, where statements have been judged that nobody could judge before.
 */
export class LossAssessment {
  readonly #session: AssessedSession;
  #mark: CommitMark | null = null;
  #markState: MarkState = 'unknown';
  #wasUncovered = true;
  /** What the new server's catalogue said of the texts, asked after the loss: nothing older may decide. */
  #judgedAnew: ReadonlyMap<StatementText, RenewedJudgement> = new Map();

  constructor(session: AssessedSession) {
    this.#session = session;
  }

  /** Mark of the transaction that was open when the connection was lost. */
  get mark(): CommitMark | null {
    return this.#mark;
  }

  /** The connection under a session that was online is gone: what was known of its transaction's xid is kept. */
  lost(transaction: TransactionMarks): void {
    this.#mark = transaction.mark;
    this.#markState = transaction.state;
    this.#wasUncovered = transaction.isUncovered;
  }

  judgedAnew(judged: ReadonlyMap<StatementText, RenewedJudgement>): void {
    this.#judgedAnew = judged;
  }

  /** The session goes on: from now on definitions may change again. */
  recovered(): void {
    this.#judgedAnew = new Map();
  }

  /** What is to become of the session's work, from what is known now. */
  plan(): LossPlan {
    const { conversation, memory, refusal } = this.#session;
    const { journal } = conversation;
    const judged = this.#judgeAll();
    const unreplayable = journal.open ? (journal.unreplayable ?? refusal ?? memory.knownRefusal) : null;
    return planLoss({
      open: journal.open,
      failed: journal.status === FAILED,
      unreplayable:
        unreplayable ??
        (journal.units.some((unit) => this.#mayHaveActedOutside(unit, judged)) ? ACTED_OUTSIDE : null),
      mark: this.#currentMarkState(judged),
      givenUp: null,
      pending: this.#facts(judged),
    });
  }

  /** The pending units as the loss plan sees them. */
  pending(): readonly PendingUnit[] {
    return this.#facts(this.#judgeAll());
  }

  /** What is proved of units that are sent now, in the order in which they run. */
  judge(units: readonly PgUnit[]): ReadonlyMap<PgUnit, UnitJudgement> {
    return this.#judge(units, this.#session.memory.namesInDoubt);
  }

  /** It is proved to only read, by what can’t have changed meanwhile. Asked of nearly every SELECT, so it allocates nothing. */
  isSurelyRead(unit: PgUnit): boolean {
    const { context, memory } = this.#session;
    const [text] = unit.texts;
    const judgement =
      text !== undefined && unit.texts.length === 1 && !memory.namesInDoubt && this.#judgedAnew.size === 0
        ? context.database.known(text, memory.judged)
        : this.judge([unit]).get(unit);
    return judgement?.provedRead === true && !judgement.restsOnCode;
  }

  /** What is proved of all that ran, or was to run, since the transaction began. */
  #judgeAll(): ReadonlyMap<PgUnit, UnitJudgement> {
    const { conversation, memory, isConnected } = this.#session;
    const { journal, pending } = conversation;
    // At the loss nothing is proved, so it need not hold up everybody: on the new connection all of it is judged.
    if (!isConnected && journal.units.length > MAX_JUDGED_AT_LOSS)
      return this.#judge(pending, memory.namesInDoubt);
    return this.#judge([...journal.units, ...pending], false);
  }

  #judge(units: readonly PgUnit[], isInDoubt: boolean): ReadonlyMap<PgUnit, UnitJudgement> {
    const { context, memory } = this.#session;
    return judgeUnits(
      units,
      (text, inDoubt) => {
        const anew = this.#judgedAnew.get(text);
        return inDoubt
          ? (anew?.inDoubt ?? context.database.known(text, memory.judgedInDoubt))
          : (anew?.byName ?? context.database.known(text, memory.judged));
      },
      { isInDoubt, mayPutOff: context.database.putOff !== 'nothing' },
    );
  }

  /** Units of the journal that keep the recorded precedence when they are replayed (B). */
  orderSensitiveUnits(): ReadonlySet<PgUnit> {
    const { units } = this.#session.conversation.journal;
    const judged = this.#judge(units, false);
    return new Set(
      units.filter(
        (unit) =>
          isOrderSensitive(unit) ||
          (!isTransactionControl(unit) && judged.get(unit)?.orderSensitive === true),
      ),
    );
  }

  #facts(judged: ReadonlyMap<PgUnit, UnitJudgement>): readonly PendingUnit[] {
    const { context, conversation } = this.#session;
    return conversation.pending.map((unit, index) => {
      const actsOutside = this.#mayHaveActedOutside(unit, judged) ? ACTED_OUTSIDE : null;
      const leavesNothingNew =
        (onlyOpens(unit) && actsOutside === null) ||
        isSessionCommand(unit) ||
        (judged.get(unit)?.provedRead ?? false);
      return {
        // An attempt on an earlier server is a question again on this one.
        sent: unit.writtenTo > unit.start || unit.tokenKeys.length > 0,
        given: index === 0 && conversation.given > 0,
        ending: endingOf(unit),
        opens: opensTransaction(unit),
        repeatable: !unit.dropped && leavesNothingNew,
        actsOutside,
        proof: proofOf(unit),
        canBeResolved: canBeResolved(unit, context.options.commitOutcome),
        isAnswered: (unit.token?.isReached === true && unit.error === null) || endedPrepared(unit) !== null,
        verdict: null,
        withdrawn: unit.withdrawn,
      };
    });
  }

  /**
   * A7: a second run would do it a second time. At the loss only what is known to act outside counts; on the new
   * connection everything was judged, and what nobody could judge counts as well.
   */
  #mayHaveActedOutside(unit: PgUnit, judged: ReadonlyMap<PgUnit, UnitJudgement>): boolean {
    const { context, isConnected } = this.#session;
    const judgement = judged.get(unit);
    if (context.options.onOutsideEffects === 'replay' || isTransactionControl(unit)) return false;
    if (judgement === undefined || unit.texts.length === 0) return false;
    return !judgement.staysInside && (judgement.isKnown || isConnected);
  }

  /**
   * What was known of the xid when the connection was lost; statements that had not been judged then may be by now, on
   * the new connection.
   */
  #currentMarkState(judged: ReadonlyMap<PgUnit, UnitJudgement>): MarkState {
    const { pending, journal } = this.#session.conversation;
    if (this.#markState === 'known') return 'known';
    // Without its journal nobody knows any more what ran; and what was judged before the loss decides nothing.
    if (journal.unreplayable !== null || !this.#session.isConnected) return 'unknown';
    const ran = [...journal.units, ...pending.filter((unit) => unit.writtenTo > unit.start)].filter(
      (unit) => !isTransactionControl(unit),
    );
    const isRead = (unit: PgUnit): boolean => judged.get(unit)?.provedRead ?? false;
    // What is a read now need not have been one when it ran: then its xid must have been asked for.
    const wereReads = !this.#wasUncovered || ran.every(({ countedAsRead }) => countedAsRead);
    if (wereReads && ran.every(isRead)) return 'only-read';
    // A definition was changed meanwhile: nobody asked for its xid, and it may have had one.
    if (ran.some((unit) => unit.countedAsRead && !isRead(unit))) return 'unknown';
    const mayHaveActed = ran.some((unit) => judged.get(unit)?.staysInside !== true);
    return this.#wasUncovered || mayHaveActed ? 'unknown' : 'no-xid';
  }
}

/** Apart from a mark, which is the transaction's. A COMMIT PREPARED is found out about by what is prepared. */
function canBeResolved(unit: PgUnit, by: CommitOutcomePolicy): boolean {
  if (unit.tokenKeys.length > 0) return unit.token !== null || unit.writtenTo === unit.start;
  return by !== 'none' && endedPrepared(unit) !== null;
}
