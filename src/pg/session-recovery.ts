import { deadlineSignal } from '../cluster/deadline-signal.ts';
import { loneTicket } from '../cluster/lone-ticket.ts';
import { pauseBeforeAttempt } from '../cluster/pause-before-attempt.ts';
import type { Ticket } from '../cluster/failover.ts';
import { FailoverFailedError, HoldfastError, SessionClosedError } from '../errors.ts';
import { isAimed, mayBeAimed, serverGoesOn } from './aimed-kill.ts';
import { HostReport } from './host-report.ts';
import type { LossPlan } from '../session/loss-situation.ts';
import { planLoss } from '../session/loss-plan.ts';
import type { RecoveringSession } from './recovering-session.ts';
import { RecoveryDeadline } from '../session/recovery-deadline.ts';
import { preparePins, replaySession } from './replay-session.ts';
import { causeCode, fatalCode, lossError, type ConnectionLoss } from './connection-loss.ts';
import { leavesConnectionBusy, resolveInDoubt, tellResolution } from './resolve-in-doubt.ts';
import { SessionArrival, type LostServer } from './session-arrival.ts';

/**
 * Brings one session from a lost server to a new one: the I/O of the phases of design.md section 1. What is to be done
 * is decided by the session's machine; each step here ends by telling it what happened.
 */
export class SessionRecovery {
  readonly #session: RecoveringSession;
  readonly #arrival: SessionArrival;
  readonly #report: HostReport;
  readonly #deadline: RecoveryDeadline;
  #loss: ConnectionLoss | null = null;
  /** The server lost last. */
  #lost: LostServer | null = null;
  #ticket: Ticket | null = null;
  #attempts = 0;
  #dormant = false;
  /** A statement was in flight or a transaction open when the connection was lost. */
  #wasBusy = false;
  /** The plan holds a verdict or a doom: it must not be made anew. */
  #planIsFinal = false;
  #aimed = false;
  /** A replay was out of order: the next one goes behind all others. */
  #replayRound = 0;
  #passedFirstBarrier = false;

  constructor(session: RecoveringSession) {
    this.#session = session;
    this.#arrival = new SessionArrival(session);
    this.#report = new HostReport(session);
    this.#deadline = new RecoveryDeadline(session);
  }

  get replayRound(): number {
    return this.#replayRound;
  }

  get refusal(): string | null {
    return this.#arrival.refusal;
  }

  /** What the connection was lost to, for `cause`. */
  get cause(): Error | null {
    return this.#loss === null ? null : lossError(this.#loss);
  }

  /** The session's server is on another timeline than the one on which the application's work ran. */
  get hasChangedTimeline(): boolean {
    const before = this.#arrival.origin?.probe.timeline ?? null;
    const now = this.#session.probe?.timeline ?? null;
    return before !== null && now !== null && now > before;
  }

  get failoverId(): number {
    return this.#ticket?.failoverId ?? 0;
  }

  /** The connection under a session that was online is gone. */
  lost(loss: ConnectionLoss): void {
    this.#loss = loss;
    this.#wasBusy = this.#session.isBusy;
    this.#arrival.begin();
    this.#planIsFinal = false;
    this.#aimed = false;
    this.#replayRound = 0;
    this.#attempts = 0;
    this.#deadline.countFromNow();
  }

  /**
   * Effect 'reconnect': now, or with the next statement if nobody needs the session (R8). Who listens, or holds a lock,
   * needs it.
   */
  reconnect(): void {
    const session = this.#session;
    const { server, probe } = session;
    if (server !== null && probe !== null) {
      this.#lost = { identity: server, backend: probe.backend, probe };
      this.#arrival.left(this.#lost);
    }
    this.#passedFirstBarrier = false;
    const state = session.state;
    if (!this.#deadline.isRunning && state.kind === 'reconnecting') {
      const inDoubt = state.plan.resolve !== null;
      const busy = this.#wasBusy;
      if (busy && !inDoubt && isAimed(fatalCode(this.#loss)) && this.#respectsKills && this.#loss !== null) {
        session.closeAsTerminated(this.#loss);
        return;
      }
      if (!busy && state.doom === null) {
        const refusal = session.memory.knownRefusal;
        if (refusal !== null) {
          this.#fail(new SessionClosedError(`the connection was lost, and ${refusal}`, this.#because));
          return;
        }
        const isAwaited =
          session.memory.channels.length > 0 || session.memory.holdsRebuildable || session.holdsAnswers;
        if (!isAwaited) {
          this.#dormant = true;
          if (this.#lost !== null) {
            this.#report.begin(this.#lost.identity, causeCode(this.#loss), () => {
              if (this.#dormant) session.scouts.close();
            });
          }
          return;
        }
      }
    }
    this.#begin();
  }

  /** The application has something to send: a session that was not needed is needed now. */
  wake(): void {
    if (!this.#dormant) return;
    this.#dormant = false;
    this.#deadline.countFromNow();
    this.#begin();
  }

  get #respectsKills(): boolean {
    return this.#session.context.options.onTerminated === 'error';
  }

  get #because(): { cause?: Error } {
    const cause = this.cause;
    return cause === null ? {} : { cause };
  }

  #begin(): void {
    const signal = this.#deadline.begin((reason) => {
      this.#fail(new FailoverFailedError(reason, this.#because));
    });
    const epoch = this.#epoch();
    this.#attempts++;
    this.#connect(signal, epoch).catch((error: unknown) => {
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
    if (error instanceof HoldfastError) {
      this.#fail(error);
      return;
    }
    const { connection } = this.#session;
    if (connection === null) this.#fail(error instanceof Error ? error : new Error(String(error)));
    else this.#session.cut();
  }

  // ---- phase 0 -----------------------------------------------------------------------------------------------

  async #connect(signal: AbortSignal, epoch: number): Promise<void> {
    const session = this.#session;
    const { coordinator, options } = session.context;
    const lost = this.#lost;
    if (lost === null) throw new FailoverFailedError('the session never had a server');
    if (this.#attempts > 1) await pauseBeforeAttempt(this.#attempts, options, signal);
    const before = this.#ticket;
    const ticket = session.followsPrimary
      ? coordinator.join(session, lost.identity, causeCode(this.#loss))
      : loneTicket(session, coordinator, session.context.resolved.targetSessionAttrs);
    this.#ticket = ticket;
    before?.leave('ready');
    if (await this.#isAimed(ticket, lost, signal)) {
      this.#aimed = true;
      const { state } = session;
      if (state.kind === 'reconnecting' && state.plan.resolve === null && this.#loss !== null) {
        session.closeAsTerminated(this.#loss);
        return;
      }
    }
    const found = await this.#arrival.arrive(ticket, signal);
    if (!this.#isCurrent(epoch)) {
      found.probed.connection.terminate();
      return;
    }
    if (coordinator.isDeposed(found.host)) {
      // Another session's search has found its successor since.
      found.probed.connection.terminate();
      ticket.refused(found.host);
      this.#begin();
      return;
    }
    session.reconnected(found);
    const plan = this.#planIsFinal ? null : session.makePlan();
    if (this.#aimed && this.#loss !== null && plan?.resolve === null) {
      session.closeAsTerminated(this.#loss); // R14: nothing is in doubt any more, and nothing is run again.
      return;
    }
    session.dispatch({ kind: 'reconnected', epoch, plan });
  }

  async #isAimed(ticket: Ticket, lost: LostServer, signal: AbortSignal): Promise<boolean> {
    if (!mayBeAimed(fatalCode(this.#loss)) || !this.#respectsKills) return false;
    if (!this.#wasBusy || this.#attempts > 1) return false;
    const { terminationProbeMillis } = this.#session.context.options;
    const window = deadlineSignal(terminationProbeMillis, signal);
    return await serverGoesOn(this.#session, ticket, lost.identity, window);
  }

  // ---- phase 1 -----------------------------------------------------------------------------------------------

  /** Effect 'resolve'. */
  resolve(): void {
    const epoch = this.#epoch();
    this.#resolve(epoch).catch((error: unknown) => {
      this.#stepFailed(epoch, error);
    });
  }

  async #resolve(epoch: number): Promise<void> {
    const session = this.#session;
    const signal = this.#deadline.signal;
    if (signal === undefined) return;
    const startedAt = performance.now();
    const resolution = await resolveInDoubt(
      session,
      this.#arrival.origin,
      this.#deadline.resolveSignal(signal),
    );
    if (resolution === null || !this.#isCurrent(epoch)) return;
    const { outcome, isOfEarlierAttempt = false } = resolution;
    tellResolution(session, resolution, performance.now() - startedAt);
    this.#planIsFinal = true;
    const { state } = session;
    if (outcome === 'not-committed' && this.#aimed && this.#loss !== null && state.kind === 'resolving') {
      // R14: not to be replayed. What was pipelined in front of it hears what became of it.
      const { situation } = state.plan;
      const inFront = { ...situation, pending: situation.pending.slice(0, state.unit) };
      session.closeAsTerminated(this.#loss, planLoss(inFront));
      return;
    }
    if (outcome !== 'not-committed') this.#arrival.mayBeCommitted();
    else if (resolution.isByToken) await this.#fenceOrigin(signal);
    if (!this.#isCurrent(epoch)) return;
    // By the log position it is final that something was not committed (design review A4); a fence may be lost as well.
    const isFinal = outcome === 'unknown' || (outcome === 'not-committed' && !resolution.isByToken);
    session.dispatch({ kind: 'resolved', epoch, verdict: { outcome, isFinal, isOfEarlierAttempt } });
    if (leavesConnectionBusy(resolution)) session.cut();
  }

  async #fenceOrigin(signal: AbortSignal): Promise<void> {
    const { connection, server } = this.#session;
    if (connection !== null && server !== null) {
      await this.#arrival.fenceOrigin(connection, server.incarnation, signal);
    }
  }

  // ---- phase 2 -----------------------------------------------------------------------------------------------

  /** Effect 'replay'. */
  replay(): void {
    const epoch = this.#epoch();
    this.#replay(epoch).catch((error: unknown) => {
      this.#stepFailed(epoch, error);
    });
  }

  async #replay(epoch: number): Promise<void> {
    const session = this.#session;
    const { connection } = session;
    const ticket = this.#ticket;
    const signal = this.#deadline.signal;
    if (connection === null || ticket === null || signal === undefined) return;
    const reason = this.#arrival.refusal;
    if (reason !== null) {
      this.#planIsFinal = true;
      session.dispatch({ kind: 'gave-up', epoch, doom: { kind: 'not-replayable', reason } });
      return;
    }
    const pins = await preparePins(session, connection, signal);
    await this.#firstBarrier(ticket, signal);
    const isCurrent = (): boolean => this.#isCurrent(epoch);
    const result = await replaySession({ session, connection, ticket, pins, signal, isCurrent });
    if (result === null || !this.#isCurrent(epoch)) return;
    switch (result.kind) {
      case 'replayed':
        session.dispatch({ kind: 'replayed', epoch });
        return;
      case 'diverged':
      case 'not-replayable':
        this.#planIsFinal = true;
        session.dispatch({ kind: 'gave-up', epoch, doom: { kind: result.kind, reason: result.reason } });
        return;
      case 'again':
        if (result.isOutOfOrder) this.#replayRound++;
        session.cut();
    }
  }

  async #firstBarrier(ticket: Ticket, signal: AbortSignal): Promise<void> {
    if (this.#passedFirstBarrier) return;
    this.#passedFirstBarrier = true;
    await this.#settleCommitted(signal);
    await ticket.resolved(signal);
  }

  /** R9: before anything goes on here, what the lost server had acknowledged is looked for. */
  async #settleCommitted(signal: AbortSignal): Promise<void> {
    const { server, followsPrimary, context } = this.#session;
    if (server === null || server.incarnation === null || !followsPrimary) return;
    const { address, incarnation } = server;
    await context.coordinator.settleCommitted({ address, incarnation }, context.committed, signal);
  }

  // ---- between phases 2 and 3 --------------------------------------------------------------------------------

  /** Effect 'await-release'. */
  awaitRelease(): void {
    const epoch = this.#epoch();
    const ticket = this.#ticket;
    const signal = this.#deadline.signal;
    const release = async (): Promise<void> => {
      if (ticket !== null && signal !== undefined) {
        await this.#firstBarrier(ticket, signal);
        await ticket.replayed(signal);
      }
      if (!this.#isCurrent(epoch)) return;
      this.#session.dispatch({ kind: 'released', epoch, pending: this.#session.pendingFacts() });
    };
    release().catch((error: unknown) => {
      this.#stepFailed(epoch, error);
    });
  }

  /** The session goes on. Returns why it must be closed after all, if its state could not be restored. */
  resumed(plan: LossPlan): string | null {
    this.#end('ready');
    return this.#arrival.end(plan.situation.open && plan.transaction === 'gone');
  }

  /** The session is closed. */
  closed(): void {
    this.#deadline.abort(new SessionClosedError('the session was closed'));
    this.#report.stop();
    this.#end('failed');
    this.#dormant = false;
  }

  #end(outcome: 'ready' | 'failed'): void {
    this.#deadline.end();
    this.#ticket?.leave(outcome);
    this.#ticket = null;
    this.#session.scouts.close();
  }
}
