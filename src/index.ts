/** `holdfast`: errors, events, options and topology providers. Needs no database driver. */
export {
  ConfigurationError,
  FailoverFailedError,
  HoldfastError,
  InternalError,
  NotReplicatedError,
  OutcomeUnknownError,
  ReplayDivergedError,
  ResultLostError,
  SessionClosedError,
  TransactionNotReplayableError,
  type HoldfastErrorKind,
  type Outcome,
} from './errors.ts';
export type {
  CommitResolved,
  CommitTokenUnavailable,
  EventPosition,
  FailoverEventMap,
  FailoverEvents,
  FailoverFailed,
  FailoverSnapshot,
  FailoverStarted,
  FailoverSucceeded,
  FeatureUnavailable,
  HostChanged,
  LimitReached,
  LostCommit,
  NotificationGap,
  NotReplicated,
  ProviderFailed,
  ReplayFailed,
  ReplayStarted,
  ReplaySucceeded,
  TokenPurgeFailed,
  Waiting,
} from './events.ts';
export type {
  Acknowledge,
  FailoverOptions,
  LostCommits,
  OnAcknowledgeTimeout,
  OnReapplyFailed,
  LostState,
  OnReconnect,
  OnTerminated,
  ReconnectedSession,
} from './options.ts';
export type { HostAddress, HostAddressInput } from './topology/host-address.ts';
export { staticHosts } from './topology/static-hosts.ts';
export type { TargetSessionAttrs } from './topology/target-session-attrs.ts';
export type { TopologyProvider, TopologyView } from './topology/topology-provider.ts';
