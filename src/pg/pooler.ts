/**
 * Poolers between the driver and its servers.
 *
 * A pooler makes up the key of a session, so the process id in it is not that of the backend: that gives it away on the
 * first connection. Whether it keeps a backend for each session (PgBouncer's session mode) or shares them between
 * transactions can't be seen while nobody else is about, and the driver's work rests on it: marks, the state that is read
 * back and restored, and the ending of old backends. So the application has to say it, and what contradicts it is refused.
 */
import { ConfigurationError } from '../errors.ts';
import type { PoolerPolicy } from '../options.ts';
import { hostKey, type HostAddress } from '../topology/host-address.ts';
import type { ProbeResult } from './probe.ts';

const WHAT_TO_DO =
  'Connect to the servers themselves, or through a pooler in session mode, or set failover: false';

/** Throws ConfigurationError if the application has not said that this pooler may be there. */
export function refusePooler(policy: PoolerPolicy, address: HostAddress): void {
  if (policy === 'session') return;
  throw new ConfigurationError(
    `at ${hostKey(address)} is a pooler, not a server: the session's process id is not that of its backend. If it keeps ` +
      `a server connection for each session (PgBouncer: pool_mode = session), set failover.pooler: 'session'. If it ` +
      `shares them, sessions would get mixed up. ${WHAT_TO_DO}`,
  );
}

/** The pooler was said to be in session mode, and is not. */
export function sharedBackendError(address: HostAddress): ConfigurationError {
  return new ConfigurationError(
    `the pooler at ${hostKey(address)} shares server connections between sessions, though failover.pooler is 'session': ` +
      `their state would get mixed up. ${WHAT_TO_DO}`,
  );
}

/** The subset of a connection that is needed to know whether it lives. */
interface Living {
  readonly isOver: boolean;
}

/** The backends behind poolers that this process has sessions on: in session mode each has one session. */
export class PooledBackends {
  readonly #connections = new Map<string, Living>();

  /** Throws ConfigurationError if another living connection of this process has the same backend. */
  add(connection: Living, { incarnation, backend }: ProbeResult, address: HostAddress): void {
    if (incarnation === null || backend === null) return;
    for (const [key, one] of this.#connections) if (one.isOver) this.#connections.delete(key);
    const key = `${incarnation}/${backend.pid}/${backend.backendStart}`;
    const other = this.#connections.get(key);
    if (other !== undefined && other !== connection) throw sharedBackendError(address);
    this.#connections.set(key, connection);
  }
}

/** What PgBouncer says, all with 08P01 like mistakes of the client, when it has no server for a session just now. */
const NO_SERVER =
  /^(?:server conn crashed\?|server login has been failing|pgbouncer cannot connect to server|query_wait_timeout|client_login_timeout|the database system is |pgbouncer is shutting down|server shutting down|database removed)/;

/** True if an error at connecting means that a pooler has no server just now, rather than that it does not want us. */
export function saysNoServer(error: unknown): boolean {
  if (typeof error !== 'object' || error === null) return false;
  const { code, message } = error as { code?: unknown; message?: unknown };
  return code === '08P01' && typeof message === 'string' && NO_SERVER.test(message);
}
