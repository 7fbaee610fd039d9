import { makeContext } from '../../../src/pg/make-context.ts';
import { resolveConnection } from '../../../src/pg/connection-hosts.ts';
import type { HostAndPort } from '../postgres-cluster.ts';
import { waitFor } from '../wait-for.ts';

/**
 * Waits until the driver has seen each standby since the present timeline began. It looks at them by itself within
 * seconds; when servers are promoted quicker than that, it can prove less, and more outcomes stay unknown.
 */
export async function waitForSurvey(
  connectionString: string,
  standbys: readonly HostAndPort[],
): Promise<void> {
  const { memory } = makeContext(resolveConnection({ connectionString }))!;
  const unseen = (): HostAndPort[] => {
    const { timelines, standbys: seen } = memory.lineage;
    const newest = Math.max(...timelines.keys());
    return standbys.filter(({ host, port }) => seen.get(`${host}:${port}`)?.during !== newest);
  };
  await waitFor(() => unseen().length === 0, {
    timeoutMillis: 60_000,
    message: 'the driver to look at each standby on the present timeline',
  });
}
