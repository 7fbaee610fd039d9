import type { ClusterKnowledge } from './cluster-knowledge.ts';
import type { HostObservation, ReachableHost, RejectingHost } from './host-observation.ts';
import type { HostAddress } from '../topology/host-address.ts';
import { hostKey } from '../topology/host-address.ts';
import type { TargetSessionAttrs } from '../topology/target-session-attrs.ts';

/**
 * Decides where to go, from what was seen and what is known. Pure: no host is asked here.
 *
 * The risk is a write on the wrong server: a deposed primary, a standby, a clone, a stranger. So the rules only ever
 * narrow the choice, and where they leave two servers the answer is to wait for people or a provider, never to guess.
 */

/** Why there is no primary yet. Asking again later may give another answer to each of them. */
export type WaitReason =
  /** Nobody answered: every host is refused or unreachable, or the list is empty. */
  | 'no-host-answers'
  /** Some server is alive, but each of those lets us in no more. The observations have their SQLSTATEs. */
  | 'rejected'
  /** Servers of the cluster answer, but all of them are in recovery or read-only. */
  | 'no-writable-host'
  /** What is writable stands on a lower timeline than one already seen: a deposed primary, or an old restore. */
  | 'only-lower-timeline'
  /** What is writable can't tell its timeline though the cluster's is known, and no provider vouches for it (D1). */
  | 'timeline-unknown';

export type PrimarySelection =
  | { readonly kind: 'selected'; readonly observation: ReachableHost }
  | { readonly kind: 'wait'; readonly reason: WaitReason; readonly highestTimeline: number | null }
  /** Two or more servers could each be the primary. */
  | { readonly kind: 'ambiguous'; readonly candidates: readonly ReachableHost[] }
  /** No server of our cluster answers at all, but writable ones of another identity do (D2). */
  | { readonly kind: 'foreign'; readonly candidates: readonly ReachableHost[] };

export interface SelectPrimaryOptions {
  /** What a topology provider named. It settles which of several eligible hosts is taken, and makes none eligible. */
  readonly suggested?: HostAddress | undefined;
}

/**
 * Chooses the primary to go on with.
 *
 * Eligible is a host of the same cluster that is not in recovery, takes writes, and is on the highest timeline that is
 * known or was just seen on any host of the cluster. What is unknown (null) is not compared: a server that hides its
 * system identifier passes that test. One that hides its timeline passes only where no timeline is known at all, or
 * where the provider names it and no other server qualifies (D1).
 *
 * - One eligible server, be it at several addresses: selected, under the suggested address, else the last one used,
 *   else the first one.
 * - Several: the suggested one; without a suggestion ambiguous.
 * - The last primary goes on writing in the same incarnation while another is writable on a higher timeline: nobody can
 *   tell a promotion from a clone that was restored to the side (D2), so ambiguous, unless the higher one is suggested.
 * - A server that hides its timeline is suggested while another one is writable on the highest: ambiguous.
 */
export function selectPrimary(
  observations: readonly HostObservation[],
  knowledge: ClusterKnowledge,
  options: SelectPrimaryOptions = {},
): PrimarySelection {
  const suggestedKey = options.suggested === undefined ? undefined : hostKey(options.suggested);
  const isSuggested = (host: HostObservation): boolean => hostKey(host.address) === suggestedKey;
  const reachable = observations.filter((seen) => seen.kind === 'reachable');

  const identities = new Set(
    reachable
      .filter(canWrite)
      .flatMap((host) => (host.systemIdentifier === null ? [] : [host.systemIdentifier])),
  );
  const identity =
    knowledge.systemIdentifier ??
    reachable.filter(canWrite).find(isSuggested)?.systemIdentifier ??
    (identities.size === 1 ? [...identities][0]! : null);
  if (identity === null && identities.size > 1) {
    // Timelines of different clusters have nothing to do with each other, so there is no highest one to go by.
    return { kind: 'ambiguous', candidates: reachable.filter(canWrite) };
  }
  const own = reachable.filter(
    (host) => identity === null || host.systemIdentifier === null || host.systemIdentifier === identity,
  );
  const highestTimeline = highest([knowledge.highestTimeline, ...own.map((host) => host.timeline)]);
  const writable = own.filter(canWrite);
  const isVouchedFor = (host: ReachableHost): boolean => host.timeline === null && isSuggested(host);
  const onHighest = writable.filter((host) => host.timeline === highestTimeline);
  const eligible = onHighest.length > 0 ? onHighest : writable.filter(isVouchedFor);
  if (eligible.length === 0) return explainNone(observations, own, writable, highestTimeline);

  const suggested = eligible.find(isSuggested);
  if (suggested !== undefined) return { kind: 'selected', observation: suggested };

  const rivals = writable.filter(
    (host) => !eligible.includes(host) && (isStillLastPrimary(host, knowledge) || isVouchedFor(host)),
  );
  const candidates = [...rivals, ...eligible];
  if (new Set(candidates.map((host) => host.incarnation)).size > 1) return { kind: 'ambiguous', candidates };

  const lastKey = knowledge.primary === null ? undefined : hostKey(knowledge.primary.address);
  const observation = eligible.find((host) => hostKey(host.address) === lastKey) ?? eligible[0]!;
  return { kind: 'selected', observation };
}

export type SessionHostSelection =
  | { readonly kind: 'selected'; readonly observation: ReachableHost }
  /** A server was reached that does not let us in. As in libpq, no further host is tried: it would hide the mistake. */
  | { readonly kind: 'rejected'; readonly observation: RejectingHost }
  | { readonly kind: 'none'; readonly reason: 'no-host-answers' | 'no-host-matches' };

/**
 * Chooses the host of a new session as libpq does: the first in the order of the list that has the wanted attribute.
 * `prefer-standby` goes through the list a second time and takes whichever answers. A host that is starting up or
 * shutting down (57P03) counts as absent, like one that can't be reached.
 *
 * @param observations - in the order of the host list
 */
export function selectForSessionAttrs(
  observations: readonly HostObservation[],
  targetSessionAttrs: TargetSessionAttrs,
): SessionHostSelection {
  const passes: readonly TargetSessionAttrs[] =
    targetSessionAttrs === 'prefer-standby' ? ['standby', 'any'] : [targetSessionAttrs];
  for (const wanted of passes) {
    for (const observation of observations) {
      if (observation.kind === 'rejected') return { kind: 'rejected', observation };
      if (observation.kind === 'reachable' && hasAttribute(observation, wanted))
        return { kind: 'selected', observation };
    }
  }
  const isAnyReachable = observations.some((seen) => seen.kind === 'reachable');
  return { kind: 'none', reason: isAnyReachable ? 'no-host-matches' : 'no-host-answers' };
}

function hasAttribute(host: ReachableHost, wanted: TargetSessionAttrs): boolean {
  switch (wanted) {
    case 'any':
      return true;
    case 'read-write':
      return canWrite(host);
    case 'read-only':
      return !canWrite(host);
    case 'primary':
      return !host.inRecovery;
    case 'standby':
    case 'prefer-standby':
      return host.inRecovery;
  }
}

/** Both are asked: a probe that is wrong about one of them must not be enough to write to a standby. */
function canWrite(host: ReachableHost): boolean {
  return host.writable && !host.inRecovery;
}

function isStillLastPrimary(host: ReachableHost, knowledge: ClusterKnowledge): boolean {
  return knowledge.primary !== null && host.incarnation === knowledge.primary.incarnation;
}

function highest(timelines: readonly (number | null)[]): number | null {
  const known = timelines.filter((timeline) => timeline !== null);
  return known.length === 0 ? null : Math.max(...known);
}

function explainNone(
  observations: readonly HostObservation[],
  own: readonly ReachableHost[],
  writable: readonly ReachableHost[],
  highestTimeline: number | null,
): PrimarySelection {
  const wait = (reason: WaitReason): PrimarySelection => ({ kind: 'wait', reason, highestTimeline });
  if (writable.length > 0) {
    return wait(writable.some((host) => host.timeline === null) ? 'timeline-unknown' : 'only-lower-timeline');
  }
  if (own.length > 0) return wait('no-writable-host');
  // A server that is alive but rejects us may well be ours, so nobody is called foreign yet.
  if (observations.some((seen) => seen.kind === 'rejected')) return wait('rejected');
  const foreign = observations.filter((seen) => seen.kind === 'reachable').filter(canWrite);
  return foreign.length > 0 ? { kind: 'foreign', candidates: foreign } : wait('no-host-answers');
}
