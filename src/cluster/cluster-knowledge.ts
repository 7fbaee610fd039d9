import type { ReachableHost } from './host-observation.ts';
import type { HostAddress } from '../topology/host-address.ts';

/** What the driver knows for certain about its cluster, because it has worked there. Immutable. */
export interface ClusterKnowledge {
  /** Identity of the cluster, or null while unknown. Once known it never changes. */
  readonly systemIdentifier: string | null;
  /** The highest timeline worked on, or null while unknown. It never falls. */
  readonly highestTimeline: number | null;
  /** The primary worked on last, or null. */
  readonly primary: { readonly address: HostAddress; readonly incarnation: string } | null;
}

/** Where every cluster begins, and where it begins again after its identity was given up on purpose (D2). */
export const NOTHING_KNOWN: ClusterKnowledge = Object.freeze({
  systemIdentifier: null,
  highestTimeline: null,
  primary: null,
});

/**
 * Knowledge after the driver took this host into use.
 *
 * Only for a host that is *used*: the one that `selectPrimary` selected, or the one that a session was opened on. What
 * a probe merely saw must not get in here, or a clone of the cluster at a recycled address, on a higher timeline of its
 * own, would bar the way back to the true primary for good (D2).
 *
 * A host of another cluster, and a primary on a lower timeline than the highest one, teach nothing.
 */
export function learn(knowledge: ClusterKnowledge, host: ReachableHost): ClusterKnowledge {
  const { systemIdentifier, highestTimeline } = knowledge;
  if (
    systemIdentifier !== null &&
    host.systemIdentifier !== null &&
    systemIdentifier !== host.systemIdentifier
  ) {
    return knowledge;
  }
  const isPrimary = !host.inRecovery;
  const isBehind = highestTimeline !== null && host.timeline !== null && host.timeline < highestTimeline;
  if (isBehind) return knowledge;
  return Object.freeze({
    systemIdentifier: systemIdentifier ?? host.systemIdentifier,
    highestTimeline: host.timeline ?? highestTimeline,
    primary: isPrimary
      ? Object.freeze({ address: host.address, incarnation: host.incarnation })
      : knowledge.primary,
  });
}
