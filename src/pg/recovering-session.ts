import type { ReachableHost } from '../cluster/host-observation.ts';
import type { Member } from '../cluster/member.ts';
import type { LossPlan, PendingUnit } from '../session/loss-situation.ts';
import type { SessionEvent, SessionState } from '../session/state.ts';
import type { CommitMark } from './commit-mark.ts';
import type { CommitMeans } from './commit-means.ts';
import type { Conversation } from './conversation.ts';
import type { RenewedJudgement } from './judgement.ts';
import type { MarkKeeper } from './mark-keeper.ts';
import type { PgUnit } from './pg-unit.ts';
import type { PinnedContinuation } from './pinned-continuation.ts';
import type { ProbeResult } from './probe.ts';
import type { ReplaySource } from './replay.ts';
import type { ProbedConnection, Scouts } from './scouts.ts';
import type { ServerConnection } from './server-connection.ts';
import type { ConnectionLoss } from './connection-loss.ts';
import type { SessionContext } from './session-context.ts';
import type { SessionMemory } from './session-memory.ts';
import type { StatementText } from './statement-text.ts';

/** A connection to the new server on which the session is as it was, but for its open transaction. */
export interface Arrival {
  readonly probed: ProbedConnection;
  readonly host: ReachableHost;
  readonly means: CommitMeans;
  /** What the new server's catalogue says of the texts of the session's work, asked after the loss. */
  readonly judged: ReadonlyMap<StatementText, RenewedJudgement>;
}

/** A logical session as its recovery sees it. */
export interface RecoveringSession extends Member, ReplaySource {
  readonly context: SessionContext;
  readonly state: SessionState;
  readonly connection: ServerConnection | null;
  /** What the current or the last server said of itself over this session's connection. */
  readonly probe: ProbeResult | null;
  readonly conversation: Conversation;
  readonly units: readonly PgUnit[];
  readonly marks: MarkKeeper;
  readonly pinned: PinnedContinuation;
  readonly memory: SessionMemory;
  readonly scouts: Scouts;
  /** Mark of the transaction that was open when the connection was lost. */
  readonly markInDoubt: CommitMark | null;
  /** Something of the application's is under way, or a transaction of it is open. */
  readonly isBusy: boolean;
  /** The application waits for an answer that the server has given. */
  readonly holdsAnswers: boolean;
  /** Tells the session's machine what happened. */
  dispatch(event: SessionEvent): void;
  /** What is to become of the session's work, from what is known now. */
  makePlan(): LossPlan;
  pendingFacts(): readonly PendingUnit[];
  /** Another connection in place of the lost one. */
  reconnected(arrival: Arrival): void;
  /** Recovery is given up. */
  closeWith(error: Error): void;
  /** A kill aimed at this session: the server's own words (R14), behind what is known of the units of the plan. */
  closeAsTerminated(loss: ConnectionLoss, known?: LossPlan): void;
}
