import type { Member } from '../../cluster/member.ts';
import type { ReachableHost } from '../../cluster/host-observation.ts';
import type { Journal } from '../../session/journal.ts';
import type { LossPlan, PendingUnit } from '../../session/loss-situation.ts';
import type { SessionEvent, SessionState } from '../../session/state.ts';
import type { ProbeResult } from '../hosts/probe.ts';
import type { ProbedConnection, Scouts } from '../hosts/scouts.ts';
import type { ServerConnection } from '../link/server-connection.ts';
import type { MessageToken } from '../wire/read-token.ts';
import type { PreparedHandles } from './prepared-handles.ts';
import type { SessionContext } from './session-context.ts';
import type { SessionMemory } from './session-memory.ts';
import type { SessionTokens } from './session-tokens.ts';
import type { TdsUnit } from './tds-unit.ts';

/** How a connection was lost. */
export interface ConnectionLoss {
  readonly error: Error;
  /** What the server said before; null if it said nothing. */
  readonly said: MessageToken | null;
}

/** A logical session as its recovery sees it. */
export interface RecoveringSession extends Member {
  readonly context: SessionContext;
  readonly state: SessionState;
  readonly connection: ServerConnection | null;
  readonly probe: ProbeResult | null;
  readonly scouts: Scouts;
  readonly open: Journal<TdsUnit>;
  readonly pending: readonly TdsUnit[];
  readonly memory: SessionMemory;
  readonly handles: PreparedHandles;
  readonly tokens: SessionTokens;
  /** Something of the application's is under way, or a transaction of it is open. */
  readonly isBusy: boolean;
  dispatch(event: SessionEvent): void;
  makePlan(): LossPlan;
  pendingFacts(): readonly PendingUnit[];
  reconnected(probed: ProbedConnection, host: ReachableHost): void;
  /** Recovery is given up. */
  closeWith(error: Error): void;
  /** A kill aimed at this session (R14): the server's own words, then the end. */
  closeAsTerminated(loss: ConnectionLoss): void;
}
