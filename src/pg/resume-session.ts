import { SessionClosedError } from '../errors.ts';
import type { Doom, LossPlan } from '../session/loss-situation.ts';
import type { SessionState } from '../session/state.ts';
import type { IdleAttention } from './idle-attention.ts';
import type { LocalResponder } from './local-responder.ts';
import { sendAgain } from './pg-unit.ts';
import type { SessionCommits } from './session-commits.ts';
import type { SessionRecovery } from './session-recovery.ts';
import type { SessionTraffic } from './session-traffic.ts';
import type { SessionWork } from './session-work.ts';

/** A session whose failover is over. */
export interface ResumedSession {
  readonly state: SessionState;
  /** What the connection was lost to. */
  readonly cause: Error | null;
  readonly work: SessionWork;
  readonly commits: SessionCommits;
  readonly traffic: SessionTraffic;
  readonly responder: LocalResponder;
  readonly recovery: SessionRecovery;
  readonly attention: IdleAttention;
  /** The application's client is told what has changed with the server. */
  announceServer(): void;
  /** Recovery is given up. */
  closeWith(error: Error): void;
}

/** Everybody gets what the plan says (phase 3). */
export function resumeSession(session: ResumedSession, plan: LossPlan, doom: Doom | null): void {
  const { work, commits, traffic, responder, recovery } = session;
  const { conversation } = work;
  session.announceServer();
  commits.resolved(plan, recovery.hasChangedTimeline);
  if (plan.transaction !== 'replay') work.transactionDropped();
  // Where the first unit was told the reason by its own error, the next ones get what PostgreSQL says.
  if (doom !== null) responder.doomed(doom.kind === 'outcome-unknown' || doom.kind === 'statement-failed');
  conversation.pending.forEach((unit, index) => {
    const fate = plan.fates[index] ?? (doom === null ? 'send' : 'refuse');
    if (fate === 'send' || fate === 'again') sendAgain(unit);
    else responder.decide(unit, fate);
  });
  const [head] = conversation.pending;
  if (head !== undefined && doom === null && !responder.owns(head)) conversation.resume();
  traffic.settle();
  const refusal = recovery.resumed(plan);
  work.assessment.recovered();
  if (isOver(session)) return;
  commits.hold.resumed();
  if (isOver(session)) return;
  if (refusal !== null) {
    const because = session.cause === null ? {} : { cause: session.cause };
    session.closeWith(
      new SessionClosedError(`the session could not be restored on the new server: ${refusal}`, because),
    );
    return;
  }
  if (!work.isBusy && work.memory.wantsAttention) session.attention.wanted();
  traffic.drained();
  traffic.flush();
}

/** The application may close its client in the middle of anything that it is told. */
function isOver({ state }: ResumedSession): boolean {
  return state.kind === 'closed';
}
