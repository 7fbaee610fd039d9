import type { HostObservation, ReachableHost } from '../cluster/host-observation.ts';
import type { Member, ServerIdentity } from '../cluster/member.ts';
import type { OrderedUnit } from '../cluster/replay-order.ts';
import { InternalError, SessionClosedError, type HoldfastError } from '../errors.ts';
import type { FailoverEvents } from '../events.ts';
import { Arena } from '../session/arena.ts';
import { FAILED, IDLE } from '../session/journal.ts';
import type { Doom, LossPlan, PendingUnit } from '../session/loss-situation.ts';
import { INITIAL, transition, type Effect, type SessionEvent, type SessionState } from '../session/state.ts';
import type { HostAddress } from '../topology/host-address.ts';
import { BackendType, readParameter } from './backend-messages.ts';
import { AcknowledgeMode } from './acknowledge-mode.ts';
import { CommitRecorder } from './commit-recorder.ts';
import { ChainedTransaction } from './chained-transaction.ts';
import type { CommitMark } from './commit-mark.ts';
import { Conversation, type ConversationListener, type UnitCompleted } from './conversation.ts';
import { ErrorPassage } from './error-passage.ts';
import { doomError, fateError } from './fate-errors.ts';
import { IdleAttention } from './idle-attention.ts';
import { JournalMemory } from './journal-memory.ts';
import { endAnswer, errorAnswer } from './local-answers.ts';
import type { UnitJudgement } from './judge-units.ts';
import { LocalResponder, type ResponderHost } from './local-responder.ts';
import { LossAssessment, type AssessedSession } from './loss-assessment.ts';
import { MarkKeeper, type MarkHost } from './mark-keeper.ts';
import { NamedStatements } from './named-statements.ts';
import { PinnedContinuation } from './pinned-continuation.ts';
import { sendAgain, type NamedStatement, type PgUnit } from './pg-unit.ts';
import { sharedBackendError } from './pooler.ts';
import type { ProbeResult } from './probe.ts';
import { Scouts, type ProbedConnection } from './scouts.ts';
import type { ConnectionOwner, ServerConnection } from './server-connection.ts';
import { ServerLink } from './server-link.ts';
import { lossError, type ConnectionLoss } from './connection-loss.ts';
import { ReplicationHold, type HoldingSession } from './replication-hold.ts';
import { TokenKeeper, type TokenHost } from './token/token-keeper.ts';
import type { CommitMeans } from './commit-means.ts';
import type { Arrival } from './recovering-session.ts';
import type { SessionContext } from './session-context.ts';
import { endedPrepared, preparedAs, releasesLocks } from './unit-facts.ts';
import { SessionCancel } from './session-cancel.ts';
import { SessionMemory } from './session-memory.ts';
import { SessionRecovery } from './session-recovery.ts';
import { SessionTraffic, type TrafficHost } from './session-traffic.ts';
import type { Transport } from './transport.ts';
import { UnitSender } from './unit-sender.ts';
import { ValueRecorder } from './value-recorder.ts';
import type { VirtualSocket } from './virtual-socket.ts';

let sessions = 0;

const DIVERGED = {
  kind: 'diverged',
  reason: 'a statement that was in flight gave other results when it ran again',
} as const satisfies Doom;

/**
 * One logical session: what the application's one connection is made of. It keeps the machine of `session/state.ts`, and
 * carries out its effects.
 *
 * Bytes are moved by `SessionTraffic`; what was asked and given is the `Conversation`'s; finding a new server and bringing it to where the lost one was is
 * `SessionRecovery`'s; what the driver answers itself is `LocalResponder`'s.
 */
export class LogicalSession
  implements
    ConnectionOwner,
    ConversationListener,
    Member,
    MarkHost,
    ResponderHost,
    TokenHost,
    AssessedSession,
    HoldingSession,
    TrafficHost
{
  readonly id = ++sessions;
  readonly context: SessionContext;
  readonly passage = new ErrorPassage();
  readonly scouts: Scouts;
  readonly memory: SessionMemory;
  readonly conversation: Conversation;
  readonly marks: MarkKeeper;
  readonly tokens: TokenKeeper;
  readonly names: NamedStatements;
  readonly pinned: PinnedContinuation;
  readonly #socket: VirtualSocket;
  readonly #traffic: SessionTraffic;
  readonly #recovery: SessionRecovery;
  readonly #chained = new ChainedTransaction();
  readonly #link = new ServerLink();
  readonly #assessment: LossAssessment;
  readonly #responder: LocalResponder;
  readonly #journalMemory: JournalMemory;
  readonly #attention: IdleAttention;
  readonly #recorder: CommitRecorder;
  readonly #acknowledge: AcknowledgeMode;
  readonly #hold: ReplicationHold;
  readonly #cancel = new SessionCancel(this);
  readonly #values: ValueRecorder | null;
  #state: SessionState = INITIAL;

  constructor(socket: VirtualSocket, context: SessionContext) {
    this.#socket = socket;
    this.context = context;
    const { options, coordinator, database } = context;
    this.conversation = new Conversation(options, () => coordinator.nextSequence(), this);
    const arena = new Arena(options.maxJournalBytes);
    const statements = new Map<string, NamedStatement>();
    this.names = new NamedStatements(statements);
    this.pinned = new PinnedContinuation(this);
    this.marks = new MarkKeeper(this, this.conversation);
    this.tokens = new TokenKeeper(this, this.conversation);
    this.memory = new SessionMemory(database, {
      customNames: () => [...options.sessionVariables, ...database.customNames()],
      namesAreTold: options.sessionVariables.length > 0,
      rebuildsPins: options.onReconnect !== undefined,
    });
    this.scouts = new Scouts({
      clientConfig: context.resolved.clientConfig,
      dialTimeoutMillis: options.dialTimeoutMillis,
      coordinator,
      memory: context.memory,
      pooler: options.pooler,
    });
    this.#journalMemory = new JournalMemory(arena, this.conversation, coordinator, options, this.id);
    this.#responder = new LocalResponder(this.conversation, this.passage, this);
    this.#recovery = new SessionRecovery(this);
    this.#assessment = new LossAssessment(this);
    this.#attention = new IdleAttention(this);
    this.#recorder = new CommitRecorder(this);
    this.#acknowledge = new AcknowledgeMode(options.acknowledge);
    const { conversation, names, pinned, marks, tokens, memory } = this;
    const responder = this.#responder;
    const chained = this.#chained;
    const { recordedTexts } = context;
    const recorder = recordedTexts === null ? null : new ValueRecorder(recordedTexts, this);
    this.#values = recorder;
    this.#traffic = new SessionTraffic(
      {
        socket,
        arena,
        statements,
        conversation,
        journalMemory: this.#journalMemory,
        responder,
        sender: new UnitSender({
          arena,
          conversation,
          responder,
          names,
          pinned,
          marks,
          tokens,
          memory,
          chained,
          recorder,
        }),
      },
      this,
    );
    this.#hold = new ReplicationHold(this, this.#traffic.gate);
  }

  // ---- what the others see -----------------------------------------------------------------------------------

  get events(): FailoverEvents {
    return this.context.events;
  }

  get server(): ServerIdentity | null {
    return this.#link.server;
  }

  get followsPrimary(): boolean {
    return this.#link.followsPrimary && this.#state.kind !== 'connecting';
  }

  get isConnected(): boolean {
    return this.#link.connection !== null;
  }

  /** The socket under the current server connection. */
  get transport(): Transport | null {
    return this.#link.transport;
  }

  get state(): SessionState {
    return this.#state;
  }

  get connection(): ServerConnection | null {
    return this.#link.connection;
  }

  get probe(): ProbeResult | null {
    return this.#link.probe;
  }

  get journal(): readonly OrderedUnit[] {
    return this.units.map((unit) => ({
      acknowledgedSequence: unit.acknowledgedSequence,
      releasesLocks: releasesLocks(unit),
    }));
  }

  get replayRound(): number {
    return this.#recovery.replayRound;
  }

  orderSensitiveUnits(): ReadonlySet<PgUnit> {
    return this.#assessment.orderSensitiveUnits();
  }

  get units(): readonly PgUnit[] {
    return this.conversation.journal.units;
  }

  get markInDoubt(): CommitMark | null {
    return this.#assessment.mark;
  }

  get doom(): Doom | null {
    return 'doom' in this.#state ? this.#state.doom : null;
  }

  /** True while the application is inside a transaction that is gone: the pool must not take this client back (A13). */
  get isDoomed(): boolean {
    return this.doom !== null;
  }

  get refusal(): string | null {
    return this.#recovery.refusal;
  }

  get cause(): Error | null {
    return this.#recovery.cause;
  }

  /** Something of the application's is under way, or a transaction of it is open. */
  get isBusy(): boolean {
    return this.conversation.pending.length > 0 || this.conversation.journal.open;
  }

  /** The application waits for an answer that the server has given. */
  get holdsAnswers(): boolean {
    return this.#hold.isOn;
  }

  /** Online, and nothing of anybody's is under way. */
  get isIdle(): boolean {
    return (
      this.#state.kind === 'online' && this.#state.doom === null && !this.#traffic.isHeld && !this.isBusy
    );
  }

  /** True while bytes are handed to the application: what it is told now, it is told by the server. */
  get isDelivering(): boolean {
    return this.#traffic.isDelivering;
  }

  /** Handshake parameters for the application's client. */
  get parameters(): ReadonlyMap<string, string> {
    return this.#link.parameters.all;
  }

  bytesBetween(from: number, to: number): Buffer {
    return this.#traffic.bytesBetween(from, to);
  }

  unitBytes(unit: PgUnit): Buffer {
    return this.#traffic.unitBytes(unit);
  }

  observe(address: HostAddress, signal: AbortSignal): Promise<HostObservation> {
    return this.scouts.observe(address, signal);
  }

  look(address: HostAddress, signal: AbortSignal): Promise<HostObservation> {
    return this.scouts.glance(address, signal);
  }

  judge(units: readonly PgUnit[]): ReadonlyMap<PgUnit, UnitJudgement> {
    return this.#assessment.judge(units);
  }

  dispatch(event: SessionEvent): void {
    const { state, effects } = transition(this.#state, event);
    this.#state = state;
    for (const effect of effects) this.#perform(effect);
  }

  // ---- connections -------------------------------------------------------------------------------------------

  /** The first connection is there. */
  connected(probed: ProbedConnection, host: ReachableHost, means: CommitMeans): void {
    const { coordinator } = this.context;
    this.memory.dialled(probed.probe.searchPath);
    this.#adopt(probed, host, means);
    coordinator.add(this);
    this.context.memory.publishNews();
    this.context.tokens.publishNews();
    if (!probed.probe.inRecovery) coordinator.connected(host);
    for (const [name, value] of probed.connection.parameters) this.#link.parameters.told(name, value);
    this.dispatch({ kind: 'connected', epoch: 0 });
  }

  /** Another connection in place of the lost one; the application notices nothing before the session resumes. */
  reconnected({ probed, host, means, judged }: Arrival): void {
    this.context.memory.publishNews();
    this.context.tokens.publishNews();
    this.#assessment.judgedAnew(judged);
    this.names.connectionReplaced(this.units);
    this.#traffic.dropHolds();
    this.#adopt(probed, host, means);
  }

  #adopt(probed: ProbedConnection, host: ReachableHost, { marks, tokens }: CommitMeans): void {
    this.#link.adopt(probed, host, this);
    this.marks.connected(probed.probe, marks);
    this.tokens.connected(tokens, probed.probe.isPooled);
    this.#values?.connected();
    probed.connection.attach(this);
  }

  /** R12: nothing that the lost host still says is believed. */
  cut(): void {
    const { connection } = this;
    if (connection === null || this.#state.kind === 'closed') return;
    connection.destroy();
    this.lost({ fatal: null, fatalMessage: null, socketError: null });
  }

  /** Its marks and its state belong to somebody else. */
  sharesBackend(): void {
    const { connection } = this;
    if (connection === null) return;
    const { address } = connection;
    this.closeWith(sharedBackendError(address));
  }

  lost(loss: ConnectionLoss): void {
    const state = this.#state;
    if (state.kind === 'closed' || state.kind === 'connecting') return;
    if (state.kind === 'online') {
      const { pending, journal } = this.conversation;
      this.#recorder.lost(pending, journal.open, journal.units);
    }
    this.#link.forget();
    this.pinned.ended();
    this.#traffic.dropHolds();
    this.conversation.interrupted();
    if (state.kind === 'online') {
      // What was given up is not run again (R15): nobody knows whether it has changed the session.
      if (!this.conversation.pending.some((unit) => unit.withdrawn)) this.memory.lost();
      this.#assessment.lost(this.marks.transaction);
      this.#recovery.lost(loss);
    }
    this.dispatch({ kind: 'lost', epoch: state.epoch, plan: this.makePlan() });
  }

  makePlan(): LossPlan {
    return this.#assessment.plan();
  }

  pendingFacts(): readonly PendingUnit[] {
    return this.#assessment.pending();
  }

  // ---- from the application ----------------------------------------------------------------------------------

  accept(chunk: Uint8Array): void {
    this.#traffic.accept(chunk);
  }

  get isWritable(): boolean {
    return this.#traffic.isWritable;
  }

  wake(): void {
    this.#recovery.wake();
  }

  flush(): void {
    this.#traffic.flush();
  }

  hold(): void {
    this.#traffic.hold();
  }

  letGo(): void {
    this.#traffic.letGo();
  }

  /** R15: the application has given up on what is pending. */
  withdraw(): void {
    this.#hold.withdraw();
    const { pending } = this.conversation;
    if (this.#state.kind === 'closed' || this.#state.kind === 'connecting' || pending.length === 0) return;
    const facts = this.pendingFacts();
    for (const unit of pending) {
      unit.withdrawn = true;
      // A cursor closes its unit when its limit has passed: another error would make it do so twice.
      if (unit.hasFlush) unit.answeredLocally = true;
    }
    this.dispatch({ kind: 'withdrawn', pending: facts });
  }

  /** The same, and the server is told to stop. See `SessionCancel.statement`. */
  async cancel(): Promise<void> {
    this.withdraw();
    await this.#cancel.statement();
  }

  // ---- from the server ---------------------------------------------------------------------------------------

  deliver(bytes: Buffer): boolean {
    return this.#traffic.deliver(bytes);
  }

  asynchronous(type: number, bytes: Buffer, start: number, end: number): boolean {
    // While recovering, notices and notifications are those of the driver's own statements and of the replay (T9).
    if (this.#state.kind !== 'online') return false;
    if (type === BackendType.ParameterStatus) {
      const { name, value } = readParameter(bytes, start + 5, end);
      this.#link.parameters.told(name, value);
      this.#link.reported(name, value);
      this.memory.parameter(name, value);
    }
    return true;
  }

  unitCompleted(completed: UnitCompleted): Buffer | null {
    const { unit, status, wasOpen, ended } = completed;
    const isHeld = this.#acknowledge.completed(completed) && this.followsPrimary;
    const committed = this.#recorder.completed(completed, isHeld);
    if (isHeld && committed !== null) {
      this.#hold.acknowledged(unit, committed === 'unknown' ? null : committed);
    }
    if (unit.touchesSession) this.memory.ran(unit.texts);
    if (unit.token !== null) this.tokens.answered(unit);
    this.#notePrepared(unit);
    this.#traffic.detach(unit);
    this.#journalMemory.keepAnswer(unit);
    // Of a unit behind whose end a transaction is open nobody knows what it wrote into that one.
    const isAnother = status !== IDLE && (ended || unit.texts.some((text) => text.mayEnd));
    if (isAnother) this.marks.anotherTransaction(unit);
    else if (status === IDLE) this.marks.transactionEnded();
    if (ended || status === IDLE) {
      this.pinned.ended();
      this.#traffic.forgetPortals();
      if (wasOpen) this.memory.transactionEnded();
    }
    if (status !== IDLE && (!wasOpen || ended)) this.memory.transactionBegan();
    const { pending, journal } = this.conversation;
    if (journal.awaitsChainedBegin) this.#chained.begin(journal);
    if (pending.length > 0) {
      this.#traffic.flushSoon();
      return this.#responder.isNeeded ? this.#responder.settle() : null;
    }
    const { connection } = this;
    if (status === IDLE) {
      this.memory.idle();
      this.#journalMemory.idle(connection?.hasUnflushedBytes ?? true);
      if (this.memory.wantsAttention) this.#attention.wanted();
      this.#values?.idle();
    } else if (connection !== null) {
      this.marks.afterUnit(connection);
    }
    return null;
  }

  /** Whose tokens an identifier stands for, as long as it does. */
  #notePrepared(unit: PgUnit): void {
    const { tokens } = this.context;
    const prepared = unit.committed ? preparedAs(unit) : null;
    if (prepared !== null && unit.token !== null) tokens.prepared(prepared, unit.tokenKeys);
    else if (tokens.hasPrepared) {
      const identifier = prepared ?? (unit.error === null ? endedPrepared(unit)?.identifier : null);
      if (identifier !== null && identifier !== undefined) tokens.forgetPrepared(identifier);
    }
  }

  holdsAnswer(unit: PgUnit, status: number, front: Buffer | null, behind: Buffer | null): Buffer | null {
    return this.#hold.placeFor(unit, status, front, behind);
  }

  commitRefused(unit: PgUnit, error: HoldfastError): void {
    this.#responder.failed(unit, error);
  }

  /** What was in flight gave other results than what was already handed over: R5, in phase 3. */
  unitDiverged(unit: PgUnit, status: number): Buffer {
    const state = this.#state;
    if (state.kind !== 'online') throw new InternalError(`an answer came while ${state.kind}`);
    this.#traffic.detach(unit);
    const { coordinator } = this.context;
    coordinator.counters.replaysDiverged++;
    coordinator.publish('replayDiverged', {
      id: 0,
      session: this.id,
      statements: 1,
      durationMillis: 0,
      reason: DIVERGED.reason,
    });
    const isOpen = status !== IDLE;
    if (!isOpen) {
      this.conversation.journal.reset();
      this.marks.transactionEnded();
      this.memory.transactionEnded();
    }
    const newStatus = isOpen ? FAILED : IDLE;
    const answer = unit.answeredLocally ? endAnswer(newStatus) : this.#divergence(unit, newStatus);
    this.dispatch({ kind: 'diverged', epoch: state.epoch, doom: DIVERGED, open: isOpen });
    if (isOpen) {
      this.#responder.doomed(true);
      this.#responder.refuseAll();
    }
    this.#traffic.flushSoon();
    const behind = this.#responder.settle();
    return behind === null ? answer : Buffer.concat([answer, behind]);
  }

  /** R7: a statement behind the replay would not fit what the application has seen before. */
  refuseTransaction(reason: string): void {
    const state = this.#state;
    if (state.kind !== 'online') return;
    const doom: Doom = { kind: 'not-replayable', reason };
    this.dispatch({ kind: 'diverged', epoch: state.epoch, doom, open: true });
    this.#responder.doomed(false);
    this.flush();
  }

  openUnitDiverged(unit: PgUnit): Buffer {
    this.readerIsTold(unit);
    return this.#divergence(unit, null);
  }

  #divergence(unit: PgUnit, status: number | null): Buffer {
    // Never a 40001 for what is committed (A6).
    const what = unit.committed ? fateError('lost', this.cause) : doomError(DIVERGED, null, this.cause);
    this.#responder.failed(unit, what);
    return errorAnswer(this.passage.send(what), status);
  }

  markMessage(type: number, bytes: Buffer, start: number): void {
    this.marks.message(type, bytes, start);
  }

  markReady(status: number): boolean {
    return this.marks.unitReady(status);
  }

  /** Its transaction is rolled back, and nobody was told: it is brought back by a replay. */
  tokenRefused(unit: PgUnit): void {
    const refusal = unit.token?.refusal ?? null;
    if (refusal !== null) this.tokens.noteRefusal(unit, refusal);
    this.cut();
  }

  recordingRefused(unit: PgUnit): void {
    this.#values?.refused(unit);
    this.cut();
  }

  isSurelyRead(unit: PgUnit): boolean {
    return this.#assessment.isSurelyRead(unit);
  }

  get mayHaveWritten(): boolean {
    return this.marks.transaction.mayHaveWritten;
  }

  get rulesMayAnswer(): boolean {
    return this.context.database.rulesMayAnswer;
  }

  statementsDropped(all: boolean): void {
    this.marks.statementMayBeGone();
    this.tokens.statementMayBeGone();
    if (all) this.names.allDropped();
  }

  drained(): void {
    this.#traffic.drained();
  }

  // ---- effects -----------------------------------------------------------------------------------------------

  #perform(effect: Effect): void {
    switch (effect.kind) {
      case 'reconnect':
        this.#recovery.reconnect();
        return;
      case 'resolve':
        this.#recovery.resolve();
        return;
      case 'replay':
        this.#recovery.replay();
        return;
      case 'rollback':
        this.#rollBack();
        return;
      case 'discard-connection':
        this.#link.forget()?.destroy();
        return;
      case 'await-release':
        this.#recovery.awaitRelease();
        return;
      case 'resume':
        this.#resume(effect.plan, effect.doom);
        return;
      case 'close':
        this.#close();
        return;
    }
  }

  /** The replayed transaction is void; nothing else may reach the server before that (R5). */
  #rollBack(): void {
    this.pinned.ended();
    this.conversation.journal.reset();
    this.marks.transactionEnded();
    this.memory.transactionEnded();
    this.connection?.run('ROLLBACK').catch(() => {
      // Without its connection the transaction is gone as well.
    });
  }

  /** The failover is over for this session: everybody gets what the plan says (phase 3). */
  #resume(plan: LossPlan, doom: Doom | null): void {
    const { conversation } = this;
    this.#announceServer();
    this.#recordResolved(plan);
    if (plan.transaction !== 'replay') {
      this.pinned.ended();
      conversation.journal.reset();
      this.marks.transactionEnded();
      this.memory.transactionEnded();
    }
    // Where the first unit was told the reason by its own error, the next ones get what PostgreSQL says.
    if (doom !== null)
      this.#responder.doomed(doom.kind === 'outcome-unknown' || doom.kind === 'statement-failed');
    conversation.pending.forEach((unit, index) => {
      const fate = plan.fates[index] ?? (doom === null ? 'send' : 'refuse');
      if (fate === 'send' || fate === 'again') sendAgain(unit);
      else this.#responder.decide(unit, fate);
    });
    const [head] = conversation.pending;
    if (head !== undefined && doom === null && !this.#responder.owns(head)) conversation.resume();
    this.#traffic.settle();
    const refusal = this.#recovery.resumed(plan);
    this.#assessment.recovered();
    if (this.#isOver()) return;
    this.#hold.resumed();
    if (this.#isOver()) return;
    if (refusal !== null) {
      const because = this.cause === null ? {} : { cause: this.cause };
      this.closeWith(
        new SessionClosedError(`the session could not be restored on the new server: ${refusal}`, because),
      );
      return;
    }
    if (!this.isBusy && this.memory.wantsAttention) this.#attention.wanted();
    this.drained();
    this.flush();
  }

  /** What was in doubt has taken effect here: a later failover may lose it as any other (A5). */
  #recordResolved({ situation, fates }: LossPlan): void {
    const { pending } = this.conversation;
    let isOpen = situation.open;
    situation.pending.forEach(({ sent, ending, verdict }, index) => {
      const unit = pending[index];
      // The first one that ends the transaction which was open is that one's, with all in front of it.
      const isOfOpen = isOpen && sent && ending !== 'none';
      if (isOfOpen) isOpen = false;
      if (unit === undefined || verdict?.outcome !== 'committed') return;
      if (fates[index] !== 'finish' && fates[index] !== 'lost') return;
      if (isOfOpen) {
        this.#recorder.resolved(unit, [...this.units, ...pending.slice(0, index)], this.markInDoubt);
      } else this.#recorder.resolved(unit, [], null);
    });
  }

  /** The application may close its client in the middle of anything that it is told. */
  #isOver(): boolean {
    return this.#state.kind === 'closed';
  }

  /** Cancel must reach the right backend, and what the client knows of the server must be true (T10). */
  #announceServer(): void {
    const { connection } = this;
    if (connection === null) return;
    // By pg's own event: as bytes it would stand in the middle of an answer, where pg-copy-streams reads for itself.
    this.#socket.emit('backendKeyData', { processID: connection.processId, secretKey: connection.secretKey });
    for (const [name, value] of connection.parameters) {
      this.memory.parameter(name, value);
      this.#link.reported(name, value);
    }
    const news = this.#link.parameters.news(connection.parameters);
    if (news !== null) this.deliver(news);
  }

  // ---- answers of the driver's own ---------------------------------------------------------------------------

  unitAnswered(unit: PgUnit): void {
    this.#traffic.detach(unit);
    if (!this.isBusy) this.#journalMemory.idle(true);
  }

  readerIsTold(unit: PgUnit): void {
    this.#traffic.closeForReader(unit);
  }

  doomEnded(): void {
    if (this.isDoomed) this.dispatch({ kind: 'doom-ended' });
  }

  // ---- the end -----------------------------------------------------------------------------------------------

  /** Recovery is given up: the application's client ends as pg's does when its connection breaks. */
  closeWith(error: Error): void {
    const state = this.#state;
    if (state.kind === 'closed') return;
    this.#hold.abandon(error);
    if (this.#isOver()) return;
    const { bytes, isInDoubt } = this.#responder.lastWords('plan' in state ? state.plan : null, error);
    if (bytes !== null) this.deliver(bytes);
    if (this.#isOver()) return;
    this.#cancel.replay();
    this.dispatch({ kind: 'failed' });
    this.#socket.destroy(isInDoubt ? fateError('unknown', error) : error);
  }

  /** A kill aimed at this session (R14): the application gets the server's own words as stock pg gives them. */
  closeAsTerminated(loss: ConnectionLoss): void {
    if (this.#state.kind === 'closed') return;
    this.#hold.abandon(this.cause);
    if (this.#isOver()) return;
    const words = loss.fatalMessage;
    if (words !== null) this.deliver(words);
    if (this.#isOver()) return;
    this.dispatch({ kind: 'failed' });
    if (words === null) this.#socket.destroy(lossError(loss));
    else this.#socket.destroy();
  }

  /** The application ends or destroys its side. */
  closeRequested(): void {
    if (this.#state.kind === 'closed') return;
    this.#cancel.replay();
    this.dispatch({ kind: 'close-requested' });
  }

  #close(): void {
    const isBusy = this.isBusy;
    const connection = this.#link.forget();
    this.#recovery.closed();
    this.scouts.closeForGood();
    if (isBusy) connection?.destroy();
    else connection?.terminate();
    this.#journalMemory.release();
    this.context.coordinator.remove(this);
    this.#hold.clear();
    this.#responder.clear();
    this.conversation.clear();
  }

  // ---- socket options ----------------------------------------------------------------------------------------

  resumeReading(): void {
    this.connection?.resume();
  }

  setKeepAlive(enable: boolean, initialDelayMillis: number): void {
    this.#link.setKeepAlive(enable, initialDelayMillis);
  }

  setReferenced(isReferenced: boolean): void {
    this.#link.setReferenced(isReferenced);
  }
}
