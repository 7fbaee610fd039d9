import { FAILED } from '../session/journal.ts';
import { planLoss } from '../session/loss-plan.ts';
import type { LossPlan, MarkState, PendingUnit } from '../session/loss-situation.ts';
import type { CommitMark } from './commit-mark.ts';
import type { Conversation } from './conversation.ts';
import type { Judgement } from './judgement.ts';
import type { PgUnit } from './pg-unit.ts';
import type { SessionContext } from './session-context.ts';
import type { SessionMemory } from './session-memory.ts';
import type { StatementText } from './statement-text.ts';
import type { TransactionMarks } from './transaction-marks.ts';
import { endingOf, isTransactionControl, onlyOpens, opensTransaction, proofOf } from './unit-facts.ts';

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
  #judgedAnew: ReadonlyMap<StatementText, Judgement> = new Map();

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

  judgedAnew(judged: ReadonlyMap<StatementText, Judgement>): void {
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
    const unreplayable = journal.open ? (journal.unreplayable ?? refusal ?? memory.knownRefusal) : null;
    return planLoss({
      open: journal.open,
      failed: journal.status === FAILED,
      unreplayable:
        unreplayable ??
        (journal.units.some((unit) => this.#mayHaveActedOutside(unit)) ? ACTED_OUTSIDE : null),
      mark: this.#currentMarkState(),
      pending: this.pending(),
    });
  }

  /** The pending units as the loss plan sees them. */
  pending(): readonly PendingUnit[] {
    const { conversation } = this.#session;
    return conversation.pending.map((unit, index) => {
      const actsOutside = this.#mayHaveActedOutside(unit) ? ACTED_OUTSIDE : null;
      return {
        sent: unit.writtenTo > unit.start,
        given: index === 0 && conversation.given > 0,
        ending: endingOf(unit),
        opens: opensTransaction(unit),
        repeatable:
          !unit.dropped && ((onlyOpens(unit) && actsOutside === null) || this.judge(unit).provedRead),
        actsOutside,
        proof: proofOf(unit),
        withdrawn: unit.withdrawn,
      };
    });
  }

  /** What is proved of a unit: nothing, as long as nobody could judge it. */
  judge(unit: PgUnit): { readonly provedRead: boolean; readonly staysInside: boolean } {
    let provedRead = unit.texts.length > 0;
    let staysInside = provedRead;
    for (const text of unit.texts) {
      const judgement = this.#judgement(text);
      provedRead &&= judgement?.provedRead ?? false;
      staysInside &&= judgement?.staysInside ?? false;
    }
    return { provedRead, staysInside };
  }

  /**
   * A7: a second run would do it a second time. At the loss only what is known to act outside counts; on the new
   * connection everything was judged, and what nobody could judge counts as well.
   */
  #mayHaveActedOutside(unit: PgUnit): boolean {
    const { context, isConnected } = this.#session;
    if (context.options.onOutsideEffects === 'replay' || isTransactionControl(unit)) return false;
    return unit.texts.some((text) => {
      const judgement = this.#judgement(text);
      return judgement === null ? isConnected : !judgement.staysInside;
    });
  }

  #judgement(text: StatementText): Judgement | null {
    const { context, memory } = this.#session;
    return this.#judgedAnew.get(text) ?? context.database.known(text, memory.judged);
  }

  /**
   * What was known of the xid when the connection was lost; statements that had not been judged then may be by now, on
   * the new connection.
   */
  #currentMarkState(): MarkState {
    const { pending, journal } = this.#session.conversation;
    // Without its journal nobody knows any more what ran.
    if (this.#markState === 'known' || journal.unreplayable !== null) return this.#markState;
    const ran = [...journal.units, ...pending.filter((unit) => unit.writtenTo > unit.start)];
    const judged = ran
      .filter((unit) => !isTransactionControl(unit))
      .map((unit) => ({ ...this.judge(unit), countedAsRead: unit.countedAsRead }));
    if (judged.every(({ provedRead }) => provedRead)) return 'only-read';
    // A definition was changed meanwhile: nobody asked for its xid, and it may have had one.
    if (judged.some(({ provedRead, countedAsRead }) => countedAsRead && !provedRead)) return 'unknown';
    return this.#wasUncovered || judged.some(({ staysInside }) => !staysInside) ? 'unknown' : 'no-xid';
  }
}
