import type { FailoverEvents } from '../events.ts';
import type { HostAddress } from '../topology/host-address.ts';
import type { HostObservation } from './host-observation.ts';
import type { OrderedUnit } from './replay-order.ts';

/** The server that a session works on, or worked on last. */
export interface ServerIdentity {
  readonly address: HostAddress;
  /** Equal only for one life of one server; null where the server does not tell. */
  readonly incarnation: string | null;
}

/** One logical session, as the cluster sees it. */
export interface Member {
  /** Unique in the process. */
  readonly id: number;
  readonly events: FailoverEvents;
  /** Null before the first connect. */
  readonly server: ServerIdentity | null;
  /** It has a server connection now. */
  readonly isConnected: boolean;
  /** Only these follow the primary; others (standby sessions) look after themselves. */
  readonly followsPrimary: boolean;
  /** Units of the open transaction's journal, for the order of replays. */
  readonly journal: readonly OrderedUnit[];
  /** How often its replay was out of order in this recovery. */
  readonly replayRound: number;
  /**
   * Looks at a host over a connection with this session's credentials. Never rejects. The connection is kept for the
   * next look and for the session itself.
   */
  observe(address: HostAddress, signal: AbortSignal): Promise<HostObservation>;
  /** The same over a connection that is closed right afterwards, one that was kept too. Never rejects. */
  look(address: HostAddress, signal: AbortSignal): Promise<HostObservation>;
  /** The host is lost: nothing that it still says is believed (R12). The session joins the failover before this returns. */
  cut(): void;
}
