import type { HostAddress } from '../topology/host-address.ts';
import type { ProbeResult } from './probe.ts';
import type { SessionContext } from './session-context.ts';
import type { SqlRunner } from './sql-runner.ts';
import type { TokenSource } from './token/token-keeper.ts';

/** By what it can be found out, over one connection, what became of a COMMIT whose answer is lost (R6). */
export interface CommitMeans {
  /** By the log position: marks are made. */
  readonly marks: boolean;
  /** By tokens; null if there are none. */
  readonly tokens: TokenSource | null;
}

/**
 * What `failover.commitOutcome` allows and the server offers.
 *
 * @throws ConfigurationError if tokens are required and missing
 */
export async function commitMeans(
  { memory, tokens: database, options }: SessionContext,
  runner: SqlRunner,
  address: HostAddress,
  probe: ProbeResult,
): Promise<CommitMeans> {
  const { commitOutcome } = options;
  if (commitOutcome === 'none') return { marks: false, tokens: null };
  let tokens: TokenSource | null = null;
  if (commitOutcome !== 'logPosition') {
    tokens = await database.learn(runner, address, probe, commitOutcome === 'token');
  }
  // Behind a pooler the mark also tells that it is still the same server process that answers.
  const marks = (tokens === null || probe.isPooled) && (await memory.markWorks(runner, address, probe));
  return { marks, tokens };
}
