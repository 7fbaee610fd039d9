import type { Coordinator } from '../cluster/coordinator.ts';
import { Semaphore } from '../cluster/semaphore.ts';
import type { FeatureUnavailable } from '../events.ts';
import { hostKey } from '../topology/host-address.ts';
import type { HostAddress } from '../topology/host-address.ts';
import { tryMark } from './commit-mark.ts';
import { recordServer, UNKNOWN_LINEAGE, type Lineage } from './lineage.ts';
import { PooledBackends } from './pooler.ts';
import type { ProbeResult } from './probe.ts';
import { SqlError, type SqlRunner } from './sql-runner.ts';
import type { TimelineHistory } from './timeline-history.ts';

const MARKS = 'resolving a COMMIT in flight by the log position';
const QUESTIONS = 'judging statements and reading sessions back';
/** Not allowed, not there. */
const REFUSALS: ReadonlySet<string> = new Set(['42501', '42883', '42P01']);
const MAX_TOLD = 256;

/** What all PostgreSQL sessions of one cluster in this process share beyond the engine-neutral coordinator. */
export class ClusterMemory {
  readonly pooled = new PooledBackends();
  /** Sessions that move sequences in front of their replays, each with one more connection. */
  readonly sequenceMoves = new Semaphore(2);
  readonly #news: FeatureUnavailable[] = [];
  #lineage: Lineage = UNKNOWN_LINEAGE;
  /** Incarnation → whether the commit mark works there. Tried once, outside any transaction (D1). */
  readonly #markWorks = new Map<string, boolean>();
  /** By incarnation: where its log left older timelines. */
  readonly #histories = new Map<string, Promise<TimelineHistory | null>>();
  /** Hosts and features. */
  readonly #told = new Set<string>();
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

  /**
   * The history of a server's timeline, which is the same for all of its life: asked once for all sessions, as a server has
   * few connections for replication to spare.
   *
   * @param ask - must not reject
   */
  async timelineHistory(
    incarnation: string,
    ask: () => Promise<TimelineHistory | null>,
  ): Promise<TimelineHistory | null> {
    const known = this.#histories.get(incarnation);
    if (known !== undefined) return await known;
    if (this.#histories.size > 64) this.#histories.clear();
    const asked = ask();
    this.#histories.set(incarnation, asked);
    const history = await asked;
    // The next one may be another role, or be luckier.
    if (history === null) this.#histories.delete(incarnation);
    return history;
  }

  /** Whether the mark may be used on this connection. */
  async markWorks(runner: SqlRunner, address: HostAddress, probe: ProbeResult): Promise<boolean> {
    const incarnation = probe.incarnation;
    if (probe.inRecovery) return false;
    if (incarnation === null) {
      this.#refused(address, MARKS, 'the role may not ask the server who it is and where its log is');
      return false;
    }
    if (!probe.canMark) {
      this.#refused(address, MARKS, 'the role may not execute pg_logical_emit_message');
      return false;
    }
    const known = this.#markWorks.get(incarnation);
    if (known !== undefined) return known;
    const works = await tryMark(runner);
    if (!works) this.#refused(address, MARKS, 'the server refuses pg_logical_emit_message');
    this.#remember(incarnation, works);
    return works;
  }

  /** Asks what sessions hold and statements do, and tells if this role may not know. */
  questions(connection: SqlRunner & { readonly address: HostAddress }): SqlRunner {
    return {
      run: async (sql, parameters) => {
        try {
          return await connection.run(sql, parameters);
        } catch (error) {
          if (error instanceof SqlError && REFUSALS.has(error.code)) {
            this.#refused(connection.address, QUESTIONS, `the server refuses a question (${error.code})`);
            this.publishNews();
          }
          throw error;
        }
      },
    };
  }

  /** A server refuses what a feature rests on: to be told, once a host. */
  #refused(address: HostAddress, feature: string, reason: string): void {
    const host = hostKey(address);
    const key = `${host} ${feature}`;
    if (this.#told.has(key)) return;
    if (this.#told.size >= MAX_TOLD) this.#told.clear();
    this.#told.add(key);
    this.#news.push({ host, feature, reason });
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
