import { EventEmitter } from 'eventemitter3';

/**
 * What the driver tells about itself. Events come as Started/Succeeded/Failed with one id; durations are in
 * milliseconds. No statement text, parameter value or password is ever in an event.
 */
export interface FailoverEventMap {
  /** A connection was lost and a server is being looked for. One failover serves all sessions of the cluster. */
  failoverStarted: (event: FailoverStarted) => void;
  /** Every session that took part goes on. */
  failoverSucceeded: (event: FailoverSucceeded) => void;
  /** No eligible server was found in time. */
  failoverFailed: (event: FailoverFailed) => void;
  /** Sessions now go to another host than before. */
  hostChanged: (event: HostChanged) => void;
  replayStarted: (event: ReplayStarted) => void;
  replaySucceeded: (event: ReplaySucceeded) => void;
  /** The replay was interrupted and starts again from the beginning (R10), or was given up. */
  replayFailed: (event: ReplayFailed) => void;
  /** The replay gave other results; the application gets `ReplayDivergedError` (R5). */
  replayDiverged: (event: ReplayFailed) => void;
  /** The outcome of a COMMIT that was in flight is known, or given up as unknown (R6). */
  commitResolved: (event: CommitResolved) => void;
  /** A session waits for a failover to end. */
  waiting: (event: Waiting) => void;
  /** A limit was hit; what it means for the session is in `consequence`. */
  limitReached: (event: LimitReached) => void;
  /** A session that listens was moved: notifications sent in between are lost. */
  notificationGap: (event: NotificationGap) => void;
  /** A feature is off on this host because the server refuses what it needs; told once a host and process. */
  featureUnavailable: (event: FeatureUnavailable) => void;
  /** A topology provider failed, timed out or answered nonsense; its last good answer stays in use. */
  providerFailed: (event: ProviderFailed) => void;
}

export interface FailoverStarted {
  readonly id: number;
  /** The host whose connection was lost, as `host:port`. */
  readonly host: string;
  /** SQLSTATE or error code of the loss, such as `57P01` or `ECONNRESET`; null if it just ended. */
  readonly cause: string | null;
}

export interface FailoverSucceeded {
  readonly id: number;
  readonly durationMillis: number;
  readonly host: string;
  /** Sessions that took part. */
  readonly sessions: number;
}

export interface FailoverFailed {
  readonly id: number;
  readonly durationMillis: number;
  readonly reason: string;
}

export interface HostChanged {
  readonly from: string | null;
  readonly to: string;
  /** Timeline of the new primary, where the server tells it. */
  readonly timeline: number | null;
}

export interface ReplayStarted {
  readonly id: number;
  readonly session: number;
  /** Units of the journal: messages up to a Sync, or one simple query. */
  readonly statements: number;
}

export interface ReplaySucceeded extends ReplayStarted {
  readonly durationMillis: number;
}

export interface ReplayFailed extends ReplayStarted {
  readonly durationMillis: number;
  readonly reason: string;
}

export interface CommitResolved {
  readonly session: number;
  readonly outcome: 'committed' | 'not-committed' | 'unknown';
  readonly reason: string;
  readonly durationMillis: number;
}

export interface Waiting {
  readonly session: number;
  readonly host: string;
}

export interface LimitReached {
  readonly session: number | null;
  readonly limit: string;
  readonly value: number;
  readonly consequence: string;
}

export interface NotificationGap {
  readonly session: number;
  readonly channels: readonly string[];
}

export interface FeatureUnavailable {
  readonly host: string;
  readonly feature: string;
  readonly reason: string;
}

export interface ProviderFailed {
  readonly reason: string;
}

/** Counters since the start of the process, and what is going on now. */
export interface FailoverSnapshot {
  readonly primary: string | null;
  readonly timeline: number | null;
  readonly sessions: number;
  readonly waitingSessions: number;
  readonly failovers: number;
  readonly failoversFailed: number;
  readonly replays: number;
  readonly replaysDiverged: number;
  readonly commitsResolved: number;
  readonly commitsUnknown: number;
  readonly journalBytes: number;
}

type Listener = (event: never) => unknown;

/**
 * Typed source of the events above. A listener that throws is reported as a process warning and never disturbs a
 * session (style.md, habit 36).
 */
export class FailoverEvents {
  readonly #emitter = new EventEmitter<string>();
  readonly #takeSnapshot: () => FailoverSnapshot;
  /** Listener given to `once` → what is registered for it. */
  readonly #once = new WeakMap<Listener, Listener>();

  constructor(takeSnapshot: () => FailoverSnapshot) {
    this.#takeSnapshot = takeSnapshot;
  }

  /** Calls `listener` for each such event. */
  on<Name extends keyof FailoverEventMap>(name: Name, listener: FailoverEventMap[Name]): this {
    this.#emitter.on(name, listener);
    return this;
  }

  /** Calls `listener` for the next such event only. */
  once<Name extends keyof FailoverEventMap>(name: Name, listener: FailoverEventMap[Name]): this {
    const call = listener as (event: unknown) => unknown;
    const wrapper = (event: unknown): unknown => {
      this.#emitter.off(name, wrapper);
      return call(event);
    };
    this.#once.set(listener, wrapper);
    this.#emitter.on(name, wrapper);
    return this;
  }

  /** Takes a listener back. */
  off<Name extends keyof FailoverEventMap>(name: Name, listener: FailoverEventMap[Name]): this {
    this.#emitter.off(name, (this.#once.get(listener as Listener) ?? listener) as (event: unknown) => void);
    return this;
  }

  /** How many listeners wait for `name`. */
  listenerCount(name: keyof FailoverEventMap): number {
    return this.#emitter.listenerCount(name);
  }

  /** Counters and state of the cluster that this pool or client belongs to. */
  snapshot(): FailoverSnapshot {
    return this.#takeSnapshot();
  }

  /**
   * Publishes an event: each listener runs even if another one throws.
   *
   * @internal
   */
  publish<Name extends keyof FailoverEventMap>(
    name: Name,
    event: Parameters<FailoverEventMap[Name]>[0],
  ): void {
    for (const listener of this.#emitter.listeners(name) as ((event: unknown) => unknown)[]) {
      try {
        const result = listener(event);
        if (result instanceof Promise) result.catch(reportListener(name));
      } catch (error) {
        reportListener(name)(error);
      }
    }
  }
}

function reportListener(name: string): (error: unknown) => void {
  return (error) => {
    const text = error instanceof Error ? error.message : String(error);
    process.emitWarning(`a listener of '${name}' failed: ${text}`, 'HoldfastWarning');
  };
}
