import type { HostObservation, ReachableHost } from '../cluster/host-observation.ts';
import type { Member, ServerIdentity } from '../cluster/member.ts';
import type { OrderedUnit } from '../cluster/replay-order.ts';
import type { HoldfastError } from '../errors.ts';
import type { FailoverEvents } from '../events.ts';
import type { Doom, LossPlan, PendingUnit } from '../session/loss-situation.ts';
import { INITIAL, transition, type Effect, type SessionEvent, type SessionState } from '../session/state.ts';
import type { HostAddress } from '../topology/host-address.ts';
import { BackendType, readParameter } from './backend-messages.ts';
import type { CommitMark } from './commit-mark.ts';
import type { CommitMeans } from './commit-means.ts';
import { lossError, type ConnectionLoss } from './connection-loss.ts';
import type { Conversation } from './conversation.ts';
import { ErrorPassage } from './error-passage.ts';
import { fateError } from './fate-errors.ts';
import { IdleAttention } from './idle-attention.ts';
import type { UnitJudgement } from './judge-units.ts';
import { LocalResponder, type ResponderHost } from './local-responder.ts';
import type { MarkKeeper } from './mark-keeper.ts';
import type { NamedStatements } from './named-statements.ts';
import type { PgUnit } from './pg-unit.ts';
import type { PinnedContinuation } from './pinned-continuation.ts';
import { sharedBackendError } from './pooler.ts';
import type { ProbeResult } from './probe.ts';
import type { Arrival, RecoveringSession } from './recovering-session.ts';
import { resumeSession, type ResumedSession } from './resume-session.ts';
import { Scouts, type ProbedConnection } from './scouts.ts';
import type { ConnectionOwner, ServerConnection } from './server-connection.ts';
import { ServerLink } from './server-link.ts';
import { SessionAnswers, type AnsweredSession } from './session-answers.ts';
import { SessionCancel } from './session-cancel.ts';
import { SessionCommits, type CommittingSession } from './session-commits.ts';
import type { SessionContext } from './session-context.ts';
import type { SessionMemory } from './session-memory.ts';
import { SessionRecovery } from './session-recovery.ts';
import { SessionTraffic, type TrafficHost } from './session-traffic.ts';
import { SessionWork, type WorkingSession } from './session-work.ts';
import type { Transport } from './transport.ts';
import { UnitSender } from './unit-sender.ts';
import { releasesLocks } from './unit-facts.ts';
import type { VirtualSocket } from './virtual-socket.ts';

let sessions = 0;

/**
 * One logical session: what the application's one connection is made of. It keeps the machine of `session/state.ts`, and
 * carries out its effects.
 *
 * Bytes are moved by `SessionTraffic`; what was asked and given, and what is known of it, is the `SessionWork`'s; what follows
 * from an answer is in `SessionAnswers`, and what was committed in `SessionCommits`; finding a new server and bringing it
 * to where the lost one was is `SessionRecovery`'s; what the driver answers itself is `LocalResponder`'s.
 */
export class LogicalSession
  implements
    AnsweredSession,
    CommittingSession,
    ConnectionOwner,
    Member,
    RecoveringSession,
    ResponderHost,
    ResumedSession,
    TrafficHost,
    WorkingSession
{
  readonly id = ++sessions;
  readonly context: SessionContext;
  readonly passage = new ErrorPassage();
  readonly scouts: Scouts;
  readonly work: SessionWork;
  readonly commits: SessionCommits;
  readonly traffic: SessionTraffic;
  readonly responder: LocalResponder;
  readonly recovery: SessionRecovery;
  readonly attention: IdleAttention;
  readonly conversation: Conversation;
  readonly marks: MarkKeeper;
  readonly memory: SessionMemory;
  readonly names: NamedStatements;
  readonly pinned: PinnedContinuation;
  readonly #socket: VirtualSocket;
  readonly #link = new ServerLink();
  readonly #cancel = new SessionCancel(this);
  #state: SessionState = INITIAL;

  constructor(socket: VirtualSocket, context: SessionContext) {
    this.#socket = socket;
    this.context = context;
    const { options, coordinator } = context;
    this.scouts = new Scouts({
      clientConfig: context.resolved.clientConfig,
      dialTimeoutMillis: options.dialTimeoutMillis,
      coordinator,
      memory: context.memory,
      pooler: options.pooler,
    });
    const work = new SessionWork(this, new SessionAnswers(this));
    this.work = work;
    this.conversation = work.conversation;
    this.marks = work.marks;
    this.memory = work.memory;
    this.names = work.names;
    this.pinned = work.pinned;
    const responder = new LocalResponder(work.conversation, this.passage, this);
    this.responder = responder;
    const { arena, statements, conversation, journalMemory } = work;
    const sender = new UnitSender(work, responder);
    this.traffic = new SessionTraffic(
      { socket, arena, statements, conversation, journalMemory, responder, sender },
      this,
    );
    this.commits = new SessionCommits(this, this.traffic.gate);
    this.recovery = new SessionRecovery(this);
    this.attention = new IdleAttention(this);
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
    return this.recovery.replayRound;
  }

  orderSensitiveUnits(): ReadonlySet<PgUnit> {
    return this.work.assessment.orderSensitiveUnits();
  }

  get units(): readonly PgUnit[] {
    return this.conversation.journal.units;
  }

  get markInDoubt(): CommitMark | null {
    return this.work.assessment.mark;
  }

  get doom(): Doom | null {
    return 'doom' in this.#state ? this.#state.doom : null;
  }

  /** True while the application is inside a transaction that is gone: the pool must not take this client back (A13). */
  get isDoomed(): boolean {
    return this.doom !== null;
  }

  get refusal(): string | null {
    return this.recovery.refusal;
  }

  get cause(): Error | null {
    return this.recovery.cause;
  }

  /** Something of the application's is under way, or a transaction of it is open. */
  get isBusy(): boolean {
    return this.work.isBusy;
  }

  /** The application waits for an answer that the server has given. */
  get holdsAnswers(): boolean {
    return this.commits.hold.isOn;
  }

  /** Online, and nothing of anybody's is under way. */
  get isIdle(): boolean {
    return this.#state.kind === 'online' && this.#state.doom === null && !this.traffic.isHeld && !this.isBusy;
  }

  /** True while bytes are handed to the application: what it is told now, it is told by the server. */
  get isDelivering(): boolean {
    return this.traffic.isDelivering;
  }

  /** Handshake parameters for the application's client. */
  get parameters(): ReadonlyMap<string, string> {
    return this.#link.parameters.all;
  }

  bytesBetween(from: number, to: number): Buffer {
    return this.traffic.bytesBetween(from, to);
  }

  unitBytes(unit: PgUnit): Buffer {
    return this.traffic.unitBytes(unit);
  }

  observe(address: HostAddress, signal: AbortSignal): Promise<HostObservation> {
    return this.scouts.observe(address, signal);
  }

  look(address: HostAddress, signal: AbortSignal): Promise<HostObservation> {
    return this.scouts.glance(address, signal);
  }

  judge(units: readonly PgUnit[]): ReadonlyMap<PgUnit, UnitJudgement> {
    return this.work.assessment.judge(units);
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
  reconnected(arrival: Arrival): void {
    this.context.memory.publishNews();
    this.context.tokens.publishNews();
    this.work.reconnects(arrival);
    this.traffic.dropHolds();
    this.#adopt(arrival.probed, arrival.host, arrival.means);
  }

  #adopt(probed: ProbedConnection, host: ReachableHost, means: CommitMeans): void {
    this.#link.adopt(probed, host, this);
    this.work.connected(probed.probe, means);
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
    const wasOnline = state.kind === 'online';
    if (wasOnline) this.commits.lost();
    this.#link.forget();
    this.traffic.dropHolds();
    this.work.lost(wasOnline);
    if (wasOnline) this.recovery.lost(loss);
    this.dispatch({ kind: 'lost', epoch: state.epoch, plan: this.makePlan() });
  }

  makePlan(): LossPlan {
    return this.work.assessment.plan();
  }

  pendingFacts(): readonly PendingUnit[] {
    return this.work.assessment.pending();
  }

  // ---- from the application ----------------------------------------------------------------------------------

  accept(chunk: Uint8Array): void {
    this.traffic.accept(chunk);
  }

  get isWritable(): boolean {
    return this.traffic.isWritable;
  }

  wake(): void {
    this.recovery.wake();
  }

  flush(): void {
    this.traffic.flush();
  }

  hold(): void {
    this.traffic.hold();
  }

  letGo(): void {
    this.traffic.letGo();
  }

  /** R15: the application has given up on what is pending. */
  withdraw(): void {
    this.commits.hold.withdraw();
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
    return this.traffic.deliver(bytes);
  }

  asynchronous(type: number, bytes: Buffer, start: number, end: number): boolean | Buffer {
    // While recovering, notices and notifications are those of the driver's own statements and of the replay (T9).
    if (this.#state.kind !== 'online') return false;
    if (type === BackendType.NoticeResponse) return this.conversation.notice(bytes, start, end);
    if (type === BackendType.NotificationResponse) return this.conversation.notification(bytes, start, end);
    if (type === BackendType.ParameterStatus) {
      const { name, value } = readParameter(bytes, start + 5, end);
      this.#link.parameters.told(name, value);
      this.#link.reported(name, value);
      this.memory.parameter(name, value);
    }
    return true;
  }

  isToBeHeld(unit: PgUnit): boolean {
    return this.commits.hold.awaits(unit);
  }

  holdAnswer(unit: PgUnit, status: number, answer: Buffer): Buffer {
    return this.commits.hold.placeFor(unit, status, answer);
  }

  wouldBeHeld(unit: PgUnit): boolean {
    return this.commits.wouldBeHeld(unit);
  }

  commitRefused(unit: PgUnit, error: HoldfastError): void {
    this.responder.failed(unit, error);
  }

  /** R7: a statement behind the replay would not fit what the application has seen before. */
  refuseTransaction(reason: string): void {
    const state = this.#state;
    if (state.kind !== 'online') return;
    const doom: Doom = { kind: 'not-replayable', reason };
    this.dispatch({ kind: 'diverged', epoch: state.epoch, doom, open: true });
    this.responder.doomed(false);
    this.flush();
  }

  drained(): void {
    this.traffic.drained();
  }

  // ---- effects -----------------------------------------------------------------------------------------------

  #perform(effect: Effect): void {
    switch (effect.kind) {
      case 'reconnect':
        this.recovery.reconnect();
        return;
      case 'resolve':
        this.recovery.resolve();
        return;
      case 'replay':
        this.recovery.replay();
        return;
      case 'rollback':
        this.#rollBack();
        return;
      case 'discard-connection':
        this.#link.forget()?.destroy();
        return;
      case 'await-release':
        this.recovery.awaitRelease();
        return;
      case 'resume':
        resumeSession(this, effect.plan, effect.doom);
        return;
      case 'close':
        this.#close();
        return;
    }
  }

  /** The replayed transaction is void; nothing else may reach the server before that (R5). */
  #rollBack(): void {
    this.work.transactionDropped();
    this.connection?.run('ROLLBACK').catch(() => {
      // Without its connection the transaction is gone as well.
    });
  }

  /** The application may close its client in the middle of anything that it is told. */
  #isOver(): boolean {
    return this.#state.kind === 'closed';
  }

  /** Cancel must reach the right backend, and what the client knows of the server must be true (T10). */
  announceServer(): void {
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
    this.traffic.detach(unit);
    this.commits.hold.told(unit);
    if (!this.isBusy) this.work.journalMemory.idle(true);
  }

  readerIsTold(unit: PgUnit): void {
    this.traffic.closeForReader(unit);
  }

  doomEnded(): void {
    if (this.isDoomed) this.dispatch({ kind: 'doom-ended' });
  }

  // ---- the end -----------------------------------------------------------------------------------------------

  /** Recovery is given up: the application's client ends as pg's does when its connection breaks. */
  closeWith(error: Error): void {
    const state = this.#state;
    if (state.kind === 'closed') return;
    this.commits.hold.abandon(error);
    if (this.#isOver()) return;
    const { bytes, isInDoubt } = this.responder.lastWords('plan' in state ? state.plan : null, error);
    if (bytes !== null) this.deliver(bytes);
    if (this.#isOver()) return;
    this.#cancel.replay();
    this.dispatch({ kind: 'failed' });
    this.#socket.destroy(isInDoubt ? fateError('unknown', error) : error);
  }

  /** A kill aimed at this session (R14): the application gets the server's own words as stock pg gives them. */
  closeAsTerminated(loss: ConnectionLoss, known: LossPlan | null = null): void {
    if (this.#state.kind === 'closed') return;
    this.commits.hold.abandon(this.cause);
    if (this.#isOver()) return;
    const before = known === null ? null : this.responder.firstWords(known, lossError(loss));
    if (before !== null) this.deliver(before);
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
    this.recovery.closed();
    this.scouts.closeForGood();
    if (isBusy) connection?.destroy();
    else connection?.terminate();
    this.work.journalMemory.release();
    this.context.coordinator.remove(this);
    this.commits.hold.clear();
    this.responder.clear();
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
