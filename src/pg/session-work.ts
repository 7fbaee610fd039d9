import { Arena } from '../session/arena.ts';
import { ChainedTransaction } from './chained-transaction.ts';
import type { CommitMeans } from './commit-means.ts';
import { Conversation, type ConversationListener } from './conversation.ts';
import { JournalMemory } from './journal-memory.ts';
import { LossAssessment, type AssessedSession } from './loss-assessment.ts';
import { MarkKeeper, type MarkHost } from './mark-keeper.ts';
import { NamedStatements } from './named-statements.ts';
import type { NamedStatement, PgUnit } from './pg-unit.ts';
import { PinnedContinuation, type ContinuationHost } from './pinned-continuation.ts';
import type { ProbeResult } from './probe.ts';
import type { Arrival } from './recovering-session.ts';
import type { SessionContext } from './session-context.ts';
import { SessionMemory } from './session-memory.ts';
import { TokenKeeper, type TokenHost } from './token/token-keeper.ts';
import { ValueRecorder, type RecordedSession } from './value-recorder.ts';

/** What the work of a session needs of the session. */
export interface WorkingSession
  extends MarkHost, ContinuationHost, Pick<RecordedSession, 'connection' | 'unitBytes'> {
  readonly id: number;
  readonly context: SessionContext;
  /** Why its state can't be restored on the new server; null if it can, or if that is not known yet. */
  readonly refusal: string | null;
}

/**
 * The work of one session: what was asked and given, and all who keep account of it: the journal's memory, the marks and
 * tokens of its transactions, what its statements have made of the session, which values were pinned or are recorded, and
 * what all that comes to when the connection is lost.
 */
export class SessionWork implements AssessedSession, RecordedSession, TokenHost {
  readonly context: SessionContext;
  /** The bytes of the units: the journal, and what is still to be written. */
  readonly arena: Arena;
  /** What the application has prepared. */
  readonly statements = new Map<string, NamedStatement>();
  readonly conversation: Conversation;
  readonly journalMemory: JournalMemory;
  readonly names: NamedStatements;
  readonly marks: MarkKeeper;
  readonly tokens: TokenKeeper;
  readonly memory: SessionMemory;
  readonly pinned: PinnedContinuation;
  readonly chained = new ChainedTransaction();
  readonly assessment: LossAssessment;
  /** Null if `failover.recordGeneratedValues` is off. */
  readonly recorder: ValueRecorder | null;
  readonly #session: WorkingSession;

  constructor(session: WorkingSession, listener: ConversationListener) {
    this.#session = session;
    this.context = session.context;
    const { options, coordinator, database, recordedTexts } = this.context;
    this.arena = new Arena(options.maxJournalBytes);
    this.conversation = new Conversation(options, () => coordinator.nextSequence(), listener);
    this.journalMemory = new JournalMemory(this.arena, this.conversation, coordinator, options, session.id);
    this.names = new NamedStatements(this.statements);
    this.marks = new MarkKeeper(session, this.conversation);
    this.tokens = new TokenKeeper(this, this.conversation);
    this.memory = new SessionMemory(database, {
      customNames: () => [...options.sessionVariables, ...database.customNames()],
      namesAreTold: options.sessionVariables.length > 0,
      rebuildsPins: options.onReconnect !== undefined,
    });
    this.pinned = new PinnedContinuation(session);
    this.assessment = new LossAssessment(this);
    this.recorder = recordedTexts === null ? null : new ValueRecorder(recordedTexts, this);
  }

  /** Something of the application's is under way, or a transaction of it is open. */
  get isBusy(): boolean {
    return this.conversation.pending.length > 0 || this.conversation.journal.open;
  }

  // ---- what its parts ask ------------------------------------------------------------------------------------

  get connection(): RecordedSession['connection'] {
    return this.#session.connection;
  }

  get isConnected(): boolean {
    return this.#session.connection !== null;
  }

  get refusal(): string | null {
    return this.#session.refusal;
  }

  unitBytes(unit: PgUnit): Buffer {
    return this.#session.unitBytes(unit);
  }

  isSurelyRead(unit: PgUnit): boolean {
    return this.assessment.isSurelyRead(unit);
  }

  get mayHaveWritten(): boolean {
    return this.marks.transaction.mayHaveWritten;
  }

  get rulesMayAnswer(): boolean {
    return this.context.database.rulesMayAnswer;
  }

  /** Its transaction is rolled back, and nobody was told: it is brought back by a replay. */
  tokenRefused(unit: PgUnit): void {
    const refusal = unit.token?.refusal ?? null;
    if (refusal !== null) this.tokens.noteRefusal(unit, refusal);
    this.#session.cut();
  }

  /** The same of the columns that were added to the unit. */
  recordingRefused(unit: PgUnit): void {
    this.recorder?.refused(unit);
    this.#session.cut();
  }

  // ---- what happens to the session ---------------------------------------------------------------------------

  /** The session has a connection, the first or another one. */
  connected(probe: ProbeResult, { marks, tokens }: CommitMeans): void {
    this.marks.connected(probe, marks);
    this.tokens.connected(tokens, probe.isPooled);
    this.recorder?.connected();
  }

  /** It is about to get another connection in place of the lost one. */
  reconnects({ judged }: Arrival): void {
    this.assessment.judgedAnew(judged);
    this.names.connectionReplaced(this.conversation.journal.units);
  }

  /** The connection is gone; `wasOnline`: it was the session's, and not one of its recovery's. */
  lost(wasOnline: boolean): void {
    this.pinned.ended();
    this.conversation.interrupted();
    if (!wasOnline) return;
    // What was given up is not run again (R15): nobody knows whether it has changed the session.
    if (!this.conversation.pending.some((unit) => unit.withdrawn)) this.memory.lost();
    this.assessment.lost(this.marks.transaction);
  }

  /** The transaction in the journal is over, and not by an answer of the server. */
  transactionDropped(): void {
    this.pinned.ended();
    this.conversation.journal.reset();
    this.marks.transactionEnded();
    this.memory.transactionEnded();
  }

  /** Statements of the wire protocol were dropped by SQL: all of them, or some. */
  statementsDropped(all: boolean): void {
    this.marks.statementMayBeGone();
    this.tokens.statementMayBeGone();
    if (all) this.names.allDropped();
  }
}
