import type { ServerLife } from '../cluster/settlement.ts';
import type { CommittedTransaction } from './committed-transaction.ts';
import type { ProbeResult } from './probe.ts';
import { incarnationOf, Scouts, type ProbedConnection } from './scouts.ts';
import type { SessionContext } from './session-context.ts';

/** A connection of this client or pool to this very life of a server. */
export async function openOn(
  server: ServerLife,
  { resolved, options, coordinator, memory }: SessionContext,
  signal: AbortSignal,
): Promise<ProbedConnection> {
  const { dialTimeoutMillis, pooler } = options;
  const { clientConfig } = resolved;
  const scouts = new Scouts({ clientConfig, dialTimeoutMillis, pooler, coordinator, memory });
  const probed = await scouts.open(server.address, signal);
  if (incarnationOf(server.address, probed.probe) === server.incarnation) return probed;
  probed.connection.terminate();
  throw new Error('the server is not what it was a moment ago');
}

/** The server has it: from now on it could be lost with this one. Where it ends there, the next survey tells. */
export function found(
  transaction: CommittedTransaction,
  server: ServerLife,
  { timeline, insertLsn }: ProbeResult,
): void {
  transaction.incarnation = server.incarnation;
  transaction.address = server.address;
  transaction.notBefore = null;
  transaction.upTo = null;
  if (timeline === null) return;
  transaction.timeline = timeline;
  // Of one that was run again here the probe knows nothing yet.
  if (insertLsn !== null && transaction.attempts.length === 0)
    transaction.upTo = { timeline, position: insertLsn };
}
