import { deadlineSignal } from '../cluster/deadline-signal.ts';
import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ServerLife } from '../cluster/settlement.ts';
import type { CommittedTransaction } from './committed-transaction.ts';
import { judgeByToken } from './judge-by-token.ts';
import type { ProbeResult } from './probe.ts';
import { reapply, type Reapplied } from './reapply-committed.ts';
import type { ProbedConnection } from './scouts.ts';
import { found, openOn } from './settling-server.ts';

/** An acknowledged transaction that is proved lost, by what, and the probe of the server that lacks it. */
export interface LostToRerun {
  readonly transaction: CommittedTransaction;
  readonly reason: string;
  readonly probe: ProbeResult;
}

export interface RerunOutcome extends LostToRerun {
  readonly server: ServerLife;
  /** Why it was not run again; null if it was. */
  readonly reapply: string | null;
}

export interface Rerun {
  readonly outcomes: readonly RerunOutcome[];
  readonly reapplied: readonly CommittedTransaction[];
  /** Nobody knows yet whether our own COMMIT has taken effect. */
  readonly open: readonly CommittedTransaction[];
  /** Why nobody may go on; null if everybody may. */
  readonly failure: string | null;
}

export const NOTHING_RERUN: Rerun = { outcomes: [], reapplied: [], open: [], failure: null };

/** Of the time that a session waits for a failover as a whole. */
const SHARE_OF_TIMEOUT = 0.75;
const FIRST_PAUSE_MILLIS = 20;

type Attempt = Reapplied | { readonly kind: 'open' } | { readonly kind: 'late' };

/**
 * Runs again what a failover has lost, one after the other, in the order in which their COMMITs were sent: of two that
 * were in each other's way the second was sent when the first was acknowledged. What diverges is tried again behind the
 * others, as long as that helps (R9).
 */
export async function rerunLost(lost: readonly LostToRerun[], server: ServerLife): Promise<Rerun> {
  const timeouts = lost.map(({ transaction }) => transaction.context.options.timeoutMillis);
  const signal = deadlineSignal(Math.max(1, Math.floor(Math.min(...timeouts) * SHARE_OF_TIMEOUT)));
  setMaxListeners(0, signal);
  const results = new Map<LostToRerun, Attempt>();
  let waiting = [...lost].sort((one, other) => one.transaction.sentSequence - other.transaction.sentSequence);
  while (waiting.length > 0) {
    const before = waiting.length;
    const diverged: LostToRerun[] = [];
    for (const one of waiting) {
      const result = await rerun(one.transaction, server, signal);
      results.set(one, result);
      if (result.kind === 'diverged') diverged.push(one);
    }
    waiting = diverged.length < before ? diverged : [];
  }
  return summary(lost, results, server);
}

function summary(
  lost: readonly LostToRerun[],
  results: ReadonlyMap<LostToRerun, Attempt>,
  server: ServerLife,
): Rerun {
  const outcomes: RerunOutcome[] = [];
  const reapplied: CommittedTransaction[] = [];
  const open: CommittedTransaction[] = [];
  let failure: string | null = null;
  for (const one of lost) {
    const { transaction, probe } = one;
    const result = results.get(one)!;
    if (result.kind === 'open') {
      open.push(transaction);
      continue;
    }
    const why = whyNot(result);
    outcomes.push({ ...one, server, reapply: why });
    if (why === null) {
      found(transaction, server, probe);
      reapplied.push(transaction);
    } else if (transaction.context.options.onReapplyFailed === 'fail') {
      failure ??= `an acknowledged transaction was lost and could not be applied again (failover.onReapplyFailed is 'fail'): ${why}`;
    }
  }
  return { outcomes, reapplied, open, failure };
}

function whyNot(result: Exclude<Attempt, { kind: 'open' }>): string | null {
  switch (result.kind) {
    case 'reapplied':
      return null;
    case 'late':
      return 'there was no time left';
    case 'diverged':
    case 'refused':
      return result.reason;
  }
}

async function rerun(
  transaction: CommittedTransaction,
  server: ServerLife,
  signal: AbortSignal,
): Promise<Attempt> {
  const { context } = transaction;
  /** Attempts whose end is known. */
  let ended = transaction.attempts.length;
  const isInDoubt = (): boolean => transaction.attempts.length > ended;
  for (let pause = FIRST_PAUSE_MILLIS; ; pause *= 2) {
    let probed: ProbedConnection | null = null;
    try {
      signal.throwIfAborted();
      probed = await openOn(server, context, signal);
      if (isInDoubt()) {
        const verdict = await ownVerdict(transaction, probed, signal);
        if (verdict === 'committed') return { kind: 'reapplied' };
        if (verdict === 'unknown') return { kind: 'open' };
        ended = transaction.attempts.length;
      }
      return await reapply(transaction, {
        probed,
        signal,
        onAnotherConnection: async (run) => {
          const other = await openOn(server, context, signal);
          try {
            await run(other.connection);
          } finally {
            other.connection.terminate();
          }
        },
      });
    } catch {
      // What is still under way over it must not go on: its token would be fenced, but its locks be held.
      probed?.connection.destroy();
      if (signal.aborted) return isInDoubt() ? { kind: 'open' } : { kind: 'late' };
      await sleep(pause, undefined, { ref: false });
    } finally {
      probed?.connection.terminate();
    }
  }
}

/** What became of our own COMMIT. Asking fences it: if it has not committed by now it never will. */
async function ownVerdict(
  transaction: CommittedTransaction,
  { connection, probe }: ProbedConnection,
  signal: AbortSignal,
): Promise<'committed' | 'not-committed' | 'unknown'> {
  const { context } = transaction;
  const { tokenSchema } = context.options;
  const judging = { runner: connection, probe, lineage: context.memory.lineage, signal };
  const [judgement] = await judgeByToken([transaction], tokenSchema, judging);
  if (judgement?.verdict === 'survived') return 'committed';
  return judgement?.verdict === 'lost' ? 'not-committed' : 'unknown';
}
