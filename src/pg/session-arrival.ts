import pRetry from 'p-retry';
import type { Ticket } from '../cluster/failover.ts';
import type { ReachableHost } from '../cluster/host-observation.ts';
import type { ServerIdentity } from '../cluster/member.ts';
import { HoldfastError } from '../errors.ts';
import { commitMeans } from './commit-means.ts';
import { fenceBackend } from './fence.ts';
import type { RenewedJudgement } from './judgement.ts';
import type { BackendIdentity, ProbeResult } from './probe.ts';
import type { Arrival, RecoveringSession } from './recovering-session.ts';
import { incarnationOf, type ProbedConnection } from './scouts.ts';
import type { ServerConnection } from './server-connection.ts';
import { takeBaseline } from './session-check.ts';
import { rebuildSession } from './rebuild-session.ts';
import { restoreSession } from './session-restore.ts';
import type { SessionSnapshot } from './session-snapshot.ts';
import type { Renewal } from './statement-judge.ts';
import type { StatementText } from './statement-text.ts';
import { endingOf } from './unit-facts.ts';

/** A server that was lost, and our backend there. */
export interface LostServer {
  readonly identity: ServerIdentity;
  readonly backend: BackendIdentity | null;
  readonly probe: ProbeResult;
}

/**
 * Brings a session onto a new server, up to the point where its work can be judged (phase 0): connects, ends what is left
 * of the session on the old server, restores its state, and learns what its statements do.
 */
export class SessionArrival {
  readonly #session: RecoveringSession;
  /** The server on which the application's work ran, and those on which a replay was interrupted since. */
  #backends: LostServer[] = [];
  #startedAt = 0;
  #refusal: string | null = null;
  /** The transaction in doubt may have changed the session's state; if it is committed, that is lost. */
  #doubtIfCommitted: string | null = null;
  #doubtIfRolledBack: string | null = null;

  constructor(session: RecoveringSession) {
    this.#session = session;
  }

  /** Why the session's state can't be restored on the new server (R7, R8); null if it can, or if that is not known yet. */
  get refusal(): string | null {
    return this.#refusal;
  }

  /** Where the application's own work ran. */
  get origin(): LostServer | null {
    return this.#backends[0] ?? null;
  }

  /** The connection under a session that was online is gone. */
  begin(): void {
    this.#refusal = null;
    this.#doubtIfCommitted = null;
    this.#doubtIfRolledBack = null;
    this.#backends = [];
    this.#startedAt = performance.now();
  }

  /** Another server was lost with the session on it. */
  left(server: LostServer): void {
    this.#backends.push(server);
  }

  /** The COMMIT in doubt may have taken effect: what it may have changed in the session's state is lost. */
  mayBeCommitted(): void {
    this.#refusal ??= this.#doubtIfCommitted;
  }

  /** The session goes on. Returns why it must be closed after all, if its state could not be restored. */
  end(isRolledBack: boolean): string | null {
    const refusal = this.#refusal ?? (isRolledBack ? this.#doubtIfRolledBack : null);
    this.#refusal = null;
    return refusal;
  }

  /** Tries until a host takes the session. Rejects if none ever can, or `signal` aborts. */
  async arrive(ticket: Ticket, signal: AbortSignal): Promise<Arrival> {
    const { retryMinMillis, retryMaxMillis } = this.#session.context.options;
    return await pRetry(() => this.#attempt(ticket, signal), {
      retries: Number.POSITIVE_INFINITY,
      factor: 2,
      minTimeout: retryMinMillis,
      maxTimeout: retryMaxMillis,
      randomize: true,
      signal,
      shouldRetry: ({ error }) => !(error instanceof HoldfastError),
    });
  }

  /** Rejects if the host does not take the session; the search then looks again. */
  async #attempt(ticket: Ticket, signal: AbortSignal): Promise<Arrival> {
    const session = this.#session;
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
      const means = await commitMeans(session.context, connection, host.address, probe);
      await this.#fence(connection, host, signal);
      const renewal: Renewal = {
        server: host.incarnation,
        notBeforeMillis: this.#startedAt,
        proofs: this.#dependsOnProofs,
      };
      await this.#restore(probed, renewal, signal);
      const texts = [...session.units, ...session.conversation.pending].flatMap((unit) => unit.texts);
      const judged = await this.#judge(texts, connection, renewal);
      if (connection.isLost) throw new Error('the connection was lost again');
      return { probed, host, means, judged };
    } catch (error) {
      probed?.connection.destroy();
      ticket.refused(host);
      signal.throwIfAborted();
      throw error instanceof TypeError ? new Error(error.message, { cause: error }) : error;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** Both of each text, so that nothing that others know or forget meanwhile has a word in the plan. */
  async #judge(
    texts: readonly StatementText[],
    connection: ServerConnection,
    renewal: Renewal,
  ): Promise<ReadonlyMap<StatementText, RenewedJudgement>> {
    const { context, memory } = this.#session;
    if (texts.length === 0) return new Map();
    const questions = context.memory.questions(connection);
    const byName = await context.database.learn(texts, questions, memory.judged, renewal);
    const inDoubt = await context.database.learn(texts, questions, memory.judgedInDoubt, renewal);
    return new Map(texts.map((text, index) => [text, { byName: byName[index]!, inDoubt: inDoubt[index]! }]));
  }

  /**
   * R2, R6: something in flight may be run again, or a COMMIT may turn out to have had nothing to commit, because it is
   * proved that statements only read. Where a transaction is only replayed, all that counts is what acts outside.
   */
  get #dependsOnProofs(): boolean {
    const { journal, pending } = this.#session.conversation;
    return pending.some(
      (unit) => unit.writtenTo > unit.start && (!journal.open || endingOf(unit) !== 'none'),
    );
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
      // A pooler gives it to the next session then; in an open transaction it ends it.
      if (backend?.isPooled === true && !session.conversation.journal.open) continue;
      const fenced = backend === null ? 'unknown' : await fenceBackend(connection, backend, { signal });
      if (fenced !== 'gone') {
        this.#refusal ??= 'its old server process could not be ended, and may still hold its locks';
      }
    }
  }

  /**
   * A unit in doubt was found not to have taken effect on the server that it was sent to. Its backend can't commit it any
   * more, but may still hold its locks.
   */
  async fenceOrigin(
    connection: ServerConnection,
    incarnation: string | null,
    signal: AbortSignal,
  ): Promise<void> {
    const { origin } = this;
    if (origin === null || origin.backend === null || origin.identity.incarnation !== incarnation) return;
    if (origin.backend.isPooled && !this.#session.conversation.journal.open) return;
    const fenced = await fenceBackend(connection, origin.backend, { signal });
    if (fenced !== 'gone') {
      this.#refusal ??= 'its old server process could not be ended, and may still hold its locks';
    }
  }

  /** R8: the session's state, by value and verified, before anything else. */
  async #restore(
    { connection, probe }: ProbedConnection,
    renewal: Renewal,
    signal: AbortSignal,
  ): Promise<void> {
    const session = this.#session;
    if (this.#refusal !== null) return;
    const target = await session.memory.target(session.context.memory.questions(connection), renewal);
    if (target.kind === 'refuse') {
      this.#refusal = target.reason;
      return;
    }
    this.#refusal = this.#otherDefaults(probe, target.snapshot);
    if (this.#refusal !== null) return;
    // In front of `restored`, which puts the session's own path in its place.
    session.memory.dialled(probe.searchPath);
    this.#doubtIfCommitted ??= target.inDoubtIfCommitted;
    this.#doubtIfRolledBack ??= target.inDoubtIfRolledBack;
    let { snapshot } = target;
    if (snapshot !== null) {
      const names = [...snapshot.customSettings.keys()];
      const baseline = await takeBaseline(connection, names);
      // Whoever has pins and comes so far has a hook that rebuilds them.
      const result = await restoreSession(connection, { ...snapshot, pins: [] }, baseline);
      if (result.kind === 'refused') {
        this.#refusal = result.reason;
        return;
      }
      const { onReconnect } = session.context.options;
      if (snapshot.pins.length > 0 && onReconnect !== undefined) {
        const { clientConfig } = session.context.resolved;
        const rebuilt = await rebuildSession(connection, snapshot, {
          hook: onReconnect,
          clientConfig,
          customNames: session.memory.customNames,
          signal,
        });
        if (rebuilt.kind === 'refused') {
          this.#refusal = rebuilt.reason;
          return;
        }
        snapshot = rebuilt.snapshot;
      }
      if (snapshot.channels.length > 0) {
        session.context.coordinator.publish('notificationGap', {
          session: session.id,
          channels: snapshot.channels,
        });
      }
    }
    session.memory.restored(snapshot);
  }

  /** R4: a transaction must not be replayed where the same statements mean something else. Null if they do not. */
  #otherDefaults(probe: ProbeResult, snapshot: SessionSnapshot | null): string | null {
    const before = this.origin?.probe;
    if (before === undefined || !this.#session.conversation.journal.open) return null;
    const differs = (name: string, one: string | null, other: string | null): boolean =>
      one !== other && one !== null && other !== null && snapshot?.settings.has(name) !== true;
    if (differs('search_path', before.searchPath, probe.searchPath)) {
      return 'search_path has another default on the new connection';
    }
    if (differs('default_transaction_isolation', before.defaultIsolation, probe.defaultIsolation)) {
      return 'default_transaction_isolation has another default on the new connection';
    }
    return null;
  }
}
