import { deadlineSignal } from '../cluster/deadline-signal.ts';
import type { Coordinator } from '../cluster/coordinator.ts';
import type { PositionSource, PositionSurvey } from '../cluster/position-poller.ts';
import { hostKey, type HostAddress } from '../topology/host-address.ts';
import type { ClusterMemory } from './cluster-memory.ts';
import { dial } from './hidden-client.ts';
import { hasLogOf } from './lineage.ts';
import type { Lsn } from './lsn.ts';
import { runProbe, type ProbeResult } from './probe.ts';
import type { ServerConnection } from './server-connection.ts';
import { readWrittenLog, WRITTEN_LOG_SQL, type WrittenLog } from './written-log.ts';

export interface HostPositionsOptions {
  readonly clientConfig: object;
  readonly coordinator: Coordinator;
  readonly memory: ClusterMemory;
  /** For all answers to one survey. */
  readonly timeoutMillis: number;
}

/** What one host said. */
interface Seen {
  readonly address: HostAddress;
  readonly probe: ProbeResult;
  /** Of a primary. */
  readonly written: WrittenLog | null;
}

/**
 * Log positions of all hosts of a cluster, asked over hidden connections with one session's credentials.
 *
 * Every configured host may be primary next (design review A15), the present one too, after a crash: of that counts what
 * it has flushed. One that can't be asked has nothing. Hosts that can't be chosen do not count: those of another cluster,
 * and primaries that were replaced.
 */
export class HostPositions implements PositionSource {
  readonly #options: HostPositionsOptions;
  readonly #connections = new Map<string, ServerConnection>();
  #generation = 0;

  constructor(options: HostPositionsOptions) {
    this.#options = options;
  }

  async survey(): Promise<PositionSurvey | null> {
    const { coordinator, timeoutMillis } = this.#options;
    const late = deadlineSignal(timeoutMillis);
    try {
      const { hosts } = await coordinator.discover(late);
      const seen = await Promise.all(hosts.map((address) => this.#look(address, late)));
      this.#closeAllBut(hosts);
      return this.#judge(seen);
    } catch {
      return null; // Asked again in a while.
    }
  }

  rest(): void {
    this.#generation++;
    for (const connection of this.#connections.values()) connection.terminate();
    this.#connections.clear();
  }

  #judge(seen: readonly (Seen | null)[]): PositionSurvey | null {
    const { coordinator } = this.#options;
    const { primary, systemIdentifier } = coordinator.knowledge;
    const found = seen.find((one) => one?.probe.incarnation === primary?.incarnation && one !== null);
    const { timeline = null, incarnation = null } = found?.probe ?? {};
    const { end = null, flushed = null } = found?.written ?? {};
    if (timeline === null || end === null || incarnation === null) return null;
    const reached = this.#reached(seen, found!, timeline);
    const survey = { incarnation, position: { timeline, position: end }, flushed, reached };
    let floor: Lsn | null = null;
    for (const one of seen) {
      if (one === null) return { ...survey, floor: null };
      const { probe } = one;
      const isOther = probe.systemIdentifier !== systemIdentifier;
      const isDeposed = !probe.inRecovery && probe.timeline !== null && probe.timeline < timeline;
      if (isOther || isDeposed) continue;
      const has = this.#positionOf(one, found!, timeline);
      if (has === null) return { ...survey, floor: null };
      if (floor === null || has < floor) floor = has;
    }
    return { ...survey, floor };
  }

  /** How far the standby is that has come furthest. */
  #reached(seen: readonly (Seen | null)[], primary: Seen, timeline: number): Lsn | null {
    let reached: Lsn | null = null;
    for (const one of seen) {
      if (one === null || !one.probe.inRecovery) continue;
      if (one.probe.systemIdentifier !== primary.probe.systemIdentifier) continue;
      const has = this.#positionOf(one, primary, timeline);
      if (has !== null && (reached === null || has > reached)) reached = has;
    }
    return reached;
  }

  /** How much of the primary's log this host is proved to have; null if nothing is. */
  #positionOf(one: Seen, primary: Seen, timeline: number): Lsn | null {
    if (one.probe.incarnation === primary.probe.incarnation) return one.written?.flushed ?? null;
    if (!one.probe.inRecovery) return null; // Another primary, whose sessions will notice.
    const { lineage } = this.#options.memory;
    return hasLogOf(lineage, hostKey(one.address), one.probe, timeline) ? one.probe.replayLsn : null;
  }

  async #look(address: HostAddress, late: AbortSignal): Promise<Seen | null> {
    const { memory } = this.#options;
    let connection: ServerConnection | null = null;
    const onLate = (): void => {
      connection?.destroy();
    };
    try {
      connection = await this.#connect(address, late);
      late.addEventListener('abort', onLate, { once: true });
      // Both in one go: the second one is answered behind the first.
      const written = connection.run(WRITTEN_LOG_SQL);
      written.catch(() => {
        // Awaited below, or nobody cares any more.
      });
      const probe = await runProbe(connection);
      const [row] = await written;
      memory.record(address, probe);
      return { address, probe, written: readWrittenLog(row ?? []) };
    } catch {
      connection?.destroy();
      return null;
    } finally {
      late.removeEventListener('abort', onLate);
    }
  }

  async #connect(address: HostAddress, late: AbortSignal): Promise<ServerConnection> {
    const key = hostKey(address);
    const known = this.#connections.get(key);
    if (known !== undefined && !known.isOver) return known;
    const { clientConfig, timeoutMillis } = this.#options;
    const generation = this.#generation;
    const connection = await dial(clientConfig, address, { timeoutMillis, signal: late });
    connection.unref();
    if (generation !== this.#generation) {
      connection.terminate();
      throw new Error('nobody needs it any more');
    }
    this.#connections.get(key)?.terminate();
    this.#connections.set(key, connection);
    return connection;
  }

  /** A provider may have dropped a host. */
  #closeAllBut(hosts: readonly HostAddress[]): void {
    const keys = new Set(hosts.map(hostKey));
    for (const [key, connection] of this.#connections) {
      if (keys.has(key)) continue;
      connection.terminate();
      this.#connections.delete(key);
    }
  }
}
