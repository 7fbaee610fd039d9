import type { FenceOptions } from './fence.ts';
import { fenceBackend } from './fence.ts';
import { isPrepared } from './prepared-transaction.ts';
import type { BackendIdentity } from './probe.ts';
import type { SqlRunner } from './sql-runner.ts';
import { resolveTokens, type TokensReason } from './token/resolve-tokens.ts';

export interface EndedPrepared extends FenceOptions {
  readonly command: 'COMMIT PREPARED' | 'ROLLBACK PREPARED';
  readonly identifier: string;
  /** Of the transaction that was prepared; empty if nobody knows. */
  readonly keys: readonly Buffer[];
  readonly runner: SqlRunner;
  readonly schema: string;
  /** The lost connection's, if the server is the one that it was to; else null. */
  readonly backend: BackendIdentity | null;
}

export interface PreparedResolution {
  readonly outcome: 'committed' | 'not-committed' | 'unknown';
  readonly reason: TokensReason | 'still-prepared' | 'no-longer-prepared';
}

/**
 * Finds out whether a COMMIT PREPARED or ROLLBACK PREPARED took effect whose answer was lost (R3). What is still prepared
 * was not ended. What is not was ended, by this or by somebody else, or was lost in a failover: its token tells how.
 */
export async function resolvePreparedEnd({
  command,
  identifier,
  keys,
  backend,
  ...question
}: EndedPrepared): Promise<PreparedResolution> {
  const { runner, signal } = question;
  // Else it may still end it a moment after we have looked.
  const fenced = backend === null ? 'gone' : await fenceBackend(runner, backend, { signal });
  if (fenced !== 'gone') {
    return { outcome: 'unknown', reason: fenced === 'unknown' ? 'still-in-progress' : fenced };
  }
  if (await isPrepared(runner, identifier)) return { outcome: 'not-committed', reason: 'still-prepared' };
  if (keys.length === 0) return { outcome: 'unknown', reason: 'no-longer-prepared' };
  const { outcome, reason } = await resolveTokens({
    ...question,
    keys,
    backend: null,
    preparedAs: null,
    synchronousStandbys: false,
  });
  if (outcome === 'unknown') return { outcome, reason };
  // Where it went the other way, running it again gives the server's own error.
  const tookEffect = (outcome === 'committed') === (command === 'COMMIT PREPARED');
  return { outcome: tookEffect ? 'committed' : 'not-committed', reason };
}
