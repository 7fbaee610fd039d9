import { deadlineSignal } from './deadline-signal.ts';
import { FailoverFailedError } from '../errors.ts';
import type { FailoverEventMap, FailoverEvents, FailoverSnapshot } from '../events.ts';
import { hostKey } from '../topology/host-address.ts';
import type { TopologyProvider, TopologyView } from '../topology/topology-provider.ts';
import {
  CommittedLog,
  type CommittedLogLimits,
  type LogOverflow,
  type LoggedTransaction,
} from './committed-log.ts';
import { NOTHING_KNOWN, learn, type ClusterKnowledge } from './cluster-knowledge.ts';
import { Failover, type FailoverPort, type Ticket } from './failover.ts';
import type { ReachableHost } from './host-observation.ts';
import type { Member, ServerIdentity } from './member.ts';
import { PositionPoller } from './position-poller.ts';
import { ReplicationWaits, type ReplicationWait } from './replication-waits.ts';
import { Settlement, type CommittedAgent, type ServerLife } from './settlement.ts';
import { Survey } from './survey.ts';
import { Semaphore } from './semaphore.ts';

export interface CoordinatorOptions extends CommittedLogLimits {
  readonly positionIntervalMillis: number;
  readonly retryMinMillis: number;
  readonly retryMaxMillis: number;
  readonly barrierTimeoutMillis: number;
  readonly drainConcurrency: number;
  readonly maxWaitingSessions: number;
  readonly maxProcessJournalBytes: number;
  readonly dialTimeoutMillis: number;
}

/**
 * What all sessions of one cluster in this process share: what is known of the hosts, the one failover that is going
 * on, the order of sends and acknowledgements, and the counters.
 */
export class Coordinator {
  readonly #provider: TopologyProvider;
  readonly #options: CoordinatorOptions;
  readonly #members = new Set<Member>();
  /** How many sessions report to each emitter. */
  readonly #emitters = new Map<FailoverEvents, number>();
  readonly #dials: Semaphore;
  readonly #survey: Survey;
  #knowledge: ClusterKnowledge = NOTHING_KNOWN;
  #failover: Failover | null = null;
  #sequence = 0;
  #failovers = 0;
  #failoversFailed = 0;
  #journalBytes = 0;
  #lastFailed = false;
  readonly #committed: CommittedLog;
  readonly #poller: PositionPoller;
  readonly #settlement: Settlement;
  readonly #waits = new ReplicationWaits();
  #agent: CommittedAgent | null = null;
  readonly counters = {
    replays: 0,
    replaysDiverged: 0,
    commitsResolved: 0,
    commitsUnknown: 0,
    commitsLost: 0,
    commitsReapplied: 0,
    commitsMaybeLost: 0,
  };

  constructor(provider: TopologyProvider, options: CoordinatorOptions) {
    this.#provider = provider;
    this.#options = options;
    this.#dials = new Semaphore(options.drainConcurrency);
    this.#survey = new Survey(
      (signal) => this.discover(signal),
      () => this.#anyMember(),
      options.dialTimeoutMillis,
      () => this.#members.size > 0,
    );
    this.#committed = new CommittedLog(options);
    this.#settlement = new Settlement(this.#committed);
    this.#poller = new PositionPoller({
      intervalMillis: options.positionIntervalMillis,
      isNeeded: () => this.#committed.size > 0 || this.#waits.size > 0,
      isAwaited: () => this.#waits.size > 0,
      nextSequence: () => this.nextSequence(),
      surveyed: (survey, askedSequence, answeredSequence) => {
        const { incarnation, position, flushed, floor } = survey;
        this.#committed.sampled({ incarnation, position, askedSequence, answeredSequence });
        if (flushed !== null) this.#committed.flushed(incarnation, flushed);
        if (floor !== null) this.#committed.purge(incarnation, floor);
        this.#tellOverflow(this.#committed.expire(Date.now()));
        this.#waits.surveyed(survey, askedSequence);
        this.#settleLate();
      },
    });
  }

  get knowledge(): ClusterKnowledge {
    return this.#knowledge;
  }

  /** True while a failover is going on: new connections wait for it instead of failing. */
  get isFailingOver(): boolean {
    return this.#failover !== null;
  }

  discover(signal: AbortSignal): Promise<TopologyView> {
    return this.#provider.discover(signal);
  }

  /** Why the failover that is going on has not found a primary yet. */
  get lastFailoverReason(): string {
    return this.#failover?.lastReason ?? 'no server was found';
  }

  /** Next number in the process-wide order of sends and acknowledgements (B). */
  nextSequence(): number {
    return ++this.#sequence;
  }

  /** Bounds how many connections are being opened at once. */
  dial<Result>(work: () => Promise<Result>, signal: AbortSignal): Promise<Result> {
    return this.#dials.run(work, signal);
  }

  add(member: Member): void {
    if (this.#members.has(member)) return;
    this.#members.add(member);
    this.#emitters.set(member.events, (this.#emitters.get(member.events) ?? 0) + 1);
  }

  remove(member: Member): void {
    if (!this.#members.delete(member)) return;
    const left = (this.#emitters.get(member.events) ?? 1) - 1;
    if (left === 0) this.#emitters.delete(member.events);
    else this.#emitters.set(member.events, left);
    // A connection that nobody knows of would keep the application from dropping its database.
    if (this.#members.size === 0) this.#poller.rest();
  }

  /** A transaction was acknowledged: it is kept until no failover can lose it (R9). */
  acknowledged(transaction: LoggedTransaction, agent: CommittedAgent): void {
    this.#agent = agent;
    this.#tellOverflow(this.#committed.add(transaction));
    this.#poller.wake(agent.positions);
  }

  /** Somebody waits until a standby has an acknowledged transaction. */
  awaitReplication(wait: ReplicationWait, agent: CommittedAgent): void {
    this.#waits.add(wait);
    this.#poller.hurry(agent.positions);
  }

  /** Not any more. */
  forgetReplication(wait: ReplicationWait): void {
    this.#waits.remove(wait);
  }

  /**
   * Before a session goes on with this life of a server: what was acknowledged on another one is judged, once for all
   * sessions (R9). Rejects only if `signal` aborts.
   */
  async settleCommitted(server: ServerLife, agent: CommittedAgent, signal: AbortSignal): Promise<void> {
    await this.#settlement.run(server, agent, signal);
  }

  /** True if this is a primary that was replaced: the cluster is on a higher timeline by now. */
  isDeposed(host: ReachableHost): boolean {
    const { systemIdentifier, highestTimeline } = this.#knowledge;
    const isOther =
      systemIdentifier !== null &&
      host.systemIdentifier !== null &&
      systemIdentifier !== host.systemIdentifier;
    if (host.inRecovery || isOther || host.timeline === null) return false;
    return highestTimeline !== null && host.timeline < highestTimeline;
  }

  /** True if another session works on this very server. */
  hasOthersOn(member: Member, server: ServerIdentity): boolean {
    for (const other of this.#members) {
      if (other !== member && other.server?.incarnation === server.incarnation && other.isConnected)
        return true;
    }
    return false;
  }

  /** A session works on this host now. */
  connected(host: ReachableHost): void {
    this.#learn(host, null);
  }

  #learn(host: ReachableHost, scout: Member | null): void {
    const before = this.#knowledge.primary;
    const timeline = this.#knowledge.highestTimeline;
    this.#knowledge = learn(this.#knowledge, host);
    if (this.#knowledge.highestTimeline !== timeline) this.#survey.begin(host.address, scout);
    const after = this.#knowledge.primary;
    if (after !== null && before !== null && hostKey(before.address) !== hostKey(after.address)) {
      this.publish('hostChanged', {
        from: hostKey(before.address),
        to: hostKey(after.address),
        timeline: this.#knowledge.highestTimeline,
      });
    }
  }

  /** Reserves journal memory of the process; false if it would pass `maxProcessJournalBytes`. */
  reserveJournal(bytes: number): boolean {
    if (bytes > 0 && this.#journalBytes + bytes > this.#options.maxProcessJournalBytes) return false;
    this.#journalBytes += bytes;
    return true;
  }

  /**
   * A session has lost its server: it joins the failover that is going on, or begins one.
   *
   * @throws FailoverFailedError if the waiting room is full
   */
  join(member: Member, lost: ServerIdentity, cause: string | null): Ticket {
    const waiting = this.#failover?.waiting ?? 0;
    if (waiting >= this.#options.maxWaitingSessions) {
      this.publish('limitReached', {
        session: member.id,
        limit: 'failover.maxWaitingSessions',
        value: this.#options.maxWaitingSessions,
        consequence: 'the session is given up instead of waiting for the failover',
      });
      throw new FailoverFailedError(
        `${waiting} sessions already wait for the failover (failover.maxWaitingSessions is ${this.#options.maxWaitingSessions})`,
      );
    }
    let failover = this.#failover;
    if (failover === null) {
      failover = new Failover(++this.#failovers, lost, this.#port(), performance.now());
      this.#failover = failover;
      this.#lastFailed = false;
      this.publish('failoverStarted', { id: failover.id, host: hostKey(lost.address), cause });
    } else if (failover.host === hostKey(lost.address)) {
      failover.searchAgain(); // The chosen one is lost as well.
    }
    member.events.publish('waiting', { session: member.id, host: hostKey(lost.address) });
    return this.#withOutcome(failover.join(member));
  }

  publish<Name extends keyof FailoverEventMap>(
    name: Name,
    event: Parameters<FailoverEventMap[Name]>[0],
  ): void {
    for (const emitter of this.#emitters.keys()) emitter.publish(name, event);
  }

  snapshot(): FailoverSnapshot {
    const primary = this.#knowledge.primary;
    return {
      primary: primary === null ? null : hostKey(primary.address),
      timeline: this.#knowledge.highestTimeline,
      sessions: this.#members.size,
      waitingSessions: this.#failover?.waiting ?? 0,
      failovers: this.#failovers,
      failoversFailed: this.#failoversFailed,
      journalBytes: this.#journalBytes,
      committedLogTransactions: this.#committed.size,
      committedLogBytes: this.#committed.bytes,
      committedLogDropped: this.#committed.dropped,
      ...this.counters,
    };
  }

  /** What the lost host still acknowledged while its successor was in use already, or nobody could be asked about (R12). */
  #settleLate(): void {
    const { primary } = this.#knowledge;
    if (primary === null || this.#agent === null || this.#failover !== null) return;
    this.#settlement.run(primary, this.#agent, deadlineSignal(this.#options.dialTimeoutMillis)).catch(() => {
      // With the next survey, then.
    });
  }

  #tellOverflow(overflow: LogOverflow | null): void {
    if (overflow === null) return;
    this.publish('limitReached', {
      session: null,
      limit: `failover.${overflow.limit}`,
      value: overflow.value,
      consequence:
        'acknowledged transactions that a standby is not known to have fall out of the committed log: if a failover loses them, nobody will tell',
    });
  }

  /** Best one that has just proved that it may log in. */
  #anyMember(): Member | null {
    const members = [...this.#members].filter(({ followsPrimary }) => followsPrimary);
    return members.find(({ isConnected }) => isConnected) ?? members[0] ?? null;
  }

  #withOutcome(ticket: Ticket): Ticket {
    return {
      ...ticket,
      leave: (outcome) => {
        if (outcome === 'failed') this.#lastFailed = true;
        ticket.leave(outcome);
      },
    };
  }

  #port(): FailoverPort {
    return {
      knowledge: () => this.#knowledge,
      retryMinMillis: this.#options.retryMinMillis,
      retryMaxMillis: this.#options.retryMaxMillis,
      barrierTimeoutMillis: this.#options.barrierTimeoutMillis,
      drainConcurrency: this.#options.drainConcurrency,
      discover: (signal) => this.discover(signal),
      selected: (host, scout) => {
        this.#learn(host, scout);
        this.#cutWhere((server) => server.incarnation !== host.incarnation);
      },
      hostLost: (server) => {
        const key = hostKey(server.address);
        this.#cutWhere((one) => hostKey(one.address) === key && one.incarnation === server.incarnation);
      },
      ended: (failover) => {
        this.#ended(failover);
      },
    };
  }

  #cutWhere(isLost: (server: ServerIdentity) => boolean): void {
    for (const member of [...this.#members]) {
      const server = member.server;
      if (member.followsPrimary && server !== null && isLost(server)) member.cut();
    }
  }

  #ended(failover: Failover): void {
    if (this.#failover === failover) this.#failover = null;
    const durationMillis = performance.now() - failover.startedAt;
    const host = failover.host;
    if (host === null || this.#lastFailed) {
      this.#failoversFailed++;
      this.publish('failoverFailed', { id: failover.id, durationMillis, reason: failover.lastReason });
    } else {
      this.publish('failoverSucceeded', { id: failover.id, durationMillis, host, sessions: failover.joined });
    }
  }
}
