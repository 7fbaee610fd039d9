import { deadlineSignal } from '../cluster/deadline-signal.ts';
import { abortable } from '../cluster/abortable.ts';
import type { Coordinator } from '../cluster/coordinator.ts';
import type { HostObservation, ReachableHost } from '../cluster/host-observation.ts';
import type { PoolerPolicy } from '../options.ts';
import { hostKey, type HostAddress } from '../topology/host-address.ts';
import type { ClusterMemory } from './cluster-memory.ts';
import { dial } from './hidden-client.ts';
import { refusePooler, saysNoServer } from './pooler.ts';
import { runProbe, type ProbeResult } from './probe.ts';
import { askReplicatedHistory } from './replicated-history.ts';
import type { ServerConnection } from './server-connection.ts';
import type { TimelineHistory } from './timeline-history.ts';

/** A connection together with what its server said of itself over this very connection. */
export interface ProbedConnection {
  readonly connection: ServerConnection;
  readonly probe: ProbeResult;
}

export interface ScoutOptions {
  readonly clientConfig: object;
  readonly dialTimeoutMillis: number;
  readonly coordinator: Coordinator;
  readonly memory: ClusterMemory;
  readonly pooler: PoolerPolicy;
}

/**
 * Connections with one session's credentials to the hosts of its cluster, kept while a server is being looked for: a
 * standby is asked again over the same connection, and the one that becomes primary is taken over by the session.
 */
export class Scouts {
  readonly #options: ScoutOptions;
  readonly #kept = new Map<string, ProbedConnection>();
  #closed = false;

  constructor(options: ScoutOptions) {
    this.#options = options;
  }

  /** Looks at a host. Never rejects: whatever happens is an observation. */
  async observe(address: HostAddress, signal: AbortSignal): Promise<HostObservation> {
    try {
      const { probe } = await this.#look(address, signal);
      return observationOf(address, probe);
    } catch (error) {
      return failureOf(address, error);
    }
  }

  /** Looks at a host once, over a connection that was kept if there is one, and keeps nothing. Never rejects. */
  async glance(address: HostAddress, signal: AbortSignal): Promise<HostObservation> {
    const key = hostKey(address);
    const kept = this.#kept.get(key);
    this.#kept.delete(key);
    try {
      const { connection, probe } =
        kept === undefined || kept.connection.isLost
          ? await this.open(address, signal)
          : await this.#probe(kept.connection, address);
      connection.terminate();
      return observationOf(address, probe);
    } catch (error) {
      return failureOf(address, error);
    }
  }

  /** A connection to this very incarnation: the one that was kept, or a new one. */
  async take(host: ReachableHost, signal: AbortSignal): Promise<ProbedConnection> {
    const key = hostKey(host.address);
    let found = this.#kept.get(key);
    if (
      found === undefined ||
      found.connection.isLost ||
      incarnationOf(host.address, found.probe) !== host.incarnation
    ) {
      found = await this.#look(host.address, signal);
    }
    this.#kept.delete(key);
    return found;
  }

  /** Dials and probes one host; rejects with the error as pg gives it. */
  async open(address: HostAddress, signal: AbortSignal): Promise<ProbedConnection> {
    return await this.#probe(await this.#dial({}, address, signal), address);
  }

  async #dial(extra: object, address: HostAddress, signal: AbortSignal): Promise<ServerConnection> {
    const { coordinator, clientConfig, dialTimeoutMillis } = this.#options;
    return await coordinator.dial(
      () => dial(clientConfig, address, { timeoutMillis: dialTimeoutMillis, signal, extra }),
      signal,
    );
  }

  /**
   * The history of the timeline of a server that was just probed, by the replication protocol. Null if it can't be had
   * within the dial timeout; never rejects.
   */
  async timelineHistory(
    address: HostAddress,
    server: ProbeResult,
    signal: AbortSignal,
  ): Promise<TimelineHistory | null> {
    const { memory, dialTimeoutMillis } = this.#options;
    if (server.incarnation === null) return null;
    const asked = memory.timelineHistory(server.incarnation, () =>
      askReplicatedHistory({
        server,
        open: (limit) => this.#dial({ replication: 'database' }, address, limit),
        record: (probe) => {
          memory.record(address, probe);
        },
        // Others wait for it as well: it must not end with this session.
        signal: deadlineSignal(dialTimeoutMillis),
      }),
    );
    try {
      return await abortable(asked, signal);
    } catch {
      return null;
    }
  }

  /** Closes what was kept. */
  close(): void {
    for (const { connection } of this.#kept.values()) connection.terminate();
    this.#kept.clear();
  }

  /** Closes what was kept and what is still to come: the session is over. */
  closeForGood(): void {
    this.#closed = true;
    this.close();
  }

  async #look(address: HostAddress, signal: AbortSignal): Promise<ProbedConnection> {
    const key = hostKey(address);
    const kept = this.#kept.get(key);
    this.#kept.delete(key);
    let found: ProbedConnection;
    if (kept !== undefined && !kept.connection.isLost) found = await this.#probe(kept.connection, address);
    else found = await this.open(address, signal);
    if (this.#closed) {
      found.connection.terminate();
      throw new Error('the session was closed');
    }
    this.#kept.get(key)?.connection.terminate();
    this.#kept.set(key, found);
    return found;
  }

  async #probe(connection: ServerConnection, address: HostAddress): Promise<ProbedConnection> {
    const { dialTimeoutMillis, memory, pooler } = this.#options;
    const late = new AbortController();
    const timer = setTimeout(() => {
      late.abort();
      connection.destroy();
    }, dialTimeoutMillis);
    try {
      const probe = await runProbe(connection, connection.processId);
      if (probe.isPooled) {
        refusePooler(pooler, address);
        memory.pooled.add(connection, probe, address);
      }
      memory.record(address, probe);
      return { connection, probe };
    } catch (error) {
      connection.destroy();
      // In pg's words: the server may be alive, and a pooler may just have no connection to spare.
      throw late.signal.aborted ? new Error('timeout expired', { cause: error }) : error;
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Names the life of the server behind an address; where the server does not tell, the address must do. */
export function incarnationOf(address: HostAddress, probe: ProbeResult): string {
  return probe.incarnation ?? `unknown/${hostKey(address)}`;
}

export function observationOf(address: HostAddress, probe: ProbeResult): ReachableHost {
  return {
    kind: 'reachable',
    address,
    systemIdentifier: probe.systemIdentifier,
    timeline: probe.timeline,
    inRecovery: probe.inRecovery,
    writable: probe.writable,
    incarnation: incarnationOf(address, probe),
  };
}

/** Codes that mean: no server to talk to there just now, and we were told so at once. */
const REFUSED: ReadonlySet<string> = new Set([
  'ECONNREFUSED', // nobody listens
  'ENOENT', // no unix socket
  'ECONNRESET', // something accepts and hangs up: a proxy without its server, a server that is dying
  'EPIPE', // the same, noticed when writing
  '57P01', // shutting down
  '57P02', // a backend crashed
  '57P03', // starting up, shutting down, in recovery
]);

/** An error of the operating system or the resolver, as against one of TLS or of our own code. */
function isSystemError(error: unknown): boolean {
  if (typeof error !== 'object' || error === null) return false;
  if (typeof (error as { syscall?: unknown }).syscall === 'string') return true;
  const errors = (error as { errors?: unknown }).errors;
  return Array.isArray(errors) && errors.some(isSystemError);
}

/** What a failed look means for the choice of a host. */
export function failureOf(address: HostAddress, error: unknown): HostObservation {
  const code = codeOf(error);
  if (saysNoServer(error)) return { kind: 'unreachable', address, reason: 'the pooler has no server' };
  if (code !== null && REFUSED.has(code)) return { kind: 'refused', address, code };
  if (code !== null && /^[0-9A-Z]{5}$/.test(code)) return { kind: 'rejected', address, code };
  if (isSystemError(error)) return { kind: 'unreachable', address, reason: code ?? 'error' };
  const message = error instanceof Error ? error.message : '';
  // pg has no codes for these two: the server accepted and closed; nothing came in time.
  if (message === 'Connection terminated unexpectedly') return { kind: 'refused', address, code: 'closed' };
  if (message === 'timeout expired') return { kind: 'unreachable', address, reason: 'timeout' };
  // Our own side of the handshake has failed: a password function threw, a certificate is not trusted, SASL, …
  return { kind: 'rejected', address, code: code ?? 'client' };
}

/** SQLSTATE or system error code, if the error has one. */
export function codeOf(error: unknown): string | null {
  if (typeof error !== 'object' || error === null) return null;
  const code = (error as { code?: unknown }).code;
  if (typeof code === 'string') return code;
  const errors = (error as { errors?: unknown }).errors;
  return Array.isArray(errors) && errors.length > 0 ? codeOf(errors[0]) : null;
}
