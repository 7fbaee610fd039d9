import { setTimeout as sleep } from 'node:timers/promises';
import type { CommitOutcome } from '../../session/loss-situation.ts';
import { runBatch } from '../link/batch.ts';
import type { ServerConnection } from '../link/server-connection.ts';
import { readTombstone, tombstoneQuestion } from './token-batches.ts';

const LOCK_TIMEOUT_MILLIS = 1_000;
const PAUSE_MILLIS = 20;

export interface Resolution {
  readonly outcome: CommitOutcome;
  /** What proved it, or what was missing. */
  readonly reason: string;
}

/**
 * What became of what was sent with these tokens, asked on a connection outside of a transaction: each key is inserted
 * once more. If it is there, it was committed; if not, it can never be (design.md section 4). While a transaction that
 * holds it is still alive the question is repeated.
 *
 * Rejects if the connection is lost. If `signal` aborts, the outcome is unknown.
 */
export async function resolveKeys(
  connection: ServerConnection,
  schema: string,
  keys: readonly string[],
  signal: AbortSignal,
): Promise<Resolution> {
  let isUnknown: string | null = null;
  for (const key of keys) {
    const resolution = await resolveKey(connection, schema, key, signal);
    if (resolution.outcome === 'committed') return resolution;
    if (resolution.outcome === 'unknown') isUnknown = resolution.reason;
  }
  return isUnknown === null
    ? { outcome: 'not-committed', reason: 'token-fenced' }
    : { outcome: 'unknown', reason: isUnknown };
}

async function resolveKey(
  connection: ServerConnection,
  schema: string,
  key: string,
  signal: AbortSignal,
): Promise<Resolution> {
  for (;;) {
    const found = readTombstone(
      await runBatch(connection, tombstoneQuestion(schema, key, LOCK_TIMEOUT_MILLIS)),
    );
    switch (found.kind) {
      case 'committed':
        return { outcome: 'committed', reason: 'token-found' };
      case 'fenced':
        return { outcome: 'not-committed', reason: 'token-fenced' };
      case 'unknown':
        return { outcome: 'unknown', reason: found.reason };
      case 'live':
        if (signal.aborted) return { outcome: 'unknown', reason: 'token-still-locked' };
        await sleep(PAUSE_MILLIS);
    }
  }
}
