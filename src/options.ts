import type { HostAddressInput } from './topology/host-address.ts';
import type { TopologyProvider } from './topology/topology-provider.ts';

/** What happens to a statement or an open transaction whose connection was ended on purpose (R14). */
export const ON_TERMINATED = ['error', 'replay'] as const;
/** See `FailoverOptions.onTerminated`. */
export type OnTerminated = (typeof ON_TERMINATED)[number];

/**
 * The session of an application as it gets it in `FailoverOptions.onReconnect`: on its new server connection, before
 * anything else runs there.
 */
export interface ReconnectedSession {
  /**
   * Runs a statement on the new connection. At run time this is a method of a client of the driver itself (a `pg.Client`
   * for `holdfast/pg`), which ends when the hook has.
   */
  query(text: string, values?: unknown[]): Promise<{ readonly rows: readonly unknown[] }>;
}

/** What a server session had that no new connection can be given. Names are for messages, and may be incomplete. */
export interface LostState {
  /** What sort of thing it was. */
  readonly kind: 'temporary-object' | 'advisory-lock' | 'hold-cursor' | 'loaded-library' | 'random-seed';
  /** Of objects and cursors, the first three; never the keys of locks. */
  readonly names: readonly string[];
}

/** See `FailoverOptions.onReconnect`. */
export type OnReconnect = (session: ReconnectedSession, lost: readonly LostState[]) => unknown;

/** What happens to an open transaction that may have acted outside of its database (R7). */
export const ON_OUTSIDE_EFFECTS = ['refuse', 'replay'] as const;
/** See `FailoverOptions.onOutsideEffects`. */
export type OnOutsideEffects = (typeof ON_OUTSIDE_EFFECTS)[number];

/** What becomes of an acknowledged transaction that a failover has lost (R9). */
export const LOST_COMMITS = ['report', 'reapply', 'ignore'] as const;
/** See `FailoverOptions.lostCommits`. */
export type LostCommits = (typeof LOST_COMMITS)[number];

/** What follows if a lost transaction can't be applied again (R9). */
export const ON_REAPPLY_FAILED = ['report', 'fail'] as const;
/** See `FailoverOptions.onReapplyFailed`. */
export type OnReapplyFailed = (typeof ON_REAPPLY_FAILED)[number];

/** When a transaction that wrote something counts as acknowledged. */
export const ACKNOWLEDGE = ['local', 'replicated'] as const;
/** See `FailoverOptions.acknowledge`. */
export type Acknowledge = (typeof ACKNOWLEDGE)[number];

/** What follows if no standby has a transaction in time. */
export const ON_ACKNOWLEDGE_TIMEOUT = ['error', 'event'] as const;
/** See `FailoverOptions.onAcknowledgeTimeout`. */
export type OnAcknowledgeTimeout = (typeof ON_ACKNOWLEDGE_TIMEOUT)[number];

/** What may stand between the driver and the servers. */
export const POOLERS = ['refuse', 'session'] as const;
/** See `FailoverOptions.pooler`. */
export type PoolerPolicy = (typeof POOLERS)[number];

/** By what it is found out what became of a COMMIT whose answer is lost. */
export const COMMIT_OUTCOMES = ['auto', 'token', 'logPosition', 'none'] as const;
/** See `FailoverOptions.commitOutcome`. */
export type CommitOutcomePolicy = (typeof COMMIT_OUTCOMES)[number];

/**
 * The value of the one configuration key that holdfast adds to a driver's own: `failover`.
 *
 * `false` gives the plain driver. `true`, `undefined` and `{}` give the defaults below. All times are whole
 * milliseconds from 1 to 2147483647, all sizes whole numbers. A default that is larger than the limit it must respect
 * shrinks to it; two *given* values that contradict each other are a ConfigurationError. Unknown keys are errors.
 */
export interface FailoverOptions {
  /**
   * The hosts of the cluster, if the connection settings do not name them all. 1 to 64. A host without a port has the
   * port of the connection settings. Whatever host those settings name must be in this list. Not together with
   * `provider`. Default: the hosts of the connection settings.
   */
  readonly hosts?: readonly HostAddressInput[] | undefined;
  /**
   * Finds the hosts of the cluster. What the connection settings name is used until it has answered.
   * Not together with `hosts`. Default: none, the hosts are fixed.
   */
  readonly provider?: TopologyProvider | undefined;
  /** How long a session waits for the whole of a failover before it gets FailoverFailedError. Default 30000. */
  readonly timeoutMillis?: number | undefined;
  /** How long one attempt to connect may take, authentication included. At most `timeoutMillis`. Default 5000. */
  readonly dialTimeoutMillis?: number | undefined;
  /**
   * How long sessions that are replayed hold back their new statements for those whose replay still runs. After that
   * they go on, and a late replay may diverge (R5). At most `timeoutMillis`. Default 2000.
   */
  readonly barrierTimeoutMillis?: number | undefined;
  /**
   * How long the probe may take that tells a kill aimed at one session from a server that goes down (R14). If it is
   * not over by then, the server is taken to go down. At most `timeoutMillis`. Default 250.
   */
  readonly terminationProbeMillis?: number | undefined;
  /**
   * What follows when a server that goes on ends just this session: pg_terminate_backend, an idle-in-transaction or
   * transaction timeout, a conflict with recovery (R14). `'error'`: the application gets the server's error, as
   * without holdfast. `'replay'`: treated like the loss of the server. Default `'error'`, as somebody meant it.
   */
  readonly onTerminated?: OnTerminated | undefined;
  /**
   * What follows when a transaction is lost that may have acted outside of its database: dblink, foreign tables,
   * COPY … PROGRAM, code in untrusted languages, and, where the database has any of these, code that nobody can see
   * through. A replay would do it a second time. `'refuse'`: TransactionNotReplayableError (R7). `'replay'`: it is
   * replayed all the same, which suits what may happen twice. Default `'refuse'`.
   */
  readonly onOutsideEffects?: OnOutsideEffects | undefined;
  /**
   * What follows when a pooler (PgBouncer or the like) stands in front of a server, which is noticed when a connection is
   * opened. `'refuse'`: ConfigurationError, since one that shares server connections between transactions would mix the
   * state of sessions. `'session'`: go on, as this one keeps a server connection for each session to its end (PgBouncer's
   * `pool_mode = session`) and resets it then. Default `'refuse'`, because nobody can see from outside which it is.
   */
  readonly pooler?: PoolerPolicy | undefined;
  /**
   * By what it is found out whether a COMMIT or an autocommit write took effect whose answer was lost (R3, R6).
   * `'token'`: by a row that is written with it, which needs the objects that `npx holdfast init` makes; a connection to a
   * database without them is refused. Each outcome is known, after any number of failovers. `'logPosition'`: by the
   * position in the server's log, which needs nothing; some outcomes stay unknown, those of autocommit writes always.
   * `'none'`: none of it; every outcome in doubt is OutcomeUnknownError. `'auto'`: by tokens where the objects are there,
   * else by the log position, which the event `commitTokenUnavailable` tells once. Default `'auto'`.
   */
  readonly commitOutcome?: CommitOutcomePolicy | undefined;
  /**
   * Bytes of statements that one open transaction may have in the journal. A larger one goes on, but can't be
   * replayed any more (R7). 0 switches replaying off. At most `maxProcessJournalBytes`. Default 16777216 (16 MiB).
   */
  readonly maxJournalBytes?: number | undefined;
  /** The same for all sessions of the process together. The session that would pass it is concerned. Default 268435456 (256 MiB). */
  readonly maxProcessJournalBytes?: number | undefined;
  /** Statements that one open transaction may have in the journal, as `maxJournalBytes`. Default 100000. */
  readonly maxJournalStatements?: number | undefined;
  /**
   * Rows of a half-delivered result that a session remembers (8 bytes each), so that they can be skipped when they
   * come again in another order. Beyond it only the same order is recognised. Default 1000000.
   */
  readonly maxKeptRowHashes?: number | undefined;
  /**
   * What follows when the new primary lacks a transaction whose COMMIT had been acknowledged, as asynchronous replication
   * may lose it (R9). `'report'`: an event `lostCommit` for each. For that the statements of acknowledged transactions stay
   * in memory, in the *committed log*, until every host is known to have them. `'reapply'`: those that are proved lost are
   * run again before any session goes on, in the order of their COMMITs, each compared with what the application was given,
   * and reported too; this needs commit tokens, so that nothing is ever applied twice. `'ignore'`: nobody looks, and no log
   * is kept. Default `'report'`.
   */
  readonly lostCommits?: LostCommits | undefined;
  /**
   * What follows with `lostCommits: 'reapply'` if a lost transaction can't be run again, or gives other results. `'report'`:
   * the event says why, and the sessions go on. `'fail'`: those that wait for the failover get FailoverFailedError as well.
   * Default `'report'`.
   */
  readonly onReapplyFailed?: OnReapplyFailed | undefined;
  /**
   * When a transaction that wrote something, or a statement outside of one that may have, is answered. `'local'`: when the
   * server answers. `'replicated'`: when, besides, a standby is known to have replayed it; this needs more than one host. A
   * transaction chooses for itself by `SET LOCAL holdfast.acknowledge = 'replicated'` (or `'local'`). Default `'local'`.
   */
  readonly acknowledge?: Acknowledge | undefined;
  /** How long the answer is held back for that at most. Default 5000. */
  readonly acknowledgeTimeoutMillis?: number | undefined;
  /**
   * What follows then; the event `notReplicated` comes in any case. `'error'`: NotReplicatedError, though it is committed.
   * `'event'`: the answer, as with `'local'`. Default `'error'`, so that nobody takes for replicated what is not.
   */
  readonly onAcknowledgeTimeout?: OnAcknowledgeTimeout | undefined;
  /**
   * Bytes that the committed log of a cluster may hold. What falls out is counted (`snapshot().committedLogDropped`), and its
   * loss is not reported. Default 67108864 (64 MiB).
   */
  readonly maxCommittedLogBytes?: number | undefined;
  /** The same in transactions. Default 100000. */
  readonly maxCommittedLogTransactions?: number | undefined;
  /**
   * How long a transaction stays in the committed log at most, as it does while a host can't be asked how much of the
   * log it has. Default 600000 (10 minutes).
   */
  readonly maxCommittedLogAgeMillis?: number | undefined;
  /**
   * How often the hosts are asked for their log positions, as long as the committed log is not empty: over one connection
   * to each host, for the whole process. Default 500.
   */
  readonly positionIntervalMillis?: number | undefined;
  /** Sessions of the process that may wait for one failover; further ones fail at once. At least 1. Default 10000. */
  readonly maxWaitingSessions?: number | undefined;
  /** Sessions let go at the same time when a failover is over, to spare the new primary. At least 1. Default 32. */
  readonly drainConcurrency?: number | undefined;
  /** The first pause between two rounds of asking all hosts. At most `retryMaxMillis`. Default 20. */
  readonly retryMinMillis?: number | undefined;
  /**
   * How long at least between two checks of one session's state in front of its statements. A check (1 to 2 ms) is due
   * behind each statement that runs code of the database which nobody can see through (triggers, functions, DO). With 0
   * it is made at once; a larger value spares busy sessions the checks, but one that is lost before its next check can't
   * be restored, and its transaction not replayed (R7, R8). An idle session is checked in any case. Default 0.
   */
  readonly stateCheckMillis?: number | undefined;
  /** The longest such pause; they double from `retryMinMillis`. At most `timeoutMillis`. Default 250. */
  readonly retryMaxMillis?: number | undefined;
  /**
   * Names of custom settings (`'app.tenant'`) that are set where the driver can't see it, in functions for instance,
   * and must be carried over to the new server. At most 256. Default none: then a session in which code ran that sets a
   * setting under a computed name (`set_config($1, $2, false)`) can't be restored (R8). With names given here the driver
   * takes these, and those that it finds itself, for all there are.
   */
  readonly sessionVariables?: readonly string[] | undefined;
  /**
   * Rebuilds what a session had on its lost server and no new connection can be given: temporary objects, session-level
   * advisory locks, `WITH HOLD` cursors, what `LOAD` and `setseed` did (R8). Called for sessions that had any of these, on
   * each new connection, with everything else restored and before an open transaction is replayed; `lost` says what
   * there was. It may be called several times in one failover, and must not wait for other sessions. It may be
   * asynchronous; `timeoutMillis` bounds it with the failover.
   *
   * Objects, locks and cursors must then be there again under the same names, no transaction be open, and the settings be
   * as before; otherwise, and if it throws, the session is refused as without a hook. Default none: such a session is
   * refused (SessionClosedError, R7).
   */
  readonly onReconnect?: OnReconnect | undefined;
  /**
   * The schema that has the table and the functions of commit tokens, as made by `npx holdfast init --schema`. 1 to 63
   * bytes, not beginning with `pg_`. Default `'holdfast'`.
   */
  readonly tokenSchema?: string | undefined;
  /**
   * How long the outcome of a COMMIT can be asked for by its token; older tokens are purged in the background. Whoever
   * asks later, a process that was suspended for instance, gets 'unknown'. Of several processes the shortest counts.
   * At least 60000, and better many times `timeoutMillis`. Default 3600000 (one hour).
   */
  readonly tokenRetentionMillis?: number | undefined;
  /**
   * Has INSERT and UPDATE statements of a transaction return the values that the server makes and the application did not
   * ask for (numbers of sequences, random values; the key of updated rows), so that a replay gives them again though they
   * were read by a later statement only. The application is not shown them. Needs the right to SELECT these columns;
   * where it is missing, statements run unchanged. Default false: it costs something for each such statement.
   */
  readonly recordGeneratedValues?: boolean | undefined;
}

export const DEFAULT_TOKEN_SCHEMA = 'holdfast';
/** With less, answers would be 'unknown' while a failover is still going on. The function that purges refuses less, too. */
export const MIN_TOKEN_RETENTION_MILLIS = 60_000;

/** Those that have no default. */
type WithoutDefault = 'hosts' | 'provider' | 'onReconnect';

/** FailoverOptions with every default filled in, as `resolveFailoverOptions` gives them. Frozen. */
export type ResolvedFailoverOptions = {
  readonly [Key in Exclude<keyof FailoverOptions, WithoutDefault>]-?: Exclude<
    FailoverOptions[Key],
    undefined
  >;
} & {
  /** `hosts` are checked, but still without the connection's port; see `resolveConnection`. */
  readonly [Key in WithoutDefault]: FailoverOptions[Key] | undefined;
};
