import type { HostObservation, ReachableHost } from '../../cluster/host-observation.ts';
import type { ServerIdentity } from '../../cluster/member.ts';
import type { OrderedUnit } from '../../cluster/replay-order.ts';
import { HoldfastError, SessionClosedError } from '../../errors.ts';
import type { FailoverEvents } from '../../events.ts';
import { IDLE, Journal } from '../../session/journal.ts';
import type { Doom, LossPlan, PendingUnit } from '../../session/loss-situation.ts';
import type { UnitDigest } from '../../session/response-digest.ts';
import {
  INITIAL,
  transition,
  type Effect,
  type SessionEvent,
  type SessionState,
} from '../../session/state.ts';
import type { HostAddress } from '../../topology/host-address.ts';
import { keepAcknowledged } from '../lost-commits/keep-acknowledged.ts';
import { TdsEndpoint, type EndpointHandler } from '../endpoint/tds-endpoint.ts';
import { READ_ONLY_DATABASE } from '../loss-errors.ts';
import { requireDurability } from '../hosts/require-durability.ts';
import { tellTokens } from '../token/tell-tokens.ts';
import { startPurger } from '../token/token-purger.ts';
import { deadlineSignal } from '../../cluster/deadline-signal.ts';
import { openSession } from '../hosts/open-session.ts';
import type { ProbeResult } from '../hosts/probe.ts';
import { Scouts, type ProbedConnection } from '../hosts/scouts.ts';
import { runBatch, type ServerError } from '../link/batch.ts';
import type { ServerConnection } from '../link/server-connection.ts';
import { connectionReset, DialError } from '../link/server-link.ts';
import type { MessageToken } from '../wire/read-token.ts';
import type { RequestMessage } from '../wire/request-message.ts';
import { TOKEN } from '../wire/token-kind.ts';
import { messageToken } from '../wire/write-token.ts';
import { assessLoss, hasOnlyRead, pendingFacts } from './assessment.ts';
import { AttentionRelay } from './attention-relay.ts';
import { JournalMemory } from './journal-memory.ts';
import { LastResult } from './last-result.ts';
import { LocalResponder } from './local-responder.ts';
import { makeUnit } from './make-unit.ts';
import { PreparedHandles } from './prepared-handles.ts';
import type { ConnectionLoss, RecoveringSession } from './recovering-session.ts';
import { Recovery } from './recovery.ts';
import { isRollbackToSavepoint } from './replay.ts';
import type { SessionContext } from './session-context.ts';
import { SessionMemory } from './session-memory.ts';
import { SessionTokens } from './session-tokens.ts';
import { sendAgain, type TdsUnit } from './tds-unit.ts';
import { UnitAnswer, type AnswerHost } from './unit-answer.ts';
import { UnitSender, type SendingSession } from './unit-sender.ts';
import { endOf } from './local-answers.ts';

let sessions = 0;

/**
 * One logical session below one connection of the application's tedious. It keeps the machine of `session/state.ts`, and
 * carries out its effects.
 */
export class TdsSession implements EndpointHandler, AnswerHost, RecoveringSession, SendingSession {
  readonly id = ++sessions;
  readonly context: SessionContext;
  readonly endpoint: TdsEndpoint;
  readonly scouts: Scouts;
  readonly open: Journal<TdsUnit>;
  readonly memory = new SessionMemory();
  readonly handles = new PreparedHandles();
  readonly lastResult = new LastResult();
  readonly tokens: SessionTokens;
  readonly answer: UnitAnswer;
  readonly recovery: Recovery;
  readonly #sender = new UnitSender(this);
  readonly #attention: AttentionRelay;
  readonly #local: LocalResponder;
  readonly #opening = new AbortController();
  readonly #journalMemory: JournalMemory;
  #pending: TdsUnit[] = [];
  #position = 0;
  /** Its only host takes no writes, as it would with stock tedious. */
  #isReadOnly = false;
  #state: SessionState = INITIAL;
  #connection: ServerConnection | null = null;
  #server: ServerIdentity | null = null;
  #probe: ProbeResult | null = null;

  constructor(context: SessionContext) {
    this.context = context;
    const { options, coordinator } = context;
    this.endpoint = new TdsEndpoint(this);
    this.scouts = new Scouts({ ...context, dialTimeoutMillis: options.dialTimeoutMillis, coordinator });
    this.open = new Journal({
      maxStatements: options.maxJournalStatements,
      maxBytes: options.maxJournalBytes,
    });
    this.#journalMemory = new JournalMemory(this.open, coordinator, options, this.id);
    this.tokens = new SessionTokens(options.tokenSchema, options.commitOutcome !== 'none');
    this.answer = new UnitAnswer(this, options.maxKeptRowHashes);
    this.recovery = new Recovery(this);
    this.#attention = new AttentionRelay(this.endpoint);
    this.#local = new LocalResponder(this.endpoint);
  }

  // ---- what the others see -----------------------------------------------------------------------------------

  get events(): FailoverEvents {
    return this.context.events;
  }

  get server(): ServerIdentity | null {
    return this.#server;
  }

  get followsPrimary(): boolean {
    return this.context.wantsPrimary && !this.#isReadOnly && this.#state.kind !== 'connecting';
  }

  get isConnected(): boolean {
    return this.#connection !== null;
  }

  get connection(): ServerConnection | null {
    return this.#connection;
  }

  get probe(): ProbeResult | null {
    return this.#probe;
  }

  get state(): SessionState {
    return this.#state;
  }

  get pending(): readonly TdsUnit[] {
    return this.#pending;
  }

  get journal(): readonly OrderedUnit[] {
    return this.open.units.map((unit) => ({
      acknowledgedSequence: unit.acknowledgedSequence,
      releasesLocks: isRollbackToSavepoint(unit),
    }));
  }

  get replayRound(): number {
    return this.recovery.replayRound;
  }

  get isBusy(): boolean {
    return this.#pending.length > 0 || this.open.open;
  }

  get isOpen(): boolean {
    return this.open.open;
  }

  get hasOnlyRead(): boolean {
    return hasOnlyRead(this.open);
  }

  /** The application is inside a transaction that is gone (A13). */
  get isDoomed(): boolean {
    return this.#doom !== null;
  }

  get mayWriteTokens(): boolean {
    return this.tokens.areAvailable && !this.memory.hasChangedUser;
  }

  get mayHaveSavepoint(): boolean {
    const { open } = this;
    return (
      open.unreplayable !== null ||
      open.units.some(
        ({ request, analysis }) =>
          analysis.mayLeaveSavepoint ||
          (request.kind === 'transaction' && request.transaction.kind === 'save'),
      )
    );
  }

  get #doom(): Doom | null {
    return 'doom' in this.#state ? this.#state.doom : null;
  }

  observe(address: HostAddress, signal: AbortSignal): Promise<HostObservation> {
    return this.scouts.observe(address, signal);
  }

  look(address: HostAddress, signal: AbortSignal): Promise<HostObservation> {
    return this.scouts.glance(address, signal);
  }

  dispatch(event: SessionEvent): void {
    const { state, effects } = transition(this.#state, event);
    this.#state = state;
    for (const effect of effects) this.#perform(effect);
  }

  makePlan(): LossPlan {
    return assessLoss(this.#assessed());
  }

  pendingFacts(): readonly PendingUnit[] {
    return pendingFacts(this.#assessed());
  }

  #assessed(): Parameters<typeof assessLoss>[0] {
    const { onOutsideEffects } = this.context.options;
    return { journal: this.open, pending: this.#pending, answer: this.answer, onOutsideEffects };
  }

  // ---- connections -------------------------------------------------------------------------------------------

  login(): void {
    this.#open().catch((error: unknown) => {
      if (this.#state.kind === 'closed') return;
      if (error instanceof DialError && error.errors.length > 0) this.endpoint.loginFailed(error.errors);
      else {
        const cause = error instanceof DialError ? (error.cause as Error) : (error as Error);
        this.#local.refuseLogin(cause);
      }
    });
  }

  async #open(): Promise<void> {
    const { probed, host } = await openSession(this, this.#opening.signal);
    await this.tokens.ask(probed.connection);
    requireDurability(probed.probe);
    tellTokens(this.tokens, this.context, host.address);
    if (this.#opening.signal.aborted) {
      probed.connection.destroy();
      return;
    }
    const { coordinator } = this.context;
    this.#adopt(probed, host);
    this.#isReadOnly = !host.writable;
    coordinator.add(this);
    if (host.writable) coordinator.connected(host);
    this.dispatch({ kind: 'connected', epoch: 0 });
    if (this.tokens.areAvailable && host.writable) this.#startPurger();
    this.endpoint.loginSucceeded(probed.connection.link.facts);
  }

  #startPurger(): void {
    const { context, scouts } = this;
    startPurger(context, async () => {
      const primary = context.coordinator.knowledge.primary;
      if (primary === null) throw new Error('no primary is known');
      return (await scouts.open(primary.address, deadlineSignal(context.options.dialTimeoutMillis)))
        .connection;
    });
  }

  reconnected(probed: ProbedConnection, host: ReachableHost): void {
    this.#adopt(probed, host);
  }

  #adopt({ connection, probe }: ProbedConnection, host: ReachableHost): void {
    this.#connection = connection;
    this.#probe = probe;
    this.#server = { address: host.address, incarnation: host.incarnation };
    connection.onLost((error) => {
      if (this.#connection === connection) this.#lost({ error, said: null });
    });
  }

  /** R12: nothing that the lost host still says is believed. */
  cut(): void {
    this.#drop({ error: connectionReset(), said: null });
  }

  #drop(loss: ConnectionLoss): void {
    const connection = this.#connection;
    if (connection === null || this.#state.kind === 'closed') return;
    connection.destroy(loss.error);
    this.#lost(loss);
  }

  #lost(loss: ConnectionLoss): void {
    const { state } = this;
    if (state.kind === 'closed' || state.kind === 'connecting') return;
    const wasOnline = state.kind === 'online';
    this.#connection = null;
    this.handles.connectionLost();
    this.tokens.transactionEnded();
    if (wasOnline) {
      this.#attention.connectionLost(this.#pending);
      // A request whose timer has not run out sees that an answer will come (facts, trap 1).
      if (this.#pending.some((unit) => !unit.isAbandoned)) this.endpoint.holdRequestTimer();
      this.recovery.lost(loss);
    }
    this.dispatch({ kind: 'lost', epoch: state.epoch, plan: this.makePlan() });
  }

  // ---- from the application ----------------------------------------------------------------------------------

  request(message: RequestMessage): void {
    const { isOpen, handles, memory } = this;
    const database = memory.databaseOr(this.context.config.options?.database ?? null);
    const unit = makeUnit(message, { position: this.#position, isOpen, handles, database });
    this.#position = unit.end;
    this.#pending.push(unit);
    if (this.#state.kind === 'online') this.#go(unit, false);
    else {
      this.endpoint.holdRequestTimer();
      this.recovery.wake();
    }
  }

  holdBulkLoad(bytes: number): boolean {
    return this.#journalMemory.holdBulkLoad(bytes);
  }

  releaseBulkLoad(): void {
    this.#journalMemory.releaseBulkLoad();
  }

  refusedBulkLoad(): void {
    this.#local.refuseBulkLoad(this.context.options.maxProcessJournalBytes);
  }

  #go(unit: TdsUnit, isAgain: boolean): void {
    const doom = this.#doom;
    if (doom !== null) {
      if (this.#local.refuse(unit, doom)) this.dispatch({ kind: 'doom-ended' });
      this.#answered(unit);
      return;
    }
    const gone = this.lastResult.refusal(unit);
    if (gone !== null) {
      this.#local.refuseAlone(unit, gone);
      this.#answered(unit);
      return;
    }
    this.#sender.send(unit, isAgain);
  }

  transmit(unit: TdsUnit, message: RequestMessage, isAgain: boolean): void {
    const connection = this.#connection;
    if (connection === null || this.#pending[0] !== unit) return;
    if (unit.isCancelled) {
      this.endpoint.answer(endOf(unit, 2), true);
      this.#attention.answerLocally();
      this.#answered(unit);
      return;
    }
    if (unit.opens) this.memory.transactionBegins();
    unit.writtenTo = unit.end;
    unit.sentAtMillis = Date.now();
    unit.sentSequence = this.context.coordinator.nextSequence();
    this.answer.begin(unit, connection, isAgain);
    connection.send(message, this.answer);
  }

  answerLocally(unit: TdsUnit, how: 'unprepared' | ServerError): void {
    if (how === 'unprepared') {
      if (unit.request.kind === 'unprepare') this.handles.forget(unit.request.handle);
      this.#local.unprepared();
    } else this.#local.serverRefused(unit, how.detail);
    this.#answered(unit);
  }

  attention(): void {
    const unit = this.#pending.at(-1);
    if (unit === undefined || unit.isAbandoned) {
      this.#attention.answerLocally();
      return;
    }
    if (this.#state.kind === 'online' && this.#connection !== null) {
      unit.isCancelled = true;
      if (unit.writtenTo > unit.start) this.#attention.relay(this.#connection);
      return;
    }
    // While the session recovers the answer comes from here, at once; what was asked for is left out.
    unit.isAbandoned = true;
    this.endpoint.answer(endOf(unit, 2), true);
    this.#attention.answerLocally();
    if (unit.writtenTo === unit.start) this.#pending = this.#pending.filter((one) => one !== unit);
  }

  drained(): void {
    this.#connection?.resume();
  }

  ended(): void {
    this.#opening.abort(new SessionClosedError('the connection was closed'));
    this.dispatch({ kind: 'close-requested' });
  }

  // ---- from the server ---------------------------------------------------------------------------------------

  deliver(tokens: Buffer | null, isLast: boolean): void {
    const owed = this.#local.takeOwedChange();
    const bytes = owed === null ? tokens : tokens === null ? owed : Buffer.concat([owed, tokens]);
    if (!this.endpoint.answer(bytes ?? Buffer.alloc(0), isLast)) this.#connection?.pause();
  }

  completed(unit: TdsUnit, digest: UnitDigest): void {
    const { open, memory, tokens } = this;
    unit.acknowledgedSequence = this.context.coordinator.nextSequence();
    this.#pending.shift();
    const wasOpen = open.open;
    if (unit.wasReset) {
      memory.reset();
      this.handles.clear();
    }
    if (unit.form === 'wrapped' && digest.status !== IDLE) {
      // The driver's own transaction around it was left open, by a cancel for instance: the application has none.
      this.#rollBack();
      this.#note(unit);
      return;
    }
    const isLeftOut = unit.isCancelled && wasOpen && unit.analysis.isRepeatable && digest.status !== IDLE;
    if (!isLeftOut) {
      if (unit.committed) keepAcknowledged(this, unit, open.units);
      const endedAny = this.#journalMemory.complete(unit, digest);
      if (open.open && unit.rolledBack)
        open.makeUnreplayable('it was begun behind a rollback in the same batch');
      if (open.open && unit.isCancelled) {
        open.makeUnreplayable('one of its statements was cancelled while it ran');
      }
      if (endedAny || !open.open) {
        tokens.transactionEnded();
        memory.transactionEnded();
      }
      this.#journalMemory.account(unit);
    }
    this.#note(unit);
  }

  /** What the unit has changed in the session. */
  #note(unit: TdsUnit): void {
    const { memory, handles, tokens, lastResult } = this;
    const { request, analysis } = unit;
    lastResult.ran(unit);
    memory.ran(analysis.effect, unit.errors.length > 0 || unit.isCancelled);
    if (unit.database !== null) {
      memory.databaseChanged(unit.database);
      tokens.databaseChanged(unit.database);
    }
    if (request.kind === 'transaction' && request.transaction.kind === 'begin') {
      memory.isolation(request.transaction.isolation);
    }
    if (request.kind === 'unprepare') handles.forget(request.handle);
  }

  diverged(unit: TdsUnit, status: number): void {
    this.#pending.shift();
    const { state } = this;
    if (state.kind !== 'online') return;
    const doom: Doom = {
      kind: 'diverged',
      reason: 'a statement gave other results than the application had been given in part',
    };
    const open = status !== IDLE;
    this.dispatch({ kind: 'diverged', epoch: state.epoch, doom, open });
    this.#local.diverged(unit, doom);
  }

  prepared(unit: TdsUnit, real: number): number {
    const sql = unit.request.kind === 'prepare' ? unit.request.sql : '';
    return this.handles.prepared(sql, { ...unit.message, payload: Buffer.from(unit.message.payload) }, real);
  }

  /** Error codes are hints (R14): the same words from the same life of a server once more are its answer. */
  serverGoesAway(unit: TdsUnit, error: MessageToken): boolean {
    const life = this.#server?.incarnation ?? '';
    // It never took writes.
    if (this.#isReadOnly && error.number === READ_ONLY_DATABASE) return false;
    if (unit.lossesOn.has(life)) return false;
    unit.lossesOn.add(life);
    this.#drop({ error: Object.assign(new Error(error.message), { code: 'EREQUEST' }), said: error });
    return true;
  }

  /** The unit at the head has its answer. */
  #answered(unit: TdsUnit): void {
    this.answer.forget();
    this.#pending = this.#pending.filter((one) => one !== unit);
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
        this.#connection?.destroy();
        this.#connection = null;
        return;
      case 'await-release':
        this.recovery.awaitRelease();
        return;
      case 'resume':
        this.#resume(effect.plan, effect.doom);
        return;
      case 'close':
        this.#close();
    }
  }

  /** The replayed transaction is void; nothing else may reach the server before that (R5). */
  #rollBack(): void {
    this.#transactionIsGone();
    const connection = this.#connection;
    if (connection === null) return;
    runBatch(connection, 'IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION').then(
      () => {
        // What ran there next would never be committed.
        if (connection.isInTransaction && this.#connection === connection) this.cut();
      },
      () => {
        // Without its connection the transaction is gone as well.
      },
    );
  }

  #transactionIsGone(): void {
    this.open.reset();
    this.memory.transactionEnded();
    this.tokens.transactionEnded();
    this.#journalMemory.releaseJournal();
  }

  /** What waits goes on as the plan says, then what came since (phase 3). */
  #resume(plan: LossPlan, doom: Doom | null): void {
    const refusal = this.recovery.resumed();
    const { units } = this.open;
    this.lastResult.reconnected(plan.transaction === 'gone' ? [] : units);
    if (plan.transaction === 'gone') this.#transactionIsGone();
    for (const [index, unit] of [...this.#pending].entries()) {
      const fate = plan.fates[index] ?? 'send';
      if (unit.isAbandoned) {
        this.#local.owe(fate);
        this.#answered(unit);
        continue;
      }
      if ((fate === 'send' || fate === 'again') && refusal === null) {
        sendAgain(unit);
        this.#go(unit, fate === 'again');
        continue;
      }
      if (fate === 'send' || fate === 'again') continue;
      if (fate === 'finish' || fate === 'lost') keepAcknowledged(this, unit, units);
      const ends = this.#local.settle(unit, fate, doom, this.recovery.cause);
      if (ends && this.#doom !== null) this.dispatch({ kind: 'doom-ended' });
      this.#answered(unit);
    }
    if (refusal !== null) {
      this.closeWith(
        new SessionClosedError(
          `the connection was lost, and ${refusal}`,
          this.recovery.cause === null ? {} : { cause: this.recovery.cause },
        ),
      );
    }
  }

  // ---- the end -----------------------------------------------------------------------------------------------

  closeWith(error: Error): void {
    const { state } = this;
    if (state.kind === 'closed') return;
    const isTold = this.#local.lastWords(this.#pending, 'plan' in state ? state.plan : null, error);
    this.dispatch({ kind: 'failed' });
    if (isTold) this.endpoint.end();
    else this.endpoint.destroy(asSocketError(error));
  }

  closeAsTerminated({ said, error }: ConnectionLoss): void {
    const unit = this.#pending.find((one) => !one.isAbandoned);
    this.dispatch({ kind: 'failed' });
    if (said === null || unit === undefined) {
      this.endpoint.destroy(asSocketError(error));
      return;
    }
    this.endpoint.answer(Buffer.concat([messageToken(TOKEN.error, said), endOf(unit, 2)]), true);
    this.endpoint.end();
  }

  #close(): void {
    const connection = this.#connection;
    this.#connection = null;
    connection?.destroy();
    this.recovery.closed();
    this.scouts.closeForGood();
    this.context.coordinator.remove(this);
    this.#journalMemory.releaseJournal();
    this.#journalMemory.releaseBulkLoad();
    this.#pending = [];
    this.open.reset();
  }
}

/** As Node says it of a peer that is gone, with the reason; tedious asks for the code. */
function asSocketError(error: Error): Error {
  if (!(error instanceof HoldfastError)) return error;
  const { message } = error;
  return Object.assign(new Error(message, { cause: error }), { code: 'ECONNRESET' });
}
