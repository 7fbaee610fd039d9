import type { ConnectionConfiguration } from 'tedious';
import type { Coordinator } from '../../cluster/coordinator.ts';
import type { FailoverEvents } from '../../events.ts';
import type { ResolvedFailoverOptions } from '../../options.ts';
import type { HostAddress } from '../../topology/host-address.ts';
import type { AcknowledgedCommits } from '../lost-commits/acknowledged-commits.ts';
import type { ConnectionClass } from '../link/server-link.ts';

/** All that a logical session is given: it reaches for nothing by itself. */
export interface SessionContext {
  readonly coordinator: Coordinator;
  readonly events: FailoverEvents;
  readonly options: ResolvedFailoverOptions;
  /** The application's own tedious. */
  readonly Connection: ConnectionClass;
  /** What the hidden connections get. */
  readonly config: ConnectionConfiguration;
  /** The one host's address stands in `config` in another form (the name of an instance). */
  readonly isAddressOfConfig: boolean;
  /** What is used until a provider has answered. */
  readonly hosts: readonly HostAddress[];
  /** What all sessions of the cluster in this process share. */
  readonly acknowledged: AcknowledgedCommits;
  /** `readOnlyIntent`: any replica that lets us in. */
  readonly wantsPrimary: boolean;
}
