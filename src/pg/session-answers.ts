import { InternalError } from '../errors.ts';
import { FAILED, IDLE } from '../session/journal.ts';
import type { Doom } from '../session/loss-situation.ts';
import type { SessionEvent, SessionState } from '../session/state.ts';
import type { ConversationListener, UnitCompleted } from './conversation.ts';
import type { ErrorPassage } from './error-passage.ts';
import { doomError, fateError } from './fate-errors.ts';
import type { IdleAttention } from './idle-attention.ts';
import { endAnswer, errorAnswer } from './local-answers.ts';
import type { LocalResponder } from './local-responder.ts';
import type { PgUnit } from './pg-unit.ts';
import type { ServerConnection } from './server-connection.ts';
import type { SessionCommits } from './session-commits.ts';
import type { SessionContext } from './session-context.ts';
import type { SessionTraffic } from './session-traffic.ts';
import type { SessionWork } from './session-work.ts';

const DIVERGED = {
  kind: 'diverged',
  reason: 'a statement that was in flight gave other results when it ran again',
} as const satisfies Doom;

const NOTHING: readonly Buffer[] = [];

/** A session whose units are answered. */
export interface AnsweredSession {
  readonly id: number;
  readonly context: SessionContext;
  readonly state: SessionState;
  readonly connection: ServerConnection | null;
  /** What the connection was lost to. */
  readonly cause: Error | null;
  readonly passage: ErrorPassage;
  readonly work: SessionWork;
  readonly commits: SessionCommits;
  readonly traffic: SessionTraffic;
  readonly responder: LocalResponder;
  readonly attention: IdleAttention;
  /** Tells the session's machine what happened. */
  dispatch(event: SessionEvent): void;
}

/** What follows in a session from the server's answers to the application's units. */
export class SessionAnswers implements ConversationListener {
  readonly #session: AnsweredSession;

  constructor(session: AnsweredSession) {
    this.#session = session;
  }

  unitCompleted(completed: UnitCompleted): readonly Buffer[] {
    const { unit, status, wasOpen, ended } = completed;
    const { work, traffic } = this.#session;
    const { conversation, marks, memory } = work;
    this.#session.commits.completed(completed);
    if (unit.touchesSession) memory.ran(unit.texts);
    if (unit.token !== null) work.tokens.answered(unit);
    work.context.tokens.prepared.completed(unit);
    traffic.detach(unit);
    work.journalMemory.keepAnswer(unit);
    // Of a unit behind whose end a transaction is open nobody knows what it wrote into that one.
    const isAnother = status !== IDLE && (ended || unit.texts.some((text) => text.mayEnd));
    if (isAnother) marks.anotherTransaction(unit);
    else if (status === IDLE) marks.transactionEnded();
    if (ended || status === IDLE) {
      work.pinned.ended();
      traffic.forgetPortals();
      if (wasOpen) memory.transactionEnded();
    }
    if (status !== IDLE && (!wasOpen || ended)) memory.transactionBegan();
    const { pending, journal } = conversation;
    if (journal.awaitsChainedBegin) work.chained.begin(journal);
    if (pending.length === 0) {
      this.#nothingPending(status);
      return NOTHING;
    }
    traffic.flushSoon();
    const { responder } = this.#session;
    return responder.isNeeded ? responder.settle() : NOTHING;
  }

  /** All that was asked is answered. */
  #nothingPending(status: number): void {
    const { connection, work } = this.#session;
    if (status === IDLE) {
      work.memory.idle();
      work.journalMemory.idle(connection?.hasUnflushedBytes ?? true);
      if (work.memory.wantsAttention) this.#session.attention.wanted();
      work.recorder?.idle();
    } else if (connection !== null) {
      work.marks.afterUnit(connection);
    }
  }

  isToBeHeld(unit: PgUnit): boolean {
    return this.#session.commits.hold.awaits(unit);
  }

  holdAnswer(unit: PgUnit, status: number, rest: Buffer): Buffer {
    return this.#session.commits.hold.placeFor(unit, status, rest);
  }

  /** What was in flight gave other results than what was already handed over: R5, in phase 3. */
  unitDiverged(unit: PgUnit, status: number): readonly Buffer[] {
    const { state, context, work, traffic, responder } = this.#session;
    if (state.kind !== 'online') throw new InternalError(`an answer came while ${state.kind}`);
    traffic.detach(unit);
    const { coordinator } = context;
    coordinator.counters.replaysDiverged++;
    coordinator.publish('replayDiverged', {
      id: 0,
      session: this.#session.id,
      statements: 1,
      durationMillis: 0,
      reason: DIVERGED.reason,
    });
    const isOpen = status !== IDLE;
    if (!isOpen) {
      work.conversation.journal.reset();
      work.marks.transactionEnded();
      work.memory.transactionEnded();
    }
    const newStatus = isOpen ? FAILED : IDLE;
    const answer = unit.answeredLocally ? endAnswer(newStatus) : this.#divergence(unit, newStatus);
    this.#session.dispatch({ kind: 'diverged', epoch: state.epoch, doom: DIVERGED, open: isOpen });
    if (isOpen) {
      responder.doomed(true);
      responder.refuseAll();
    }
    traffic.flushSoon();
    return [answer, ...responder.settle()];
  }

  openUnitDiverged(unit: PgUnit): Buffer {
    this.#session.traffic.closeForReader(unit);
    return this.#divergence(unit, null);
  }

  #divergence(unit: PgUnit, status: number | null): Buffer {
    const { cause, passage, responder } = this.#session;
    // Never a 40001 for what is committed (A6).
    const what = unit.committed ? fateError('lost', cause) : doomError(DIVERGED, null, cause);
    responder.failed(unit, what);
    return errorAnswer(passage.send(what), status);
  }

  markMessage(type: number, bytes: Buffer, start: number): void {
    this.#session.work.marks.message(type, bytes, start);
  }

  markReady(status: number): boolean {
    return this.#session.work.marks.unitReady(status);
  }

  tokenRefused(unit: PgUnit): void {
    this.#session.work.tokenRefused(unit);
  }

  recordingRefused(unit: PgUnit): void {
    this.#session.work.recordingRefused(unit);
  }

  statementsDropped(all: boolean): void {
    this.#session.work.statementsDropped(all);
  }
}
