import { deadlineSignal } from '../../cluster/deadline-signal.ts';
import type { HostObservation, ReachableHost } from '../../cluster/host-observation.ts';
import { FailoverFailedError } from '../../errors.ts';
import { hostKey, type HostAddress } from '../../topology/host-address.ts';
import type { RecoveringSession } from '../session/recovering-session.ts';
import { observationOf } from './probe.ts';
import { failureOf, type ProbedConnection } from './scouts.ts';

export interface OpenedSession {
  readonly probed: ProbedConnection;
  readonly host: ReachableHost;
}

/**
 * The first connection of a session: tries the hosts in order, and takes the first that takes writes (with
 * `readOnlyIntent`: that lets it in). If a failover is going on, or nobody answers though this process has already worked
 * with the cluster, it waits for the primary instead.
 *
 * Rejects with the error of the last host.
 */
export async function openSession(session: RecoveringSession, signal: AbortSignal): Promise<OpenedSession> {
  const { coordinator, wantsPrimary, hosts: configured } = session.context;
  if (coordinator.isFailingOver && wantsPrimary) return await openOnPrimary(session, signal);
  const view = await coordinator.discover(signal);
  const hosts = inOrder(view.hosts.length === 0 ? configured : view.hosts, view.primary);
  const readOnly: OpenedSession[] = [];
  const told: string[] = [];
  let last: unknown = null;
  let mayComeBack = false;
  try {
    for (const address of hosts) {
      try {
        const probed = await session.scouts.open(address, signal);
        const host = observationOf(address, probed.probe);
        if (host.writable || !wantsPrimary) return { probed, host };
        readOnly.push({ probed, host });
        told.push(`${hostKey(address)}: the database is read-only there`);
        mayComeBack = true;
      } catch (error) {
        signal.throwIfAborted();
        last = error;
        told.push(`${hostKey(address)}: ${error instanceof Error ? error.message : String(error)}`);
        mayComeBack ||= failureOf(address, error).kind !== 'rejected';
      }
    }
    // A database that takes no writes, with nobody else to ask: as stock tedious would.
    const lone = hosts.length === 1 ? readOnly.pop() : undefined;
    if (lone !== undefined) return lone;
  } finally {
    for (const { probed } of readOnly) probed.connection.destroy();
  }
  if (wantsPrimary && mayComeBack && coordinator.knowledge.primary !== null) {
    return await openOnPrimary(session, signal);
  }
  if (hosts.length === 1 && last instanceof Error) throw last;
  const error = new FailoverFailedError(`no host takes writes: ${told.join('; ')}`);
  if (last !== null) error.cause = last;
  throw error;
}

async function openOnPrimary(session: RecoveringSession, signal: AbortSignal): Promise<OpenedSession> {
  const { coordinator, options, hosts } = session.context;
  const lost = coordinator.knowledge.primary ?? { address: hosts[0]!, incarnation: null };
  const limit = deadlineSignal(options.timeoutMillis, signal);
  const ticket = coordinator.join(session, lost, null);
  let outcome: 'ready' | 'failed' = 'failed';
  try {
    for (;;) {
      const host = await ticket.primary(limit);
      try {
        const probed = await session.scouts.take(host, limit);
        if (probed.probe.isWritable) {
          outcome = 'ready';
          return { probed, host };
        }
        probed.connection.destroy();
      } catch (error) {
        limit.throwIfAborted();
        const seen: HostObservation = failureOf(host.address, error);
        if (seen.kind === 'rejected') throw error;
      }
      ticket.refused(host);
      await new Promise((resolve) => setTimeout(resolve, options.retryMinMillis));
    }
  } catch (error) {
    signal.throwIfAborted();
    if (!limit.aborted) throw error;
    throw new FailoverFailedError(
      `no server was found within ${options.timeoutMillis} ms (failover.timeoutMillis): ${coordinator.lastFailoverReason}`,
    );
  } finally {
    ticket.leave(outcome);
    session.scouts.close();
  }
}

function inOrder(hosts: readonly HostAddress[], primary: HostAddress | undefined): readonly HostAddress[] {
  if (primary === undefined) return hosts;
  const key = hostKey(primary);
  return [...hosts.filter((one) => hostKey(one) === key), ...hosts.filter((one) => hostKey(one) !== key)];
}
