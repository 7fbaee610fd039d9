import type { HostAddress } from '../topology/host-address.ts';

/** A session could be opened on the host and the probe was answered. */
export interface ReachableHost {
  readonly kind: 'reachable';
  readonly address: HostAddress;
  /** `pg_control_system().system_identifier`, or null if the server refuses to tell (hardened roles, Aurora). */
  readonly systemIdentifier: string | null;
  /**
   * The timeline the server writes or replays, or null if it can't be told. On a writable server it is taken from
   * `pg_walfile_name`, never from pg_control_checkpoint(), which is stale until the first checkpoint after a promotion.
   */
  readonly timeline: number | null;
  /** `pg_is_in_recovery()`: a standby, or a server that has not been promoted yet. */
  readonly inRecovery: boolean;
  /** A new session's transactions may write: not in recovery and `default_transaction_read_only` off. */
  readonly writable: boolean;
  /**
   * Opaque identity of this life of this server: equal only for the same server between two starts, crash recoveries
   * and promotions, whatever address it was reached by.
   */
  readonly incarnation: string;
}

/** There is no server to talk to just now, and we were told so at once. */
export interface RefusingHost {
  readonly kind: 'refused';
  readonly address: HostAddress;
  /** ECONNREFUSED, ENOENT (nobody listens), or SQLSTATE 57P03 (starting up, shutting down, in crash recovery). */
  readonly code: string;
}

/** Nothing came back in time, or the way there is broken. The server may be alive. */
export interface UnreachableHost {
  readonly kind: 'unreachable';
  readonly address: HostAddress;
  /** For people: `timeout`, EHOSTUNREACH, ENOTFOUND … */
  readonly reason: string;
}

/** A server is alive there, but does not let us in. */
export interface RejectingHost {
  readonly kind: 'rejected';
  readonly address: HostAddress;
  /** SQLSTATE: 28xxx (authentication), 3D000 (no such database), 53xxx (too many connections), 42501 … */
  readonly code: string;
}

/** What one attempt to reach one host has shown. A value: it is never changed, only followed by another one. */
export type HostObservation = ReachableHost | RefusingHost | UnreachableHost | RejectingHost;
