import { deadlineSignal } from '../cluster/deadline-signal.ts';
import type { HostObservation, ReachableHost } from '../cluster/host-observation.ts';
import { selectForSessionAttrs } from '../cluster/select-host.ts';
import { FailoverFailedError } from '../errors.ts';
import { hostKey, type HostAddress } from '../topology/host-address.ts';
import type { TargetSessionAttrs } from '../topology/target-session-attrs.ts';
import { commitMeans } from './commit-means.ts';
import type { LogicalSession } from './logical-session.ts';
import { failureOf, observationOf, type ProbedConnection } from './scouts.ts';
import type { SessionContext } from './session-context.ts';

/** The outcome of trying one host. */
interface Attempt {
  readonly observation: HostObservation;
  readonly probed: ProbedConnection | null;
  readonly error: unknown;
}

/**
 * Opens the first connection of a session: tries the hosts in order and takes the first that has the wanted attributes,
 * as libpq does; a probe on the live connection decides, not the list.
 *
 * If a failover is going on, or nobody answers though this process has already worked with the cluster, it waits for
 * the primary instead of failing. Otherwise it rejects with the very error that stock pg gives for the last host.
 */
export async function openSession(session: LogicalSession, signal: AbortSignal): Promise<void> {
  const { coordinator, resolved } = session.context;
  const wantsPrimary = followsPrimary(resolved.targetSessionAttrs);
  if (coordinator.isFailingOver && wantsPrimary) {
    await openOnPrimary(session, signal);
    return;
  }
  const view = await coordinator.discover(signal);
  const hosts = view.hosts.length === 0 ? resolved.hosts : inOrder(view.hosts, view.primary, session.context);
  const attempts: Attempt[] = [];
  const leftOpen = new Set<ProbedConnection>();
  try {
    for (const address of hosts) {
      const attempt = await tryHost(session, address, signal);
      attempts.push(attempt);
      if (attempt.probed !== null) leftOpen.add(attempt.probed);
      const chosen = choose(attempts, resolved.targetSessionAttrs, attempts.length === hosts.length);
      if (chosen?.kind === 'rejected') throw chosen.error;
      if (chosen?.kind === 'selected') {
        leftOpen.delete(chosen.probed);
        if (await begin(session, chosen.probed, chosen.host, signal)) return;
        break; // Replaced meanwhile.
      }
    }
  } finally {
    for (const { connection } of leftOpen) connection.terminate();
  }
  signal.throwIfAborted();
  const known = coordinator.knowledge.primary !== null;
  if (known && wantsPrimary && attempts.some((one) => one.observation.kind !== 'rejected')) {
    await openOnPrimary(session, signal);
    return;
  }
  throw failure(attempts, resolved.targetSessionAttrs);
}

type Choice =
  | { readonly kind: 'selected'; readonly probed: ProbedConnection; readonly host: ReachableHost }
  | { readonly kind: 'rejected'; readonly error: unknown };

function choose(attempts: readonly Attempt[], attrs: TargetSessionAttrs, isComplete: boolean): Choice | null {
  const observations = attempts.map((one) => one.observation);
  // The second choice of prefer-standby counts only when everybody was asked.
  const selection = selectForSessionAttrs(
    observations,
    attrs === 'prefer-standby' && !isComplete ? 'standby' : attrs,
  );
  if (selection.kind === 'none') return null;
  const attempt = attempts[observations.indexOf(selection.observation)];
  if (attempt === undefined) return null;
  if (selection.kind === 'rejected') return { kind: 'rejected', error: attempt.error };
  return attempt.probed === null
    ? null
    : { kind: 'selected', probed: attempt.probed, host: selection.observation };
}

async function tryHost(session: LogicalSession, address: HostAddress, signal: AbortSignal): Promise<Attempt> {
  try {
    const probed = await session.scouts.open(address, signal);
    const observation = observationOf(address, probed.probe);
    if (session.context.coordinator.isDeposed(observation)) {
      probed.connection.terminate();
      const error = new FailoverFailedError(`${hostKey(address)} was the primary once, and was replaced`);
      return { observation: { kind: 'unreachable', address, reason: 'deposed' }, probed: null, error };
    }
    return { observation, probed, error: null };
  } catch (error) {
    signal.throwIfAborted();
    return { observation: failureOf(address, error), probed: null, error };
  }
}

/** False if the host was replaced while this was under way. */
async function begin(
  session: LogicalSession,
  probed: ProbedConnection,
  host: ReachableHost,
  signal: AbortSignal,
): Promise<boolean> {
  const { coordinator } = session.context;
  const means = await commitMeans(session.context, probed.connection, host.address, probed.probe);
  // R9: what an earlier primary had acknowledged is looked for before anybody goes on with another one.
  if (!probed.probe.inRecovery) await coordinator.settleCommitted(host, session.context.committed, signal);
  if (coordinator.isDeposed(host)) {
    probed.connection.terminate();
    return false;
  }
  session.connected(probed, host, means);
  session.context.database.prepare();
  return true;
}

/** Joins the failover: a connection that comes now waits for the new primary like the sessions that had one. */
async function openOnPrimary(session: LogicalSession, signal: AbortSignal): Promise<void> {
  const { coordinator, options, resolved } = session.context;
  const primary = coordinator.knowledge.primary;
  const lost = primary ?? { address: resolved.hosts[0]!, incarnation: null };
  const limit = deadlineSignal(options.timeoutMillis, signal);
  const ticket = coordinator.join(session, lost, null);
  let outcome: 'ready' | 'failed' = 'failed';
  try {
    for (;;) {
      const host = await ticket.primary(limit);
      try {
        const probed = await session.scouts.take(host, limit);
        if (await begin(session, probed, host, limit)) {
          outcome = 'ready';
          return;
        }
      } catch (error) {
        limit.throwIfAborted();
        if (failureOf(host.address, error).kind === 'rejected') throw error;
      }
      // It can't be entered, or was replaced while the session was being set up there.
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

export function followsPrimary(attrs: TargetSessionAttrs): boolean {
  return attrs === 'any' || attrs === 'read-write' || attrs === 'primary';
}

/** The provider's primary first if a primary is wanted; else the list's order, shuffled where libpq would. */
function inOrder(
  hosts: readonly HostAddress[],
  primary: HostAddress | undefined,
  { resolved }: SessionContext,
): readonly HostAddress[] {
  const order = [...hosts];
  if (resolved.loadBalanceHosts === 'random') {
    for (let i = order.length - 1; i > 0; i--) {
      const j = Math.floor(Math.random() * (i + 1));
      [order[i], order[j]] = [order[j]!, order[i]!];
    }
  }
  if (primary === undefined || !followsPrimary(resolved.targetSessionAttrs)) return order;
  const key = hostKey(primary);
  return [...order.filter((one) => hostKey(one) === key), ...order.filter((one) => hostKey(one) !== key)];
}

/** One host: exactly pg's error. Several: the last host's, with the others as its cause where it has none. */
function failure(attempts: readonly Attempt[], attrs: TargetSessionAttrs): Error {
  const errors = attempts.map((one) => one.error).filter((error) => error instanceof Error);
  const last = errors.at(-1);
  if (last !== undefined && attempts.length === 1) return last;
  const told = attempts
    .map(({ observation, error }) => {
      const what = error instanceof Error ? error.message : `is not ${attrs}`;
      return `${hostKey(observation.address)}: ${what}`;
    })
    .join('; ');
  const error = new FailoverFailedError(`no host has target_session_attrs ${attrs}: ${told}`);
  if (last !== undefined) error.cause = last;
  return error;
}
