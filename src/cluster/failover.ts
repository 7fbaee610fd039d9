import { setMaxListeners } from 'node:events';
import pRetry from 'p-retry';
import { hostKey } from '../topology/host-address.ts';
import type { TopologyView } from '../topology/topology-provider.ts';
import { abortable } from './abortable.ts';
import type { ClusterKnowledge } from './cluster-knowledge.ts';
import { describeObservations } from './describe-observations.ts';
import type { HostObservation, ReachableHost } from './host-observation.ts';
import type { Member, ServerIdentity } from './member.ts';
import { observeHosts } from './observe-hosts.ts';
import { PhaseBarrier, STAGE, type Participant } from './phase-barrier.ts';
import { ReplayOrder, type OrderedReplay } from './replay-order.ts';
import { selectPrimary, type PrimarySelection } from './select-host.ts';

/** What one failover needs of its cluster. */
export interface FailoverPort {
  knowledge(): ClusterKnowledge;
  readonly retryMinMillis: number;
  readonly retryMaxMillis: number;
  readonly barrierTimeoutMillis: number;
  readonly drainConcurrency: number;
  discover(signal: AbortSignal): Promise<TopologyView>;
  /** `scout` has found a primary, which is chosen. Cuts every session that is still on another server (R12). */
  selected(host: ReachableHost, scout: Member): void;
  /** The server is gone: cuts its sessions (R12). */
  hostLost(server: ServerIdentity): void;
  ended(failover: Failover): void;
}

/** The others may still be dialling when a primary could be chosen: how long to wait for a rival. */
const RIVAL_GRACE_MILLIS = 50;
/** The same if the choice is the very server whose connection was lost: a promoted rival must not be overlooked. */
const OLD_PRIMARY_GRACE_MILLIS = 250;

/** One session's part in a failover. */
export interface Ticket {
  readonly failoverId: number;
  readonly order: OrderedReplay;
  /** Phase 0: the host to go to. Shared by all sessions; rejects when `signal` aborts. */
  primary(signal: AbortSignal): Promise<ReachableHost>;
  /** The host that `primary` gave did not take this session: look again. */
  refused(host: ReachableHost): void;
  /** Phase 1 is over for this session; waits for the others, bounded. */
  resolved(signal: AbortSignal): Promise<void>;
  /** Phase 2 is over for this session; waits for the others, bounded, and for its turn in the drain. */
  replayed(signal: AbortSignal): Promise<void>;
  leave(outcome: 'ready' | 'failed'): void;
}

interface Entry extends Participant {
  readonly member: Member;
}

/**
 * One failover of one cluster in this process: single flight, with the phases and barriers of design.md section 1.
 *
 * The barriers have a short deadline of their own, so that one slow replay never holds everybody: whoever is late
 * leaves the count and goes on alone.
 */
export class Failover {
  readonly id: number;
  readonly lost: ServerIdentity;
  readonly startedAt: number;
  readonly #port: FailoverPort;
  readonly #order = new ReplayOrder();
  readonly #entries = new Set<Entry>();
  readonly #abort = new AbortController();
  #search: Promise<ReachableHost> | null = null;
  #found: ReachableHost | null = null;
  #rotation = 0;
  readonly #barrier: PhaseBarrier;
  /** How far each session has ever come on the chosen primary: who begins again there gets on only beyond that. */
  #furthest = new WeakMap<Member, number>();
  #furthestOn: string | null = null;
  #released = 0;
  #joined = 0;
  #lastReason = 'no host was asked yet';
  #lastHost: string | null = null;
  #ended = false;

  constructor(id: number, lost: ServerIdentity, port: FailoverPort, now: number) {
    this.id = id;
    this.lost = lost;
    this.startedAt = now;
    this.#port = port;
    this.#barrier = new PhaseBarrier(this.#entries, port.barrierTimeoutMillis);
    // Every session that takes part listens to it: more than the ten that Node takes for a leak.
    setMaxListeners(0, this.#abort.signal);
  }

  /** Sessions that wait or replay now. */
  get waiting(): number {
    return this.#entries.size;
  }

  /** Sessions that ever took part. */
  get joined(): number {
    return this.#joined;
  }

  /** Why the last look at the hosts did not find a primary. */
  get lastReason(): string {
    return this.#lastReason;
  }

  /** Host chosen last. */
  get host(): string | null {
    return this.#lastHost;
  }

  join(member: Member): Ticket {
    const entry: Entry = { member, stage: STAGE.searching };
    this.#entries.add(entry);
    this.#joined++;
    const order = this.#watched(member, this.#order.enter(member.journal, member.replayRound));
    this.#progressed(member, 0);
    let left = false;
    return {
      failoverId: this.id,
      order,
      primary: (signal) => abortable(this.#primary(), signal),
      refused: (host) => {
        // Only if that is still the one that is given out: many sessions may be refused by the same host.
        if (this.#found === host) this.searchAgain();
      },
      resolved: (signal) => {
        this.#progressed(member, 1);
        return this.#barrier.reached(entry, STAGE.replaying, signal);
      },
      replayed: async (signal) => {
        order.leave();
        this.#progressed(member, Number.POSITIVE_INFINITY);
        await this.#barrier.reached(entry, STAGE.ready, signal);
        await this.#drain();
      },
      leave: () => {
        if (left) return;
        left = true;
        order.leave();
        this.#entries.delete(entry);
        this.#barrier.participantsChanged();
        this.#endIfEmpty();
      },
    };
  }

  #progressed(member: Member, step: number): void {
    if (step <= (this.#furthest.get(member) ?? -1)) return;
    this.#furthest.set(member, step);
    this.#barrier.progressed();
  }

  /** Replayed units count as progress. Who has waited in vain once goes on alone. */
  #watched(member: Member, order: OrderedReplay): OrderedReplay {
    let isAlone = false;
    return {
      ...order,
      turn: async (unit) => {
        if (!isAlone) isAlone = await this.#barrier.patiently(order.turn(unit));
      },
      advance: (count) => {
        this.#progressed(member, 1 + count);
        order.advance(count);
      },
    };
  }

  /** The chosen primary is lost again: the next ask begins a new search. */
  searchAgain(): void {
    this.#search = null;
    this.#found = null;
  }

  #endIfEmpty(): void {
    if (this.#entries.size > 0 || this.#ended) return;
    this.#ended = true;
    this.#abort.abort(new Error('nobody waits any more'));
    this.#port.ended(this);
  }

  #primary(): Promise<ReachableHost> {
    if (this.#search === null) {
      const search = this.#find();
      search.catch(() => {
        if (this.#search === search) this.#search = null;
      });
      this.#search = search;
    }
    return this.#search;
  }

  #find(): Promise<ReachableHost> {
    return pRetry(() => this.#round(), {
      retries: Number.POSITIVE_INFINITY,
      factor: 2,
      minTimeout: this.#port.retryMinMillis,
      maxTimeout: this.#port.retryMaxMillis,
      randomize: false,
      signal: this.#abort.signal,
      // Each session has its own deadline; the search itself ends when nobody waits any more.
      shouldRetry: ({ error }) => error instanceof NotYet,
    });
  }

  /** Asks every host once and decides. */
  async #round(): Promise<ReachableHost> {
    const signal = this.#abort.signal;
    const member = this.#scout();
    if (member === null) throw new NotYet('nobody waits any more');
    const view = await this.#port.discover(signal);
    const select = (seen: readonly HostObservation[]): PrimarySelection =>
      selectPrimary(seen, this.#port.knowledge(), { suggested: view.primary });
    const observations = await observeHosts(
      view.hosts,
      (address) => member.observe(address, signal),
      (seenSoFar) => this.#graceMillis(select(seenSoFar)),
    );
    this.#judgeLostHost(observations);
    const selection = select(observations);
    if (selection.kind !== 'selected') {
      if (observations.some((seen) => seen.kind === 'rejected')) this.#rotation++; // Maybe only this one is refused.
      this.#lastReason = describeObservations(selection.kind, observations);
      throw new NotYet(this.#lastReason);
    }
    this.#lastHost = hostKey(selection.observation.address);
    this.#found = selection.observation;
    if (this.#furthestOn !== selection.observation.incarnation) this.#furthest = new WeakMap();
    this.#furthestOn = selection.observation.incarnation;
    this.#port.selected(selection.observation, member);
    return selection.observation;
  }

  #graceMillis(selection: PrimarySelection): number | null {
    if (selection.kind !== 'selected') return null;
    const isOld = selection.observation.incarnation === this.lost.incarnation;
    return isOld ? OLD_PRIMARY_GRACE_MILLIS : RIVAL_GRACE_MILLIS;
  }

  /** R14: only an agreeing probe ends a host. Then all its sessions are cut at once (R12). */
  #judgeLostHost(observations: readonly HostObservation[]): void {
    const key = hostKey(this.lost.address);
    const seen = observations.find((one) => hostKey(one.address) === key);
    if (seen === undefined) return;
    const isGone =
      seen.kind === 'refused' ||
      (seen.kind === 'reachable' && (seen.inRecovery || seen.incarnation !== this.lost.incarnation));
    if (isGone) this.#port.hostLost(this.lost);
  }

  #scout(): Member | null {
    const entries = [...this.#entries];
    return entries.length === 0 ? null : entries[this.#rotation % entries.length]!.member;
  }

  /** Lets sessions go in groups, so that the new primary is not run over by all of them in one moment. */
  async #drain(): Promise<void> {
    const group = Math.floor(this.#released++ / this.#port.drainConcurrency);
    for (let i = 0; i < group; i++) await new Promise((resolve) => setImmediate(resolve));
  }
}

/** No primary yet: ask again. */
class NotYet extends Error {}
