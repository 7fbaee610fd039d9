import pRetry from 'p-retry';
import { abortable } from '../cluster/abortable.ts';
import type { Ticket } from '../cluster/failover.ts';
import type { ReachableHost } from '../cluster/host-observation.ts';
import type { ServerIdentity } from '../cluster/member.ts';
import { FailoverFailedError, HoldfastError, SessionClosedError } from '../errors.ts';
import { resolveCommit } from './commit-resolver.ts';
import { fenceBackend } from './fence.ts';
import { queryMessage, statementMessages } from './frontend-messages.ts';
import { HiddenAnswer } from './hidden-answer.ts';
import type { Journal } from '../session/journal.ts';
import type { LossPlan } from '../session/loss-situation.ts';
import type { RecoveringSession } from './recovering-session.ts';
import { loneTicket } from './lone-ticket.ts';
import { makeUnit, type PgUnit } from './pg-unit.ts';
import type { BackendIdentity, ProbeResult } from './probe.ts';
import { replayJournal } from './replay.ts';
import { incarnationOf, type ProbedConnection } from './scouts.ts';
import { lossError, type ConnectionLoss, type ServerConnection } from './server-connection.ts';
import { endingOf } from './unit-facts.ts';
import { restoreSession } from './session-restore.ts';
import type { SqlRow } from './sql-runner.ts';
import { takeBaseline } from './session-check.ts';

/** Kills that are aimed at one session whatever the server does afterwards (R14). */
const ALWAYS_AIMED: ReadonlySet<string> = new Set([
  '25P03', // idle_in_transaction_session_timeout
  '25P04', // transaction_timeout
  '57P04', // its database was dropped
]);

/** Aimed at one session only if its server goes on as it was (R14). */
const AIMED_IF_SERVER_LIVES: ReadonlySet<string> = new Set([
  '57P01', // pg_terminate_backend; also any shutdown
  '40001', // FATAL: conflict with recovery
]);

/** The resolver gave up while the server still owed it an answer. */
const LEAVES_CONNECTION_BUSY: ReadonlySet<string> = new Set([
  'no-answer',
  'not-replicated',
  'still-in-progress',
  'waiting-for-sync',
]);

/** The server that was lost, and our backend there. */
interface LostServer {
  readonly identity: ServerIdentity;
  readonly backend: BackendIdentity | null;
  readonly probe: ProbeResult;
}

/**
 * Brings one session from a lost server to a new one: the I/O of the phases of design.md section 1. What is to be done
 * is decided by the session's machine; each step here ends by telling it what happened.
 */
export class SessionRecovery {
  readonly #session: RecoveringSession;
  #loss: ConnectionLoss | null = null;
  /** The server lost last. */
  #lost: LostServer | null = null;
  /** The server on which the application's work ran, and those on which a replay was interrupted since. */
  #backends: LostServer[] = [];
  #ticket: Ticket | null = null;
  #abort: AbortController | null = null;
  #deadline: NodeJS.Timeout | undefined;
  #startedAt = 0;
  #attempts = 0;
  #dormant = false;
  /** Ends the look at the hosts that an idle session takes part in. */
  #endReport: (() => void) | null = null;
  /** A statement was in flight or a transaction open when the connection was lost. */
  #wasBusy = false;
  /** The plan holds a verdict or a doom: it must not be made anew. */
  #planIsFinal = false;
  /** Why the session's state can't be restored on the new server (R7, R8). */
  #refusal: string | null = null;
  /** The transaction in doubt may have changed the session's state; if it is committed, that is lost. */
  #stateInDoubt: string | null = null;
  /** The same if it is rolled back. */
  #stateInDoubtIfRolledBack: string | null = null;
  #aimed = false;
  /** A replay was out of order: the next one goes behind all others. */
  #isLast = false;
  /** Isolation, access mode and deferrability of the transaction that a COMMIT AND CHAIN under way ends. */
  #chainMode: SqlRow | null = null;
  #passedFirstBarrier = false;

  constructor(session: RecoveringSession) {
    this.#session = session;
  }

  get isLast(): boolean {
    return this.#isLast;
  }

  get refusal(): string | null {
    return this.#refusal;
  }

  /** What the connection was lost to, for `cause`. */
  get cause(): Error | null {
    return this.#loss === null ? null : lossError(this.#loss);
  }

  get failoverId(): number {
    return this.#ticket?.failoverId ?? 0;
  }

  /** The connection under a session that was online is gone. */
  lost(loss: ConnectionLoss): void {
    this.#loss = loss;
    this.#wasBusy = this.#session.isBusy;
    this.#refusal = null;
    this.#stateInDoubt = null;
    this.#stateInDoubtIfRolledBack = null;
    this.#backends = [];
    this.#planIsFinal = false;
    this.#aimed = false;
    this.#isLast = false;
    this.#attempts = 0;
    this.#startedAt = performance.now();
  }

  /** Effect 'reconnect': now, or with the next statement if nobody needs the session (R8). */
  reconnect(): void {
    const session = this.#session;
    const { server, probe } = session;
    if (server !== null && probe !== null) {
      this.#lost = { identity: server, backend: probe.backend, probe };
      this.#backends.push(this.#lost);
    }
    this.#passedFirstBarrier = false;
    const code = this.#loss?.fatal?.get('C') ?? null;
    const state = session.state;
    if (this.#abort === null && state.kind === 'reconnecting') {
      const inDoubt = state.plan.resolve !== null;
      const busy = this.#wasBusy;
      if (
        busy &&
        !inDoubt &&
        code !== null &&
        ALWAYS_AIMED.has(code) &&
        this.#respectsKills &&
        this.#loss !== null
      ) {
        session.closeAsTerminated(this.#loss);
        return;
      }
      if (!busy && state.doom === null) {
        const refusal = session.memory.knownRefusal;
        if (refusal !== null) {
          this.#fail(new SessionClosedError(`the connection was lost, and ${refusal}`, this.#because));
          return;
        }
        if (session.memory.channels.length === 0) {
          this.#dormant = true;
          this.#report();
          return;
        }
      }
    }
    this.#begin();
  }

  /**
   * An idle session needs no server, but what it lost may be a host: the others on it must know (R12). One look at the
   * hosts, shared by all who ask at the same time.
   */
  #report(): void {
    const session = this.#session;
    const { coordinator, options } = session.context;
    const lost = this.#lost;
    if (lost === null || !session.followsPrimary || !coordinator.hasOthersOn(session, lost.identity)) return;
    const abort = new AbortController();
    let ticket: Ticket;
    try {
      ticket = coordinator.join(session, lost.identity, this.#loss?.fatal?.get('C') ?? causeCode(this.#loss));
    } catch {
      return; // The waiting room is full: there are others enough who look.
    }
    const end = (): void => {
      abort.abort(new Error('nobody needs to know any more'));
      ticket.leave('ready');
      if (this.#endReport === end) this.#endReport = null;
      if (this.#dormant) session.scouts.close();
    };
    this.#endReport = end;
    const signal = AbortSignal.any([abort.signal, AbortSignal.timeout(options.dialTimeoutMillis)]);
    ticket.primary(signal).then(end, end);
  }

  /** The application has something to send: a session that was not needed is needed now. */
  wake(): void {
    if (!this.#dormant) return;
    this.#dormant = false;
    this.#startedAt = performance.now();
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
    let abort = this.#abort;
    if (abort === null) {
      abort = new AbortController();
      this.#abort = abort;
      const { timeoutMillis } = this.#session.context.options;
      this.#deadline = setTimeout(() => {
        this.#timedOut(timeoutMillis);
      }, timeoutMillis);
    }
    const epoch = this.#epoch();
    this.#attempts++;
    this.#connect(abort.signal, epoch).catch((error: unknown) => {
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

  #timedOut(timeoutMillis: number): void {
    const reason = this.#session.context.coordinator.lastFailoverReason;
    this.#fail(
      new FailoverFailedError(
        `the connection was lost and could not be replaced within ${timeoutMillis} ms (failover.timeoutMillis): ${reason}`,
        this.#because,
      ),
    );
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
    if (this.#attempts > 1)
      await pause(options.retryMinMillis, options.retryMaxMillis, this.#attempts, signal);
    const before = this.#ticket;
    const cause = this.#loss?.fatal?.get('C') ?? causeCode(this.#loss);
    const ticket = session.followsPrimary
      ? coordinator.join(session, lost.identity, cause)
      : loneTicket(session);
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
    const found = await pRetry(() => this.#attempt(ticket, signal), {
      retries: Number.POSITIVE_INFINITY,
      factor: 2,
      minTimeout: options.retryMinMillis,
      maxTimeout: options.retryMaxMillis,
      randomize: true,
      signal,
      shouldRetry: ({ error }) => !(error instanceof HoldfastError),
    });
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
    session.reconnected(found.probed, found.host, found.markWorks, found.judged);
    const plan = this.#planIsFinal ? null : session.makePlan();
    session.dispatch({ kind: 'reconnected', epoch, plan });
  }

  /** R14: a session that was killed on a server which goes on as before was meant to be killed. */
  async #isAimed(ticket: Ticket, lost: LostServer, signal: AbortSignal): Promise<boolean> {
    const code = this.#loss?.fatal?.get('C');
    if (code === undefined || !AIMED_IF_SERVER_LIVES.has(code) || !this.#respectsKills) return false;
    if (!this.#wasBusy || this.#attempts > 1) return false;
    const window = AbortSignal.any([
      signal,
      AbortSignal.timeout(this.#session.context.options.terminationProbeMillis),
    ]);
    try {
      const host = await ticket.primary(window);
      return host.incarnation === lost.identity.incarnation;
    } catch {
      return false;
    }
  }

  async #attempt(ticket: Ticket, signal: AbortSignal) {
    const session = this.#session;
    const { memory, database } = session.context;
    const host = await ticket.primary(signal);
    let probed: ProbedConnection | null = null;
    const onAbort = (): void => {
      probed?.connection.destroy();
    };
    try {
      probed = await session.scouts.take(host, signal);
      signal.addEventListener('abort', onAbort, { once: true });
      const { connection, probe } = probed;
      if (
        incarnationOf(host.address, probe) !== host.incarnation ||
        (session.followsPrimary && !probe.writable)
      ) {
        throw new Error('the server is not what it was a moment ago');
      }
      const markWorks = await memory.markWorks(connection, host.address, probe);
      await this.#fence(connection, host, signal);
      await this.#restore(connection, probe.searchPath);
      const texts = [...session.units, ...session.conversation.pending].flatMap((unit) => unit.texts);
      const notBefore = this.#dependsOnProofs ? this.#startedAt : Number.NEGATIVE_INFINITY;
      const judgements =
        texts.length === 0 ? [] : await database.learn(texts, connection, session.memory.judged, notBefore);
      const judged = new Map(texts.map((text, index) => [text, judgements[index]!]));
      if (connection.isLost) throw new Error('the connection was lost again');
      return { probed, host, markWorks, judged };
    } catch (error) {
      probed?.connection.destroy();
      ticket.refused(host);
      signal.throwIfAborted();
      throw error instanceof TypeError ? new Error(error.message, { cause: error }) : error;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /**
   * R2, R6: something in flight may be run again, or a COMMIT may turn out to have had nothing to commit, because it is
   * proved that statements only read. Such a proof must be younger than the loss, since others may have changed the
   * catalogue; asking anew costs some 10 ms, which what is replayed as a whole need not wait for.
   */
  get #dependsOnProofs(): boolean {
    const { journal, pending } = this.#session.conversation;
    return journal.open ? pending.some((unit) => endingOf(unit) !== 'none') : pending.length > 0;
  }

  /**
   * R4: where the server lives on, so may our old backend, with its locks and with work it has not finished. A COMMIT in
   * doubt is left to the resolver, which must not end a backend that waits for its synchronous standby (A5).
   */
  async #fence(connection: ServerConnection, host: ReachableHost, signal: AbortSignal): Promise<void> {
    const session = this.#session;
    if (!session.isBusy) return;
    const { state } = session;
    const inDoubt = state.kind === 'reconnecting' && state.plan.resolve !== null;
    for (const [index, { identity, backend }] of this.#backends.entries()) {
      if (identity.incarnation !== host.incarnation || (inDoubt && index === 0)) continue;
      const fenced = backend === null ? 'unknown' : await fenceBackend(connection, backend, { signal });
      if (fenced !== 'gone') {
        this.#refusal ??= 'its old server process could not be ended, and may still hold its locks';
      }
    }
  }

  /** R8: the session's state, by value and verified, before anything else. */
  async #restore(connection: ServerConnection, searchPath: string | null): Promise<void> {
    const session = this.#session;
    if (this.#refusal !== null) return;
    const target = await session.memory.target(connection);
    if (target.kind === 'refuse') {
      this.#refusal = target.reason;
      return;
    }
    // In front of `restored`, which puts the session's own path in its place.
    session.memory.dialled(searchPath);
    this.#stateInDoubt ??= target.inDoubtIfCommitted;
    this.#stateInDoubtIfRolledBack ??= target.inDoubtIfRolledBack;
    if (target.snapshot !== null) {
      const names = [...target.snapshot.customSettings.keys()];
      const baseline = await takeBaseline(connection, names);
      const result = await restoreSession(connection, target.snapshot, baseline);
      if (result.kind === 'refused') {
        this.#refusal = result.reason;
        return;
      }
      if (target.snapshot.channels.length > 0) {
        session.context.coordinator.publish('notificationGap', {
          session: session.id,
          channels: target.snapshot.channels,
        });
      }
    }
    session.memory.restored(target.snapshot);
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
    const { connection, probe } = session;
    const [origin] = this.#backends;
    const signal = this.#abort?.signal;
    if (connection === null || probe === null || origin === undefined || signal === undefined) return;
    const startedAt = performance.now();
    const { outcome, reason } = await resolveCommit({
      mark: session.markInDoubt,
      backend: origin.backend,
      captured: origin.probe,
      runner: connection,
      server: probe,
      lineage: session.context.memory.lineage,
      preparedAs: this.#preparedAs(),
      signal: this.#resolveSignal(signal),
    });
    if (!this.#isCurrent(epoch)) return;
    const { coordinator } = session.context;
    if (outcome === 'unknown') coordinator.counters.commitsUnknown++;
    else coordinator.counters.commitsResolved++;
    coordinator.publish('commitResolved', {
      session: session.id,
      outcome,
      reason,
      durationMillis: performance.now() - startedAt,
    });
    this.#planIsFinal = true;
    if (outcome === 'not-committed' && this.#aimed && this.#loss !== null) {
      session.closeAsTerminated(this.#loss); // R14: not to be replayed.
      return;
    }
    if (outcome !== 'not-committed') this.#refusal ??= this.#stateInDoubt;
    session.dispatch({ kind: 'resolved', epoch, outcome });
    // It still waits for the answer to a question: the session goes on over another connection.
    if (LEAVES_CONNECTION_BUSY.has(reason)) session.cut();
  }

  /** The identifier, if a PREPARE TRANSACTION is in doubt. */
  #preparedAs(): string | null {
    const { state, conversation } = this.#session;
    if (state.kind !== 'resolving') return null;
    const unit = conversation.pending[state.unit];
    if (unit === undefined || endingOf(unit) !== 'prepare') return null;
    const literal = /'((?:[^']|'')*)'/.exec(unit.texts[0]?.text ?? '')?.[1];
    return literal?.replaceAll("''", "'") ?? null;
  }

  /** The resolver answers 'unknown' a little before the session's own deadline, so that its word is heard. */
  #resolveSignal(signal: AbortSignal): AbortSignal {
    const { timeoutMillis } = this.#session.context.options;
    const left = timeoutMillis - (performance.now() - this.#startedAt);
    return AbortSignal.any([signal, AbortSignal.timeout(Math.max(1, Math.floor(left * 0.9)))]);
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
    const signal = this.#abort?.signal;
    if (connection === null || ticket === null || signal === undefined) return;
    if (this.#refusal !== null) {
      this.#planIsFinal = true;
      session.dispatch({ kind: 'gave-up', epoch, doom: { kind: 'not-replayable', reason: this.#refusal } });
      return;
    }
    await this.#firstBarrier(ticket, signal);
    const { coordinator } = session.context;
    const startedAt = performance.now();
    const about = { id: ticket.failoverId, session: session.id, statements: session.units.length };
    const durationMillis = (): number => performance.now() - startedAt;
    coordinator.counters.replays++;
    coordinator.publish('replayStarted', about);
    const result = await replayJournal(session, connection, ticket.order, signal);
    if (!this.#isCurrent(epoch)) return;
    switch (result.kind) {
      case 'replayed':
        session.memory.transactionBegan();
        for (const unit of session.units) session.memory.ran(unit.texts);
        await session.marks.afterReplay(connection, session.units, result.status);
        if (!this.#isCurrent(epoch)) return;
        coordinator.publish('replaySucceeded', { ...about, durationMillis: durationMillis() });
        session.dispatch({ kind: 'replayed', epoch });
        return;
      case 'diverged':
        coordinator.counters.replaysDiverged++;
        coordinator.publish('replayDiverged', {
          ...about,
          durationMillis: durationMillis(),
          reason: result.reason,
        });
        this.#planIsFinal = true;
        session.dispatch({ kind: 'gave-up', epoch, doom: { kind: 'diverged', reason: result.reason } });
        return;
      case 'again':
        if (result.isOutOfOrder) this.#isLast = true;
        coordinator.publish('replayFailed', {
          ...about,
          durationMillis: durationMillis(),
          reason: result.reason,
        });
        session.cut();
    }
  }

  async #firstBarrier(ticket: Ticket, signal: AbortSignal): Promise<void> {
    if (this.#passedFirstBarrier) return;
    this.#passedFirstBarrier = true;
    await ticket.resolved(signal);
  }

  // ---- between phases 2 and 3 --------------------------------------------------------------------------------

  /** Effect 'await-release'. */
  awaitRelease(): void {
    const epoch = this.#epoch();
    const ticket = this.#ticket;
    const signal = this.#abort?.signal;
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
    const rolledBack = plan.situation.open && plan.transaction === 'gone';
    const refusal = this.#refusal ?? (rolledBack ? this.#stateInDoubtIfRolledBack : null);
    this.#end('ready');
    this.#refusal = null;
    return refusal;
  }

  /** The session is closed. */
  closed(): void {
    this.#abort?.abort(new SessionClosedError('the session was closed'));
    this.#endReport?.();
    this.#end('failed');
    this.#dormant = false;
  }

  #end(outcome: 'ready' | 'failed'): void {
    clearTimeout(this.#deadline);
    this.#deadline = undefined;
    this.#abort = null;
    this.#ticket?.leave(outcome);
    this.#ticket = null;
    this.#session.scouts.close();
  }

  // ---- while online ------------------------------------------------------------------------------------------

  /**
   * A COMMIT AND CHAIN is about to be written: asks in front of it, in the same write, for the mode of the transaction,
   * which the chained one inherits (A1).
   */
  askChainMode(connection: ServerConnection): void {
    this.#chainMode = null;
    connection.ask(
      statementMessages(CHAINED_SQL, []),
      new HiddenAnswer((_error, row) => {
        this.#chainMode = row;
      }),
    );
  }

  /** COMMIT AND CHAIN has begun a transaction without a BEGIN: puts one in front of its journal. */
  beginChained(journal: Journal<PgUnit>): void {
    const begin = this.#chainMode === null ? null : beginOf(this.#chainMode);
    if (begin === null) {
      journal.makeUnreplayable('it was begun by COMMIT AND CHAIN, and the server would not tell its mode');
      return;
    }
    const unit = makeUnit(true, 0, queryMessage(begin));
    unit.closed = true;
    journal.beginChained(unit);
  }
}

const CHAINED_SQL = `SELECT pg_catalog.current_setting('transaction_isolation'),
  pg_catalog.current_setting('transaction_read_only'), pg_catalog.current_setting('transaction_deferrable')`;

function beginOf([isolation, readOnly, deferrable]: SqlRow): string | null {
  const level = /^(serializable|repeatable read|read committed|read uncommitted)$/.exec(isolation ?? '')?.[0];
  if (level === undefined) return null;
  const access = readOnly === 'on' ? 'READ ONLY' : 'READ WRITE';
  return `BEGIN ISOLATION LEVEL ${level}, ${access}, ${deferrable === 'on' ? '' : 'NOT '}DEFERRABLE`;
}

function causeCode(loss: ConnectionLoss | null): string | null {
  const code = (loss?.socketError as { code?: unknown } | null | undefined)?.code;
  return typeof code === 'string' ? code : null;
}

/** Waits longer each time, so that a server that takes connections and drops them is not hammered. */
function pause(min: number, max: number, attempt: number, signal: AbortSignal): Promise<void> {
  const millis = Math.min(max, min * 2 ** Math.min(attempt - 2, 10));
  return abortable(new Promise((resolve) => setTimeout(resolve, millis)), signal);
}
