/**
 * Errors of the driver's own. Each answers two questions: what happened to my data, and may I try again?
 *
 * Server errors pass through untouched as pg's `DatabaseError`; only what the driver itself has to say is here.
 * Match on `code` (SQLSTATE) and `kind`, not on the message and not on the class: the ESM and the CommonJS build of
 * this package are two copies, so the classes carry a `Symbol.for` brand that makes `instanceof` work across both.
 */

/** What became of the work that the failing call stood for. */
export type Outcome = 'not-executed' | 'rolled-back' | 'committed' | 'unknown';

/** Machine-readable name of each error class, stable across versions. */
export type HoldfastErrorKind =
  | 'failover-failed'
  | 'transaction-not-replayable'
  | 'replay-diverged'
  | 'outcome-unknown'
  | 'result-lost'
  | 'not-replicated'
  | 'session-closed'
  | 'configuration'
  | 'internal';

const BRAND = Symbol.for('holdfast.error.kind');

interface Branded {
  readonly [BRAND]?: HoldfastErrorKind;
}

/** Common parent of the driver's errors. */
export abstract class HoldfastError extends Error {
  /** SQLSTATE, so that ORMs and retry loops classify it as they would a server's error. */
  abstract readonly code: string;
  /** Names the class of the error; stable, to be matched on. */
  abstract readonly kind: HoldfastErrorKind;
  /** What became of the statement or transaction that got this error. */
  abstract readonly outcome: Outcome;
  /** As PostgreSQL spells it; ORMs look for a string here before they believe `code`. */
  readonly severity: 'ERROR' | 'FATAL' = 'ERROR';

  /** True for an error of this class, also if it was made by another copy of the package. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    if (typeof value !== 'object' || value === null) return false;
    const own = (this.prototype as Branded)[BRAND];
    const kind = (value as Branded)[BRAND];
    return own === undefined ? kind !== undefined : kind === own;
  }
}

function brand(errorClass: { prototype: object; name: string }, kind: HoldfastErrorKind): void {
  Object.defineProperty(errorClass.prototype, BRAND, { value: kind });
  Object.defineProperty(errorClass.prototype, 'name', {
    value: errorClass.name,
    configurable: true,
    writable: true,
  });
}

/** No eligible server was found within `failover.timeoutMillis`. Nothing of the failing statement took effect. */
export class FailoverFailedError extends HoldfastError {
  readonly code = '08006';
  /** Names this class; stable, to be matched on. */
  readonly kind = 'failover-failed';
  readonly outcome: Outcome = 'not-executed';
}
brand(FailoverFailedError, 'failover-failed');

/** The open transaction was lost and holds something that can't be replayed (R7). It is rolled back: run it again. */
export class TransactionNotReplayableError extends HoldfastError {
  readonly code = '40001';
  /** Names this class; stable, to be matched on. */
  readonly kind = 'transaction-not-replayable';
  readonly outcome: Outcome = 'rolled-back';
}
brand(TransactionNotReplayableError, 'transaction-not-replayable');

/** The replay gave other results than the application was given (R5). It is rolled back: run it again. */
export class ReplayDivergedError extends HoldfastError {
  readonly code = '40001';
  /** Names this class; stable, to be matched on. */
  readonly kind = 'replay-diverged';
  readonly outcome: Outcome = 'rolled-back';
}
brand(ReplayDivergedError, 'replay-diverged');

/**
 * The connection was lost while a write or a COMMIT was in flight, and nobody can say whether it took effect (R3, R6).
 * Never of class 40: libraries blindly run those again (design review A6). Look before you repeat.
 */
export class OutcomeUnknownError extends HoldfastError {
  readonly code = '08007';
  /** Names this class; stable, to be matched on. */
  readonly kind = 'outcome-unknown';
  readonly outcome: Outcome = 'unknown';
}
brand(OutcomeUnknownError, 'outcome-unknown');

/** The work is committed, but its result was lost on the way (R3). Do not run it again. */
export class ResultLostError extends HoldfastError {
  readonly code = '08007';
  /** Names this class; stable, to be matched on. */
  readonly kind = 'result-lost';
  readonly outcome: Outcome = 'committed';
}
brand(ResultLostError, 'result-lost');

/**
 * The work is committed on the primary, but within `failover.acknowledgeTimeoutMillis` no standby was known to have it: a
 * failover may still lose it (R9). Do not run it again.
 */
export class NotReplicatedError extends HoldfastError {
  readonly code = '08007';
  /** Names this class; stable, to be matched on. */
  readonly kind = 'not-replicated';
  readonly outcome: Outcome = 'committed';
}
brand(NotReplicatedError, 'not-replicated');

/** The session held something that could not be restored on the new server (R8), or was closed while recovering. */
export class SessionClosedError extends HoldfastError {
  readonly code = '08003';
  /** Names this class; stable, to be matched on. */
  readonly kind = 'session-closed';
  readonly outcome: Outcome = 'not-executed';
}
brand(SessionClosedError, 'session-closed');

/** Bad input, found at construction time. The message quotes what was given and says what to do. */
export class ConfigurationError extends HoldfastError {
  readonly code = 'F0000';
  /** Names this class; stable, to be matched on. */
  readonly kind = 'configuration';
  readonly outcome: Outcome = 'not-executed';
}
brand(ConfigurationError, 'configuration');

/** A defect of the driver. The session is given up rather than trusted. */
export class InternalError extends HoldfastError {
  readonly code = 'XX000';
  /** Names this class; stable, to be matched on. */
  readonly kind = 'internal';
  readonly outcome: Outcome = 'unknown';
}
brand(InternalError, 'internal');
