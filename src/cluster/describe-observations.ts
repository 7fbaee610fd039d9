import { hostKey } from '../topology/host-address.ts';
import type { HostObservation } from './host-observation.ts';

/** Why no primary could be chosen, in words for the user. */
export function describeObservations(kind: string, observations: readonly HostObservation[]): string {
  const hosts = observations.map((seen) => `${hostKey(seen.address)} ${explain(seen)}`).join(', ');
  return `${kind === 'ambiguous' ? 'more than one host could be the primary' : 'no host can be the primary'}: ${hosts}`;
}

function explain(seen: HostObservation): string {
  switch (seen.kind) {
    case 'reachable':
      return `is ${seen.inRecovery ? 'a standby' : seen.writable ? 'writable' : 'read-only'} on timeline ${seen.timeline ?? '?'}`;
    case 'refused':
      return `refuses (${seen.code})`;
    case 'rejected':
      return `rejects us (${seen.code})`;
    case 'unreachable':
      return `does not answer (${seen.reason})`;
  }
}
