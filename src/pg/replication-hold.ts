import type { Coordinator } from '../cluster/coordinator.ts';
import { ReplicationWait } from '../cluster/replication-waits.ts';
import { NotReplicatedError, TransactionNotReplayableError, type HoldfastError } from '../errors.ts';
import type { FailoverEvents } from '../events.ts';
import type { ResolvedFailoverOptions } from '../options.ts';
import type { SessionState } from '../session/state.ts';
import type { CommittedAgent } from '../cluster/settlement.ts';
import type { AnswerGate } from './answer-gate.ts';
import type { CommittedTransaction, CommittedFate } from './committed-transaction.ts';
import type { ErrorPassage } from './error-passage.ts';
import { fateError } from './fate-errors.ts';
import { errorAnswer } from './local-answers.ts';
import type { PgUnit } from './pg-unit.ts';
import type { ProbeResult } from './probe.ts';

/** A session that holds answers back. */
export interface HoldingSession {
  readonly id: number;
  readonly state: SessionState;
  readonly probe: ProbeResult | null;
  readonly cause: Error | null;
  readonly passage: ErrorPassage;
  readonly context: {
    readonly coordinator: Coordinator;
    readonly committed: CommittedAgent;
    readonly options: Pick<ResolvedFailoverOptions, 'acknowledgeTimeoutMillis' | 'onAcknowledgeTimeout'>;
    readonly events: FailoverEvents;
  };
  /** The unit gets this error, though the server has answered it with success. */
  commitRefused(unit: PgUnit, error: HoldfastError): void;
  resumeReading(): void;
}

interface Held {
  readonly unit: PgUnit;
  readonly status: number;
  readonly answer: Buffer;
  readonly place: Buffer;
  /** Null if the server does not tell where its log is: nothing will ever be found out. */
  readonly transaction: CommittedTransaction | null;
  /** The server that is known to have it: its life, or what it said of itself if that is unknown. */
  readonly probe: ProbeResult | null;
  readonly wait: ReplicationWait | null;
  /** The timeline on which it was committed. */
  timeline: number;
  readonly since: number;
  timer: NodeJS.Timeout | undefined;
  /** The time has passed while the session had no server. */
  isLate: boolean;
}

/** What is to be held, from when it is committed until its answer is complete. */
type Committed = Pick<Held, 'transaction' | 'probe'>;

/**
 * Holds the answers to one session's commits back until a standby has replayed them (`acknowledge: 'replicated'`).
 *
 * If the server is lost meanwhile, the committed log's judgement decides (R9): an answer that was never given may still be
 * taken back. No answer is held for longer than `acknowledgeTimeoutMillis` while the session has a server, and while it
 * has none, not beyond the session's own deadline.
 */
export class ReplicationHold {
  readonly #session: HoldingSession;
  readonly #gate: AnswerGate;
  readonly #held = new Set<Held>();
  readonly #next = new Map<PgUnit, Committed>();

  constructor(session: HoldingSession, gate: AnswerGate) {
    this.#session = session;
    this.#gate = gate;
  }

  /** The application waits for an answer that is held back. */
  get isOn(): boolean {
    return this.#held.size > 0;
  }

  /** True if the answer to the unit will be held. */
  awaits(unit: PgUnit): boolean {
    return this.#next.has(unit);
  }

  /**
   * The answer to the unit is to be held once it is complete. `transaction`: what it has committed; null if nobody can find
   * out about it.
   */
  acknowledged(unit: PgUnit, transaction: CommittedTransaction | null): void {
    this.#next.set(unit, { transaction, probe: this.#session.probe });
  }

  /** The unit was answered with something else. */
  told(unit: PgUnit): void {
    this.#next.delete(unit);
  }

  /** What to deliver in place of the rest of this unit's answer, which is to be held. */
  placeFor(unit: PgUnit, status: number, answer: Buffer): Buffer {
    const committed = this.#next.get(unit);
    this.#next.delete(unit);
    // R15: nobody waits for it any more.
    if (committed === undefined || unit.withdrawn) return answer;
    return this.#hold({ ...committed, unit, status, answer });
  }

  #hold(about: Pick<Held, 'unit' | 'status' | 'answer' | 'transaction' | 'probe'>): Buffer {
    const { transaction } = about;
    const { coordinator, committed } = this.#session.context;
    const wait =
      transaction === null
        ? null
        : new ReplicationWait(transaction, coordinator.nextSequence(), () => {
            this.#succeed(held);
          });
    const held: Held = {
      ...about,
      place: this.#gate.hold(),
      wait,
      timeline: transaction?.on.timeline ?? 0,
      since: performance.now(),
      timer: undefined,
      isLate: false,
    };
    this.#held.add(held);
    this.#startTimer(held);
    if (transaction === null || wait === null) return held.place;
    transaction.onJudged = (fate) => {
      this.#judged(held, fate);
    };
    // It was judged before its answer was complete.
    if (transaction.incarnation !== transaction.on.incarnation) {
      this.#judged(held, transaction.attempts.length > 0 ? 'reapplied' : 'survived');
    }
    if (this.#held.has(held)) coordinator.awaitReplication(wait, committed);
    return held.place;
  }

  /** The session goes on behind a failover, in which what the lost server had acknowledged was judged. */
  resumed(): void {
    for (const held of [...this.#held]) {
      if (!held.isLate) continue;
      held.isLate = false;
      // What nobody could be asked about in time is asked again.
      if (this.#isElsewhere(held)) this.#startTimer(held);
      else this.#timedOut(held);
    }
  }

  /** R15: the application has given up on its COMMIT. Nobody reads the answer, but its client must be able to go on. */
  withdraw(): void {
    for (const held of [...this.#held]) {
      const isHere = this.#session.state.kind === 'online' && !this.#isElsewhere(held);
      this.#fail(held, isHere ? this.#notReplicated(held) : fateError('unknown', this.#session.cause));
    }
  }

  /** The session ends before it is known what became of them. */
  abandon(cause: Error | null): void {
    for (const held of [...this.#held]) this.#fail(held, fateError('unknown', cause));
  }

  /** The application has closed its side: nobody is to be told. */
  clear(): void {
    for (const held of [...this.#held]) this.#forget(held);
    this.#next.clear();
    this.#gate.clear();
  }

  #startTimer(held: Held): void {
    held.timer = setTimeout(() => {
      this.#timedOut(held);
    }, this.#session.context.options.acknowledgeTimeoutMillis);
  }

  #timedOut(held: Held): void {
    const { state, context } = this.#session;
    if (state.kind !== 'online') {
      held.isLate = true; // The server that had acknowledged it may be gone, and the transaction with it.
      return;
    }
    if (this.#isElsewhere(held)) {
      this.#fail(held, fateError('unknown', this.#session.cause));
      return;
    }
    context.events.publish('notReplicated', {
      session: this.#session.id,
      durationMillis: performance.now() - held.since,
    });
    if (context.options.onAcknowledgeTimeout === 'error') this.#fail(held, this.#notReplicated(held));
    else this.#succeed(held);
  }

  /** The session's server is not the one that is known to have it. */
  #isElsewhere({ transaction, probe }: Held): boolean {
    if (transaction === null) return probe !== this.#session.probe;
    return transaction.incarnation !== this.#session.probe?.incarnation;
  }

  #judged(held: Held, fate: CommittedFate): void {
    const { coordinator } = this.#session.context;
    switch (fate) {
      case 'survived':
        // On a later timeline it was a standby that had it.
        if (held.transaction !== null && held.transaction.timeline > held.timeline) this.#succeed(held);
        else held.wait?.restart(coordinator.nextSequence());
        return;
      case 'only-read':
        this.#succeed(held);
        return;
      case 'reapplied':
        // On that server it is as new as it was on the first: who comes back on this timeline is that one again.
        held.timeline = held.transaction?.timeline ?? held.timeline;
        held.wait?.restart(coordinator.nextSequence());
        return;
      case 'lost':
        this.#fail(
          held,
          new TransactionNotReplayableError(
            'the transaction was committed, but lost with its server before any standby had it: nothing of it took effect',
            this.#because,
          ),
        );
        return;
      case 'unknown':
        this.#fail(held, fateError('unknown', this.#session.cause));
    }
  }

  get #because(): { cause?: Error } {
    const { cause } = this.#session;
    return cause === null ? {} : { cause };
  }

  #notReplicated(held: Held): NotReplicatedError {
    const millis = Math.round(performance.now() - held.since);
    return new NotReplicatedError(
      `this is committed on the primary, but no standby is known to have it after ${millis} ms (failover.acknowledge): do not run it again`,
    );
  }

  #succeed(held: Held): void {
    this.#settle(held, held.answer);
  }

  #fail(held: Held, error: HoldfastError): void {
    this.#session.commitRefused(held.unit, error);
    this.#settle(held, errorAnswer(this.#session.passage.send(error), held.status));
  }

  #settle(held: Held, answer: Buffer): void {
    if (!this.#held.has(held)) return;
    this.#forget(held);
    if (this.#gate.settle(held.place, answer)) this.#session.resumeReading();
  }

  #forget(held: Held): void {
    this.#held.delete(held);
    clearTimeout(held.timer);
    if (held.transaction !== null) held.transaction.onJudged = null;
    if (held.wait !== null) this.#session.context.coordinator.forgetReplication(held.wait);
  }
}
