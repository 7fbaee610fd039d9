import type { Coordinator } from '../cluster/coordinator.ts';
import type { CommittedAgent } from '../cluster/settlement.ts';
import type { FailoverEvents } from '../events.ts';
import type { ResolvedFailoverOptions } from '../options.ts';
import type { ClusterMemory } from './cluster-memory.ts';
import type { ResolvedConnection } from './connection-hosts.ts';
import type { DatabaseMemory } from './database-memory.ts';
import type { RecordedTexts } from './pinning/recorded-texts.ts';
import type { DatabaseTokens } from './token/database-tokens.ts';

/** All that a logical session is given: it reaches for nothing by itself. */
export interface SessionContext {
  readonly coordinator: Coordinator;
  readonly memory: ClusterMemory;
  readonly database: DatabaseMemory;
  readonly tokens: DatabaseTokens;
  /** Null if `failover.recordGeneratedValues` is off. */
  readonly recordedTexts: RecordedTexts | null;
  readonly resolved: ResolvedConnection;
  readonly options: ResolvedFailoverOptions;
  readonly events: FailoverEvents;
  /** Asks about acknowledged transactions, with the credentials of these sessions. */
  readonly committed: CommittedAgent;
}
