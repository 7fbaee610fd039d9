import pRetry from 'p-retry';
import type { Ticket } from '../../cluster/failover.ts';
import type { ReachableHost } from '../../cluster/host-observation.ts';
import { loneTicket } from '../../cluster/lone-ticket.ts';
import type { ServerIdentity } from '../../cluster/member.ts';
import { pauseBeforeAttempt } from '../../cluster/pause-before-attempt.ts';
import { abortable } from '../../cluster/abortable.ts';
import { FailoverFailedError, HoldfastError, SessionClosedError } from '../../errors.ts';
import { RecoveryDeadline } from '../../session/recovery-deadline.ts';
import { hostKey } from '../../topology/host-address.ts';
import type { ServerConnection } from '../link/server-connection.ts';
import type { ProbedConnection } from '../hosts/scouts.ts';
import { mustRun, ServerError } from '../link/batch.ts';
import { SESSION_KILLED } from '../loss-errors.ts';
import { resolveKeys } from '../token/resolve-keys.ts';
import type { ConnectionLoss, RecoveringSession } from './recovering-session.ts';
import { replayJournal, type ReplayResult } from './replay.ts';

/**
 * Brings one session from a lost server to a new one: the I/O of the phases of design.md section 1. What is to be done is
 * decided by the session's machine; each step here ends by telling it what happened.
 */
export class Recovery {
  readonly #session: RecoveringSession;
  readonly #deadline: RecoveryDeadline;
  #loss: ConnectionLoss | null = null;
  #lost: ServerIdentity | null = null;
  #ticket: Ticket | null = null;
  #attempts = 0;
  #isDormant = false;
  #wasBusy = false;
  /** The plan holds a verdict or a doom: it must not be made anew. */
  #planIsFinal = false;
  #replayRound = 0;
  #hasPassedFirstBarrier = false;
  #isRestored = false;
  /** Why the session's state can't be restored (R7, R8). */
  #refusal: string | null = null;

  constructor(session: RecoveringSession) {
    this.#session = session;
    this.#deadline = new RecoveryDeadline(session);
  }

  get replayRound(): number {
    return this.#replayRound;
  }

  get cause(): Error | null {
    return this.#loss?.error ?? null;
  }

  /** Nobody needs the session just now: it reconnects with its next request. */
  get isDormant(): boolean {
    return this.#isDormant;
  }

  /** The connection under a session that was online is gone. */
  lost(loss: ConnectionLoss): void {
    this.#loss = loss;
    this.#wasBusy = this.#session.isBusy;
    this.#planIsFinal = false;
    this.#replayRound = 0;
    this.#attempts = 0;
    this.#refusal = null;
    this.#deadline.countFromNow();
  }

  /** Effect 'reconnect': now, or with the next request if nobody needs the session (R8). */
  reconnect(): void {
    const session = this.#session;
    this.#lost = session.server ?? this.#lost;
    this.#hasPassedFirstBarrier = false;
    this.#isRestored = false;
    const { state } = session;
    if (!this.#deadline.isRunning && state.kind === 'reconnecting' && !this.#wasBusy && state.doom === null) {
      const refusal = session.memory.refusal(false);
      if (refusal !== null) {
        this.#fail(new SessionClosedError(`the connection was lost, and ${refusal}`, this.#because));
        return;
      }
      this.#isDormant = true;
      return;
    }
    this.#begin();
  }

  /** The application has something to send. */
  wake(): void {
    if (!this.#isDormant) return;
    this.#isDormant = false;
    this.#deadline.countFromNow();
    this.#begin();
  }

  get #because(): { cause?: Error } {
    return this.#loss === null ? {} : { cause: this.#loss.error };
  }

  #begin(): void {
    const signal = this.#deadline.begin((reason) => {
      this.#fail(new FailoverFailedError(reason, this.#because));
    });
    this.#attempts++;
    this.#run((epoch) => this.#connect(signal, epoch));
  }

  #run(step: (epoch: number) => Promise<void>): void {
    const epoch = this.#epoch();
    step(epoch).catch((error: unknown) => {
      this.#stepFailed(epoch, error);
    });
  }

  #epoch(): number {
    const { state } = this.#session;
    return 'epoch' in state ? state.epoch : -1;
  }

  #isCurrent(epoch: number): boolean {
    return this.#session.state.kind !== 'closed' && this.#epoch() === epoch;
  }

  #fail(error: Error): void {
    this.#session.closeWith(error);
  }

  /** A step rejected: if its connection is still there, it is given up, and all begins again (R10). */
  #stepFailed(epoch: number, error: unknown): void {
    if (!this.#isCurrent(epoch)) return;
    if (error instanceof HoldfastError || this.#session.connection === null) {
      this.#fail(error instanceof Error ? error : new Error(String(error)));
    } else this.#session.cut();
  }

  // ---- phase 0 -----------------------------------------------------------------------------------------------

  async #connect(signal: AbortSignal, epoch: number): Promise<void> {
    const session = this.#session;
    const { coordinator, options } = session.context;
    const lost = this.#lost;
    if (lost === null) throw new FailoverFailedError('the session never had a server');
    if (this.#attempts > 1) await pauseBeforeAttempt(this.#attempts, options, signal);
    const before = this.#ticket;
    const code =
      this.#loss?.said?.number ?? (this.#loss?.error as { code?: string } | undefined)?.code ?? null;
    const ticket = session.followsPrimary
      ? coordinator.join(session, lost, code === null ? null : String(code))
      : loneTicket(session, coordinator, 'any');
    this.#ticket = ticket;
    before?.leave('ready');
    const { probed, host } = await this.#arrive(ticket, signal);
    if (!this.#isCurrent(epoch)) {
      probed.connection.destroy();
      return;
    }
    if (this.#isAimed(lost, host)) {
      probed.connection.destroy();
      session.closeAsTerminated(this.#loss!);
      return;
    }
    session.reconnected(probed, host);
    session.dispatch({ kind: 'reconnected', epoch, plan: this.#planIsFinal ? null : session.makePlan() });
  }

  /** R14: the server goes on and has ended just this session; somebody meant it. */
  #isAimed(lost: ServerIdentity, host: ReachableHost): boolean {
    const { state, context } = this.#session;
    if (this.#loss?.said?.number !== SESSION_KILLED || context.options.onTerminated !== 'error') return false;
    if (!this.#wasBusy || this.#attempts > 1 || lost.incarnation !== host.incarnation) return false;
    return state.kind === 'reconnecting' && state.plan.resolve === null;
  }

  async #arrive(
    ticket: Ticket,
    signal: AbortSignal,
  ): Promise<{ probed: ProbedConnection; host: ReachableHost }> {
    const { options } = this.#session.context;
    return await pRetry(() => this.#attempt(ticket, signal), {
      retries: Number.POSITIVE_INFINITY,
      factor: 2,
      minTimeout: options.retryMinMillis,
      maxTimeout: options.retryMaxMillis,
      randomize: true,
      signal,
      shouldRetry: ({ error }) => !(error instanceof HoldfastError),
    });
  }

  async #attempt(
    ticket: Ticket,
    signal: AbortSignal,
  ): Promise<{ probed: ProbedConnection; host: ReachableHost }> {
    const session = this.#session;
    const host = await ticket.primary(signal);
    let probed: ProbedConnection | null = null;
    try {
      probed = await session.scouts.take(host, signal);
      const { connection, probe } = probed;
      if (probe.incarnation !== host.incarnation || (session.followsPrimary && !probe.isWritable)) {
        throw new Error('the server is not what it was a moment ago');
      }
      await abortable(session.tokens.ask(connection), signal);
      if (connection.isLost) throw new Error('the connection was lost again');
      return { probed, host };
    } catch (error) {
      probed?.connection.destroy();
      ticket.refused(host);
      signal.throwIfAborted();
      throw error instanceof TypeError ? new Error(error.message, { cause: error }) : error;
    }
  }

  // ---- phase 1 -----------------------------------------------------------------------------------------------

  /** Effect 'resolve'. */
  resolve(): void {
    this.#run(async (epoch) => {
      const session = this.#session;
      const { connection, state, tokens, context } = session;
      const signal = this.#deadline.signal;
      if (connection === null || signal === undefined || state.kind !== 'resolving') return;
      const unit = session.pending[state.unit];
      if (unit === undefined) return;
      const startedAt = performance.now();
      const { outcome, reason } = await resolveKeys(
        connection,
        tokens.schema,
        unit.keys,
        this.#deadline.resolveSignal(signal),
      );
      if (!this.#isCurrent(epoch)) return;
      const { counters } = context.coordinator;
      counters.commitsResolved++;
      if (outcome === 'unknown') counters.commitsUnknown++;
      const durationMillis = performance.now() - startedAt;
      context.coordinator.publish('commitResolved', { session: session.id, outcome, reason, durationMillis });
      this.#planIsFinal = true;
      session.dispatch({ kind: 'resolved', epoch, verdict: { outcome, isFinal: outcome === 'unknown' } });
    });
  }

  // ---- phase 2 -----------------------------------------------------------------------------------------------

  /** R8: the session's state, before anything else of it runs. Sets `#refusal` if it can't be. */
  async #restore(isReplayed: boolean, signal: AbortSignal): Promise<void> {
    if (this.#isRestored) return;
    const { memory, connection } = this.#session;
    if (connection === null) return;
    this.#refusal ??= memory.refusal(isReplayed);
    if (this.#refusal !== null) return;
    try {
      // The probe and the resolver have used settings of their own.
      await abortable(mustRun(connection, RESOLVER_LEFT), signal);
      for (const text of memory.restoration(isReplayed)) await abortable(mustRun(connection, text), signal);
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      this.#refusal = `its state could not be restored on the new server (error ${error.number})`;
    }
    this.#isRestored = true;
  }

  /** Effect 'replay'. */
  replay(): void {
    this.#run(async (epoch) => {
      const session = this.#session;
      const { connection } = session;
      const ticket = this.#ticket;
      const signal = this.#deadline.signal;
      if (connection === null || ticket === null || signal === undefined) return;
      await this.#restore(true, signal);
      if (!this.#isCurrent(epoch)) return;
      if (this.#refusal !== null) {
        this.#planIsFinal = true;
        session.dispatch({
          kind: 'gave-up',
          epoch,
          doom: { kind: 'not-replayable', reason: this.#refusal },
        });
        return;
      }
      await this.#firstBarrier(ticket, signal);
      const result = await this.#replayWithEvents(ticket, signal);
      if (!this.#isCurrent(epoch)) return;
      switch (result.kind) {
        case 'replayed':
          session.dispatch({ kind: 'replayed', epoch });
          return;
        case 'diverged':
          this.#planIsFinal = true;
          session.dispatch({ kind: 'gave-up', epoch, doom: { kind: 'diverged', reason: result.reason } });
          return;
        case 'again':
          if (result.isOutOfOrder) this.#replayRound++;
          session.cut();
      }
    });
  }

  async #replayWithEvents(ticket: Ticket, signal: AbortSignal): Promise<ReplayResult> {
    const session = this.#session;
    const { coordinator } = session.context;
    const startedAt = performance.now();
    const about = { id: ticket.failoverId, session: session.id, statements: session.open.units.length };
    coordinator.counters.replays++;
    coordinator.publish('replayStarted', about);
    const result = await replayJournal(session, session.connection!, ticket.order, signal);
    const durationMillis = performance.now() - startedAt;
    switch (result.kind) {
      case 'replayed':
        coordinator.publish('replaySucceeded', { ...about, durationMillis });
        break;
      case 'diverged':
        coordinator.counters.replaysDiverged++;
        coordinator.publish('replayDiverged', { ...about, durationMillis, reason: result.reason });
        break;
      case 'again':
        coordinator.publish('replayFailed', { ...about, durationMillis, reason: result.reason });
    }
    return result;
  }

  async #firstBarrier(ticket: Ticket, signal: AbortSignal): Promise<void> {
    if (this.#hasPassedFirstBarrier) return;
    this.#hasPassedFirstBarrier = true;
    await this.#settleAcknowledged(signal);
    await ticket.resolved(signal);
  }

  /** R9: before anything goes on here, what the lost server had acknowledged is looked for. */
  async #settleAcknowledged(signal: AbortSignal): Promise<void> {
    const session = this.#session;
    const { server, context, tokens } = session;
    if (server === null || server.incarnation === null || !session.followsPrimary) return;
    if (context.options.lostCommits === 'ignore' || !tokens.areAvailable) return;
    const connect = async (): Promise<ServerConnection> =>
      (await session.scouts.open(server.address, signal)).connection;
    const settled = context.acknowledged.settle(server.incarnation, connect, hostKey(server.address));
    await abortable(settled, signal);
  }

  // ---- between phases 2 and 3 --------------------------------------------------------------------------------

  /** Effect 'await-release'. */
  awaitRelease(): void {
    this.#run(async (epoch) => {
      const ticket = this.#ticket;
      const signal = this.#deadline.signal;
      if (ticket !== null && signal !== undefined) {
        await this.#restore(false, signal);
        await this.#firstBarrier(ticket, signal);
        await ticket.replayed(signal);
      }
      if (!this.#isCurrent(epoch)) return;
      this.#session.dispatch({ kind: 'released', epoch, pending: this.#session.pendingFacts() });
    });
  }

  /** The session goes on. Returns why it must be closed after all, if its state could not be restored. */
  resumed(): string | null {
    this.#end('ready');
    return this.#refusal;
  }

  /** The session is closed. */
  closed(): void {
    this.#deadline.abort(new SessionClosedError('the session was closed'));
    this.#end('failed');
    this.#isDormant = false;
  }

  #end(outcome: 'ready' | 'failed'): void {
    this.#deadline.end();
    this.#ticket?.leave(outcome);
    this.#ticket = null;
    this.#session.scouts.close();
  }
}

const RESOLVER_LEFT = 'SET LOCK_TIMEOUT -1;SET TRANSACTION ISOLATION LEVEL READ COMMITTED';
