import type { TargetSessionAttrs } from '../topology/target-session-attrs.ts';
import type { Coordinator } from './coordinator.ts';
import type { Ticket } from './failover.ts';
import type { ReachableHost } from './host-observation.ts';
import type { Member } from './member.ts';
import { ReplayOrder } from './replay-order.ts';
import { selectForSessionAttrs } from './select-host.ts';

/**
 * The recovery of a session that does not follow the primary (a standby, or whatever its `target_session_attrs` want):
 * it looks for a host by itself and waits for nobody, since it holds no locks that others wait for.
 */
export function loneTicket(member: Member, coordinator: Coordinator, attrs: TargetSessionAttrs): Ticket {
  const order = new ReplayOrder().enter(member.journal, member.replayRound);
  return {
    failoverId: 0,
    order,
    primary: (signal) => chooseHost(member, coordinator, attrs, signal),
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

async function chooseHost(
  member: Member,
  coordinator: Coordinator,
  attrs: TargetSessionAttrs,
  signal: AbortSignal,
): Promise<ReachableHost> {
  const { hosts } = await coordinator.discover(signal);
  const observations = await Promise.all(hosts.map((address) => member.observe(address, signal)));
  const { systemIdentifier } = coordinator.knowledge;
  const own = observations.filter(
    (seen) =>
      seen.kind === 'reachable' && (systemIdentifier === null || seen.systemIdentifier === systemIdentifier),
  );
  const selection = selectForSessionAttrs(own, attrs);
  if (selection.kind !== 'selected') throw new Error(`no host has target_session_attrs ${attrs} just now`);
  return selection.observation;
}
