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
import { endAnswer, errorAnswer } from './local-answers.ts';
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
  /** What was kept back of the answer besides its end. */
  readonly front: Buffer | null;
  readonly behind: Buffer | null;
  readonly place: Buffer;
  /** Null if the server does not tell where its log is: nothing will ever be found out. */
  readonly transaction: CommittedTransaction | null;
  readonly wait: ReplicationWait | null;
  /** The timeline on which it was acknowledged. */
  readonly timeline: number;
  readonly since: number;
  timer: NodeJS.Timeout | undefined;
  /** The time has passed while the session had no server. */
  isLate: boolean;
}

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
  /** What the unit that is being answered has committed. */
  #next: { readonly unit: PgUnit; readonly transaction: CommittedTransaction | null } | null = null;

  constructor(session: HoldingSession, gate: AnswerGate) {
    this.#session = session;
    this.#gate = gate;
  }

  /** The application waits for an answer that is held back. */
  get isOn(): boolean {
    return this.#held.size > 0;
  }

  /** The answer to the unit is to be held. `transaction`: null if nobody can find out about it. */
  acknowledged(unit: PgUnit, transaction: CommittedTransaction | null): void {
    this.#next = { unit, transaction };
  }

  /** What to deliver in place of the end of this unit's answer, and of what was to come in front of and behind it. */
  placeFor(unit: PgUnit, status: number, front: Buffer | null, behind: Buffer | null): Buffer | null {
    if (this.#next?.unit !== unit) return null;
    const { transaction } = this.#next;
    this.#next = null;
    const { coordinator, committed } = this.#session.context;
    const wait =
      transaction === null
        ? null
        : new ReplicationWait(transaction, coordinator.nextSequence(), () => {
            this.#succeed(held);
          });
    const held: Held = {
      unit,
      status,
      front,
      behind,
      place: this.#gate.hold(),
      transaction,
      wait,
      timeline: transaction?.timeline ?? 0,
      since: performance.now(),
      timer: undefined,
      isLate: false,
    };
    this.#held.add(held);
    this.#startTimer(held);
    if (transaction !== null) {
      transaction.onJudged = (fate) => {
        this.#judged(held, fate);
      };
    }
    if (wait !== null) coordinator.awaitReplication(wait, committed);
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
  #isElsewhere({ transaction }: Held): boolean {
    return transaction !== null && transaction.incarnation !== this.#session.probe?.incarnation;
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
    this.#settle(held, [held.front, endAnswer(held.status)]);
  }

  #fail(held: Held, error: HoldfastError): void {
    this.#session.commitRefused(held.unit, error);
    this.#settle(held, [errorAnswer(this.#session.passage.send(error), held.status)]);
  }

  #settle(held: Held, answer: readonly (Buffer | null)[]): void {
    if (!this.#held.has(held)) return;
    this.#forget(held);
    const bytes = [...answer, held.behind].filter((one) => one !== null);
    if (this.#gate.settle(held.place, Buffer.concat(bytes))) this.#session.resumeReading();
  }

  #forget(held: Held): void {
    this.#held.delete(held);
    clearTimeout(held.timer);
    if (held.transaction !== null) held.transaction.onJudged = null;
    if (held.wait !== null) this.#session.context.coordinator.forgetReplication(held.wait);
  }
}
