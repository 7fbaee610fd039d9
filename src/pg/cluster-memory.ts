import type { Coordinator } from '../cluster/coordinator.ts';
import type { FeatureUnavailable } from '../events.ts';
import { hostKey } from '../topology/host-address.ts';
import type { HostAddress } from '../topology/host-address.ts';
import { tryMark } from './commit-mark.ts';
import { recordServer, UNKNOWN_LINEAGE, type Lineage } from './lineage.ts';
import { PooledBackends } from './pooler.ts';
import type { ProbeResult } from './probe.ts';
import type { SqlRunner } from './sql-runner.ts';

/** What all PostgreSQL sessions of one cluster in this process share beyond the engine-neutral coordinator. */
export class ClusterMemory {
  readonly pooled = new PooledBackends();
  readonly #news: FeatureUnavailable[] = [];
  #lineage: Lineage = UNKNOWN_LINEAGE;
  /** Incarnation → whether the commit mark works there. Tried once, outside any transaction (D1). */
  readonly #markWorks = new Map<string, boolean>();
  readonly #coordinator: Coordinator;

  constructor(coordinator: Coordinator) {
    this.#coordinator = coordinator;
  }

  get lineage(): Lineage {
    return this.#lineage;
  }

  /** Every probe of every server goes here: whatever shows a fork takes proofs away (R6). */
  record(address: HostAddress, probe: ProbeResult): void {
    this.#lineage = recordServer(this.#lineage, hostKey(address), probe);
  }

  /** Whether the mark may be used on this connection; told once a host if not. */
  async markWorks(runner: SqlRunner, address: HostAddress, probe: ProbeResult): Promise<boolean> {
    const incarnation = probe.incarnation;
    if (probe.inRecovery || incarnation === null) return false;
    if (!probe.canMark) {
      this.#tell(address, incarnation, 'the role may not execute pg_logical_emit_message');
      return false;
    }
    const known = this.#markWorks.get(incarnation);
    if (known !== undefined) return known;
    const works = await tryMark(runner);
    if (!works) this.#tell(address, incarnation, 'the server refuses pg_logical_emit_message');
    this.#remember(incarnation, works);
    return works;
  }

  #tell(address: HostAddress, incarnation: string, reason: string): void {
    if (this.#markWorks.get(incarnation) === false) return;
    this.#remember(incarnation, false);
    this.#news.push({
      host: hostKey(address),
      feature: 'resolving a COMMIT in flight by the log position',
      reason,
    });
  }

  /** Publishes what was found out while connecting, once the session that did has joined those who are told. */
  publishNews(): void {
    for (const event of this.#news.splice(0)) this.#coordinator.publish('featureUnavailable', event);
  }

  #remember(incarnation: string, works: boolean): void {
    if (this.#markWorks.size > 64) this.#markWorks.clear();
    this.#markWorks.set(incarnation, works);
  }
}

const memories = new WeakMap<Coordinator, ClusterMemory>();

/** The memory that belongs to this coordinator. */
export function clusterMemory(coordinator: Coordinator): ClusterMemory {
  let memory = memories.get(coordinator);
  if (memory === undefined) {
    memory = new ClusterMemory(coordinator);
    memories.set(coordinator, memory);
  }
  return memory;
}
