import type { ServerIdentity } from '../cluster/member.ts';
import type { LossPlan } from '../session/loss-situation.ts';
import { AcknowledgeMode } from './acknowledge-mode.ts';
import type { AnswerGate } from './answer-gate.ts';
import { CommitRecorder, type RecordedSession } from './commit-recorder.ts';
import type { CommitMark } from './commit-mark.ts';
import type { CommittedTransaction } from './committed-transaction.ts';
import type { Conversation, UnitCompleted } from './conversation.ts';
import type { PgUnit } from './pg-unit.ts';
import { ReplicationHold, type HoldingSession } from './replication-hold.ts';
import type { SessionContext } from './session-context.ts';

/** A session that commits. */
export interface CommittingSession extends RecordedSession, HoldingSession {
  readonly context: SessionContext;
  readonly server: ServerIdentity | null;
  readonly conversation: Conversation;
  readonly followsPrimary: boolean;
  /** Mark of the transaction that was open when the connection was lost. */
  readonly markInDoubt: CommitMark | null;
}

/**
 * What one session has committed: it is recorded, so that the cluster can find out whether it survives a failover (R9),
 * and its answer is held back where a standby must have it first.
 */
export class SessionCommits {
  readonly hold: ReplicationHold;
  readonly #session: CommittingSession;
  readonly #recorder: CommitRecorder;
  readonly #acknowledge: AcknowledgeMode;

  constructor(session: CommittingSession, gate: AnswerGate) {
    this.#session = session;
    this.#recorder = new CommitRecorder(session);
    this.#acknowledge = new AcknowledgeMode(session.context.options.acknowledge);
    this.hold = new ReplicationHold(session, gate);
  }

  /** A unit was answered; called before anybody forgets what it was about. */
  completed(completed: UnitCompleted): void {
    const isHeld = this.#acknowledge.completed(completed) && this.#session.followsPrimary;
    const committed = this.#recorder.completed(completed, isHeld);
    if (isHeld && committed !== null) this.#holdBack(completed.unit, committed);
  }

  /** The session ends before it is known what became of the unit: to have been found committed would not be enough. */
  wouldBeHeld(unit: PgUnit): boolean {
    const { followsPrimary } = this.#session;
    return this.hold.awaits(unit) || (followsPrimary && this.#acknowledge.isReplicated(unit));
  }

  /** The connection under a session that was online is gone. What had been answered far enough may be committed. */
  lost(): void {
    const { conversation, followsPrimary } = this.#session;
    const { pending, journal } = conversation;
    const [unit] = pending;
    if (unit === undefined) return;
    const isHeld = followsPrimary && this.#acknowledge.isReplicated(unit);
    const committed = this.#recorder.lost(unit, journal.open, journal.units, isHeld);
    if (isHeld && committed !== null) this.#holdBack(unit, committed);
  }

  /**
   * What was in doubt has taken effect here: a later failover may lose it as any other (A5).
   *
   * @param hasChangedTimeline the server is on a later timeline than the lost one was: it was a standby, and had it
   */
  resolved({ situation, fates }: LossPlan, hasChangedTimeline: boolean): void {
    const { conversation, markInDoubt, followsPrimary } = this.#session;
    const { pending, journal } = conversation;
    let isOpen = situation.open;
    situation.pending.forEach(({ sent, ending, verdict }, index) => {
      const unit: PgUnit | undefined = pending[index];
      // The first one that ends the transaction which was open is that one's, with all in front of it.
      const isOfOpen = isOpen && sent && ending !== 'none';
      if (isOfOpen) isOpen = false;
      if (unit === undefined || verdict?.outcome !== 'committed') return;
      if (fates[index] !== 'finish' && fates[index] !== 'lost') return;
      const isReplicated = this.#acknowledge.completed({ unit, wasOpen: isOfOpen, ended: true });
      const isHeld = isReplicated && followsPrimary && !hasChangedTimeline;
      const before = isOfOpen ? [...journal.units, ...pending.slice(0, index)] : [];
      const committed = this.#recorder.resolved(unit, before, isOfOpen ? markInDoubt : null, isHeld);
      if (isHeld && committed !== null && fates[index] === 'finish') this.#holdBack(unit, committed);
    });
  }

  #holdBack(unit: PgUnit, committed: CommittedTransaction | 'unknown'): void {
    this.hold.acknowledged(unit, committed === 'unknown' ? null : committed);
  }
}
