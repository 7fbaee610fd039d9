import type { Ticket } from '../cluster/failover.ts';
import type { ReachableHost } from '../cluster/host-observation.ts';
import { ReplayOrder } from '../cluster/replay-order.ts';
import { selectForSessionAttrs } from '../cluster/select-host.ts';
import type { RecoveringSession } from './recovering-session.ts';

/**
 * The recovery of a session that does not follow the primary (a standby, or whatever its `target_session_attrs` want):
 * it looks for a host by itself and waits for nobody, since it holds no locks that others wait for.
 */
export function loneTicket(session: RecoveringSession): Ticket {
  const order = new ReplayOrder().enter(session.journal, session.replayRound);
  return {
    failoverId: 0,
    order,
    primary: (signal) => chooseHost(session, signal),
    refused: () => {
      // Each ask looks anew.
    },
    resolved: () => Promise.resolve(),
    replayed: () => Promise.resolve(),
    leave: () => {
      order.leave();
    },
  };
}

async function chooseHost(session: RecoveringSession, signal: AbortSignal): Promise<ReachableHost> {
  const { coordinator, resolved } = session.context;
  const { hosts } = await coordinator.discover(signal);
  const observations = await Promise.all(hosts.map((address) => session.observe(address, signal)));
  const { systemIdentifier } = coordinator.knowledge;
  const own = observations.filter(
    (seen) =>
      seen.kind === 'reachable' && (systemIdentifier === null || seen.systemIdentifier === systemIdentifier),
  );
  const selection = selectForSessionAttrs(own, resolved.targetSessionAttrs);
  if (selection.kind !== 'selected') {
    throw new Error(`no host has target_session_attrs ${resolved.targetSessionAttrs} just now`);
  }
  return selection.observation;
}
