import type { HostAddress } from '../topology/host-address.ts';
import type { HostObservation } from './host-observation.ts';

/**
 * Asks all hosts side by side. `graceMillis` says of what has answered so far how long the silent ones are still waited
 * for; null: until the last one has answered. Once a primary can be chosen that is only a short while: a rival that
 * answers later would have been as unreachable to everybody else.
 */
export async function observeHosts(
  hosts: readonly HostAddress[],
  observe: (address: HostAddress) => Promise<HostObservation>,
  graceMillis: (seenSoFar: readonly HostObservation[]) => number | null,
): Promise<readonly HostObservation[]> {
  const results: (HostObservation | null)[] = hosts.map(() => null);
  let pending = hosts.length;
  await new Promise<void>((resolve) => {
    let grace: NodeJS.Timeout | undefined;
    const done = (): void => {
      clearTimeout(grace);
      resolve();
    };
    const answered = (index: number, seen: HostObservation): void => {
      results[index] = seen;
      pending--;
      if (pending === 0) {
        done();
        return;
      }
      const millis = graceMillis(results.filter((one) => one !== null));
      clearTimeout(grace);
      if (millis !== null) grace = setTimeout(done, millis);
    };
    if (pending === 0) resolve();
    hosts.forEach((address, index) => {
      observe(address).then(
        (seen) => {
          answered(index, seen);
        },
        (error: unknown) => {
          const reason = error instanceof Error ? error.name : 'error';
          answered(index, { kind: 'unreachable', address, reason });
        },
      );
    });
  });
  return results.map(
    (seen, index) => seen ?? { kind: 'unreachable', address: hosts[index]!, reason: 'no answer yet' },
  );
}
