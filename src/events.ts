import { EventEmitter } from 'eventemitter3';

/**
 * What the driver tells about itself. Events come as Started/Succeeded/Failed with one id; durations are in
 * milliseconds. No statement text, parameter value or password is in an event; but `lostCommit` has the texts.
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
  /** The journal of an open transaction is sent to the new server (R4). */
  replayStarted: (event: ReplayStarted) => void;
  /** Every result was as before; the transaction goes on. */
  replaySucceeded: (event: ReplaySucceeded) => void;
  /** The replay was interrupted and starts again from the beginning (R10), or was given up. */
  replayFailed: (event: ReplayFailed) => void;
  /** The replay gave other results; the application gets `ReplayDivergedError` (R5). */
  replayDiverged: (event: ReplayFailed) => void;
  /** The outcome of a COMMIT that was in flight is known, or given up as unknown (R6). */
  commitResolved: (event: CommitResolved) => void;
  /**
   * The new primary lacks a transaction whose COMMIT had been acknowledged, or nobody can say whether it has it (R9). One
   * event for each, only on the pool or client that it was made with, before any of its sessions goes on.
   */
  lostCommit: (event: LostCommit) => void;
  /**
   * A transaction is committed, but no standby was known to have it within `failover.acknowledgeTimeoutMillis`; only on the
   * pool or client that it was made with.
   */
  notReplicated: (event: NotReplicated) => void;
  /** A session waits for a failover to end. */
  waiting: (event: Waiting) => void;
  /** A limit was hit; what it means for the session is in `consequence`. */
  limitReached: (event: LimitReached) => void;
  /** A session that listens was moved: notifications sent in between are lost. */
  notificationGap: (event: NotificationGap) => void;
  /** A feature is off on this host because the server refuses what it needs; told once a host, feature and process. */
  featureUnavailable: (event: FeatureUnavailable) => void;
  /**
   * Commit tokens can't be used on this host, so that a COMMIT in flight is resolved by the log position; told once a
   * host, database and process.
   */
  commitTokenUnavailable: (event: CommitTokenUnavailable) => void;
  /** Old commit tokens could not be purged. Tried again, less and less often; told once until it works again. */
  tokenPurgeFailed: (event: TokenPurgeFailed) => void;
  /** A topology provider failed, timed out or answered nonsense; its last good answer stays in use. */
  providerFailed: (event: ProviderFailed) => void;
}

/** A failover begins. */
export interface FailoverStarted {
  /** Number of the failover in this process and cluster; the events of one failover share it. */
  readonly id: number;
  /** The host whose connection was lost, as `host:port`. */
  readonly host: string;
  /** SQLSTATE or error code of the loss, such as `57P01` or `ECONNRESET`; null if it just ended. */
  readonly cause: string | null;
}

/** A failover is over, and all went well. */
export interface FailoverSucceeded {
  /** As in `FailoverStarted`. */
  readonly id: number;
  /** From the loss to the moment when the last session went on. */
  readonly durationMillis: number;
  /** The new primary, as `host:port`. */
  readonly host: string;
  /** Sessions that took part. */
  readonly sessions: number;
}

/** A failover is over, and a session was given up. */
export interface FailoverFailed {
  /** As in `FailoverStarted`. */
  readonly id: number;
  /** From the loss to the moment when the last session left. */
  readonly durationMillis: number;
  /** What the last look at the hosts showed, host by host. */
  readonly reason: string;
}

/** Another primary than before. */
export interface HostChanged {
  /** The old one, as `host:port`. */
  readonly from: string | null;
  /** The new one, as `host:port`. */
  readonly to: string;
  /** Timeline of the new primary, where the server tells it. */
  readonly timeline: number | null;
}

/** A replay begins. */
export interface ReplayStarted {
  /** That of the failover it belongs to; 0 outside of one. */
  readonly id: number;
  /** Number of the session in this process. */
  readonly session: number;
  /** Units of the journal: messages up to a Sync, or one simple query. */
  readonly statements: number;
}

/** A replay is over, and all results were the same. */
export interface ReplaySucceeded extends ReplayStarted {
  /** Of this replay alone. */
  readonly durationMillis: number;
}

/** A replay is over, and did not bring the transaction back. */
export interface ReplayFailed extends ReplayStarted {
  /** Of this replay alone. */
  readonly durationMillis: number;
  /** Why, in words; never a value of the application's. */
  readonly reason: string;
}

/** What became of a COMMIT in flight. */
export interface CommitResolved {
  /** Number of the session in this process. */
  readonly session: number;
  /** `unknown` reaches the application as `OutcomeUnknownError`. */
  readonly outcome: 'committed' | 'not-committed' | 'unknown';
  /** What proved it, or what was missing: a word such as `switched-before-mark`. */
  readonly reason: string;
  /** How long it took to find out. */
  readonly durationMillis: number;
}

/** A position in the write-ahead log of a cluster. */
export interface EventPosition {
  /** Positions of different timelines can't be compared. */
  readonly timeline: number;
  /** As PostgreSQL writes it, such as `0/16B3748`. */
  readonly lsn: string;
}

/** An acknowledged transaction that a failover has lost, or may have lost. */
export interface LostCommit {
  /** Number of the session in this process. */
  readonly session: number;
  /**
   * `unknown`: the server may have it or not; look before you repeat anything. `reapplied`: it was lost, and is there again
   * (`failover.lostCommits` is `'reapply'`).
   */
  readonly outcome: 'lost' | 'unknown' | 'reapplied';
  /** What proved it, or what was missing: a word, see the reference of events. */
  readonly reason: string;
  /** Why a lost one was not applied again, in words; null if it was, or if nobody was to. */
  readonly notReapplied: string | null;
  /**
   * The texts of its statements, as the application gave them, in order. Those that define roles, user mappings, servers
   * and subscriptions are cut behind their first two words, since they may hold passwords. Empty if they were too much to
   * keep (`failover.maxJournalBytes`).
   */
  readonly statements: readonly string[];
  /** Its database. */
  readonly database: string | null;
  /** Whose connection it was. */
  readonly user: string | null;
  /** When its COMMIT (or, outside a transaction, the statement) was given to the server. */
  readonly sentAt: Date;
  /** When the server had acknowledged it. */
  readonly acknowledgedAt: Date;
  /** Id of the transaction there, as `pg_current_xact_id` gives it, if it is known. */
  readonly transactionId: string | null;
  /** The old primary, as `host:port`. */
  readonly from: string;
  /** Its commit record lay behind this position of the old primary; null if that is not known. */
  readonly notBefore: EventPosition | null;
  /** Its commit record lay in front of this position; null if none was asked for in time. */
  readonly upTo: EventPosition | null;
  /** The new primary, as `host:port`. */
  readonly to: string;
  /** Where the recovery of the new primary had ended, on its own timeline; null if it does not tell. */
  readonly recoveredTo: EventPosition | null;
  /**
   * The values of the parameters of each statement, as they went over the wire: text, or bytes where they were given in
   * binary. A method, so that no log, `JSON.stringify` or `util.inspect` shows them by accident.
   */
  parameters(): readonly (readonly (string | Buffer | null)[])[];
}

/** A commit that waited for a standby in vain. */
export interface NotReplicated {
  /** Number of the session in this process. */
  readonly session: number;
  /** How long its answer was held back. */
  readonly durationMillis: number;
}

/** A session has joined a failover. */
export interface Waiting {
  /** Number of the session in this process. */
  readonly session: number;
  /** The host that was lost, as `host:port`. */
  readonly host: string;
}

/** A limit was hit. */
export interface LimitReached {
  /** Number of the session in this process; null if it is not about one session. */
  readonly session: number | null;
  /** Name of the option that sets it. */
  readonly limit: string;
  /** Its value. */
  readonly value: number;
  /** What it means, in words. */
  readonly consequence: string;
}

/** Notifications may have been missed. */
export interface NotificationGap {
  /** Number of the session in this process. */
  readonly session: number;
  /** Channels on which the session listens. */
  readonly channels: readonly string[];
}

/** What the driver can't do on a host. */
export interface FeatureUnavailable {
  /** As `host:port`. */
  readonly host: string;
  /** A word for it. */
  readonly feature: string;
  /** Why, in words. */
  readonly reason: string;
}

/** What commit tokens need is not there. */
export interface CommitTokenUnavailable {
  /** As `host:port`. */
  readonly host: string;
  /** The schema that was looked into. */
  readonly schema: string;
  /** What is missing, in words. */
  readonly reason: string;
  /** What to do about it, in words. */
  readonly remedy: string;
}

/** Old commit tokens stay for now; that costs space, and nothing else. */
export interface TokenPurgeFailed {
  /** As `host:port`; null if there was no primary to ask. */
  readonly host: string | null;
  /** A SQLSTATE, an error code, or why in words. */
  readonly reason: string;
  /** When it is tried again. */
  readonly retryMillis: number;
}

/** A topology provider gave no good answer. */
export interface ProviderFailed {
  /** Why, in words. */
  readonly reason: string;
}

/** Counters since the start of the process, and what is going on now. */
export interface FailoverSnapshot {
  /** The primary that sessions use, as `host:port`; null before the first connection. */
  readonly primary: string | null;
  /** The highest timeline seen; null if no server tells it. */
  readonly timeline: number | null;
  /** Sessions of the process on this cluster. */
  readonly sessions: number;
  /** Those that take part in a failover now. */
  readonly waitingSessions: number;
  /** Failovers begun. */
  readonly failovers: number;
  /** Those in which a session was given up. */
  readonly failoversFailed: number;
  /** Replays begun, repetitions included. */
  readonly replays: number;
  /** Those that gave other results (R5). */
  readonly replaysDiverged: number;
  /** COMMITs in flight whose outcome was found out (R6). */
  readonly commitsResolved: number;
  /** Those whose outcome could not be. */
  readonly commitsUnknown: number;
  /** Bytes that the journals of all sessions hold now. */
  readonly journalBytes: number;
  /** Acknowledged transactions that not every host is known to have (R9). */
  readonly committedLogTransactions: number;
  /** Bytes that they hold. */
  readonly committedLogBytes: number;
  /** Those that fell out of the committed log at a limit: their loss is not reported. */
  readonly committedLogDropped: number;
  /** Acknowledged transactions that a failover was proved to have lost. */
  readonly commitsLost: number;
  /** Those of them that were applied again. */
  readonly commitsReapplied: number;
  /** Those of which nobody can say. */
  readonly commitsMaybeLost: number;
}

type Listener = (event: never) => unknown;

/**
 * Typed source of the events above. A listener that throws is reported as a process warning and never disturbs a
 * session.
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
