import type { ConnectionConfiguration } from 'tedious';
import type { Coordinator } from '../../cluster/coordinator.ts';
import { deadlineSignal } from '../../cluster/deadline-signal.ts';
import type { HostObservation, ReachableHost } from '../../cluster/host-observation.ts';
import { hostKey, type HostAddress } from '../../topology/host-address.ts';
import { ServerConnection } from '../link/server-connection.ts';
import { DialError, ServerLink, type ConnectionClass } from '../link/server-link.ts';
import { isTryLater } from '../loss-errors.ts';
import { observationOf, runProbe, type ProbeResult } from './probe.ts';

/** A connection together with what its server said of itself over it. */
export interface ProbedConnection {
  readonly connection: ServerConnection;
  readonly probe: ProbeResult;
}

export interface ScoutOptions {
  /** The application's own tedious. */
  readonly Connection: ConnectionClass;
  readonly config: ConnectionConfiguration;
  /** The address stands in `config` in another form (the name of an instance). */
  readonly isAddressOfConfig: boolean;
  readonly dialTimeoutMillis: number;
  readonly coordinator: Coordinator;
}

/**
 * Connections with one session's credentials to the hosts of its cluster, kept while a server is being looked for: a
 * secondary is asked again over the same connection, and the one that becomes primary is taken over by the session.
 */
export class Scouts {
  readonly #options: ScoutOptions;
  readonly #kept = new Map<string, ProbedConnection>();
  #isClosed = false;

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

  /** The same once, keeping nothing. */
  async glance(address: HostAddress, signal: AbortSignal): Promise<HostObservation> {
    const key = hostKey(address);
    const kept = this.#kept.get(key);
    this.#kept.delete(key);
    try {
      const { connection, probe } =
        kept === undefined || kept.connection.isLost
          ? await this.open(address, signal)
          : await this.#probe(kept.connection);
      connection.destroy();
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
      found.connection.isInTransaction ||
      found.probe.incarnation !== host.incarnation
    ) {
      found = await this.#look(host.address, signal);
    }
    this.#kept.delete(key);
    return found;
  }

  /** Dials and probes one host; rejects with DialError or what the probe met. */
  async open(address: HostAddress, signal: AbortSignal): Promise<ProbedConnection> {
    const { coordinator, Connection, config, isAddressOfConfig, dialTimeoutMillis } = this.#options;
    const link = await coordinator.dial(
      () =>
        ServerLink.dial(
          { Connection, config, address: isAddressOfConfig ? null : address, dialTimeoutMillis },
          signal,
        ),
      signal,
    );
    return await this.#probe(new ServerConnection(link, address));
  }

  close(): void {
    for (const { connection } of this.#kept.values()) connection.destroy();
    this.#kept.clear();
  }

  /** Closes what was kept and what is still to come: the session is over. */
  closeForGood(): void {
    this.#isClosed = true;
    this.close();
  }

  async #look(address: HostAddress, signal: AbortSignal): Promise<ProbedConnection> {
    const key = hostKey(address);
    const kept = this.#kept.get(key);
    this.#kept.delete(key);
    const found =
      kept !== undefined && !kept.connection.isLost
        ? await this.#probe(kept.connection)
        : await this.open(address, signal);
    if (this.#isClosed) {
      found.connection.destroy();
      throw new Error('the session was closed');
    }
    this.#kept.get(key)?.connection.destroy();
    this.#kept.set(key, found);
    return found;
  }

  async #probe(connection: ServerConnection): Promise<ProbedConnection> {
    const late = deadlineSignal(this.#options.dialTimeoutMillis);
    const giveUp = (): void => {
      connection.destroy(new Error('timeout'));
    };
    late.addEventListener('abort', giveUp, { once: true });
    try {
      return { connection, probe: await runProbe(connection) };
    } catch (error) {
      connection.destroy();
      throw error;
    } finally {
      late.removeEventListener('abort', giveUp);
    }
  }
}

const REFUSED = new Set(['ECONNREFUSED', 'ENOENT']);

/** What an attempt to reach a host that came to nothing says about it. */
export function failureOf(address: HostAddress, error: unknown): HostObservation {
  if (error instanceof DialError) {
    const [said] = error.errors;
    if (said !== undefined) {
      const code = String(said.number);
      return { kind: isTryLater(said.number) ? 'refused' : 'rejected', address, code };
    }
    const code = socketCodeOf(error);
    if (code !== null && REFUSED.has(code)) return { kind: 'refused', address, code };
    return { kind: 'unreachable', address, reason: code ?? error.code };
  }
  return { kind: 'unreachable', address, reason: error instanceof Error ? error.message : String(error) };
}

/** The system's own word, however deep tedious has wrapped it. */
function socketCodeOf(error: Error): string | null {
  for (let one: unknown = error.cause; one instanceof Error; one = one.cause) {
    const { code } = one as { code?: unknown };
    if (typeof code === 'string' && code !== 'ESOCKET') return code;
    if (one instanceof AggregateError && one.errors[0] instanceof Error) {
      const inner = (one.errors[0] as { code?: unknown }).code;
      if (typeof inner === 'string') return inner;
    }
  }
  const word = /\b(E[A-Z]{4,})\b/.exec(error.message)?.[1];
  return word ?? null;
}
