import { deadlineSignal } from '../cluster/deadline-signal.ts';
import { hostKey, type HostAddress } from '../topology/host-address.ts';
import type { CommittedTransaction } from './committed-transaction.ts';
import { resolveCommit } from './commit-resolver.ts';
import { sharedLog, type Lineage } from './lineage.ts';
import type { ProbeResult } from './probe.ts';
import type { SqlRow, SqlRunner } from './sql-runner.ts';

/** What became of an acknowledged transaction, and what proves it. */
export type CommittedJudgement =
  | { readonly verdict: 'survived' | 'lost'; readonly reason: string }
  /** Nobody can say. */
  | { readonly verdict: 'unknown'; readonly reason: string }
  /** Nobody could say in time: to be asked again. */
  | { readonly verdict: 'open' };

/** The server that is asked. */
export interface JudgingServer {
  readonly runner: SqlRunner;
  /** Of that same connection. */
  readonly probe: ProbeResult;
  /** Must contain that probe. */
  readonly lineage: Lineage;
  /** The deadline. */
  readonly signal: AbortSignal;
}

/** How long a transaction may be in progress that should be over: prepared ones of the same id, say. */
const IN_PROGRESS_MILLIS = 1_000;

/**
 * Whether the server has a transaction that was acknowledged elsewhere (R9). The first line that applies decides:
 *
 * | # | known                                                                  | verdict |
 * |---|------------------------------------------------------------------------|---------|
 * | 1 | the server's log is proved to be the old one's up to behind its COMMIT  | survived |
 * | 2 | the same data came back after a crash, and had been flushed up to there | survived |
 * | 3 | the server's recovery ended in front of all that the COMMIT may lie at, | lost |
 * |   | and it did write                                                       | |
 * | 4 | there is a mark                                                        | as `decideCommit` says; it is exact |
 * | 5 | anything else: tokens may still tell, see `judgeByToken`                                                          | unknown |
 *
 * Line 1 alone never says lost: the position behind the COMMIT is that of a later moment.
 *
 * Rejects if the connection is lost.
 */
export async function judgeCommitted(
  transaction: CommittedTransaction,
  server: JudgingServer,
  address: HostAddress,
): Promise<CommittedJudgement> {
  const { upTo, timeline, incarnation } = transaction;
  const { probe, lineage } = server;
  if (upTo?.timeline === timeline && probe.timeline !== null && probe.timeline > timeline) {
    const shared = sharedLog(lineage, { timeline, incarnation }, probe.timeline);
    if (shared !== null && shared >= upTo.position) return { verdict: 'survived', reason: 'shared-log' };
  }
  if (transaction.wasFlushed && isSameData(probe, address, transaction)) {
    return { verdict: 'survived', reason: 'flushed' };
  }
  // Run again it is another transaction than the one that these are about.
  if (transaction.attempts.length > 0) return { verdict: 'unknown', reason: 'no-mark' };
  const { notBefore, isWrite } = transaction;
  if (notBefore !== null && isWrite && isSuccessor(probe, transaction)) {
    const isBehind = probe.replayLsn !== null && probe.replayLsn < notBefore.position;
    if (isBehind) return { verdict: 'lost', reason: 'switched-before-commit' };
  }
  const mark = transaction.mark?.() ?? null;
  if (mark !== null) {
    const { outcome, reason } = await resolveCommit({
      mark,
      captured: mark,
      backend: null,
      preparedAs: transaction.preparedAs,
      runner: server.runner,
      // It was acknowledged: that a standby has it as well is not what is asked here.
      server: { ...probe, synchronousStandbys: false },
      lineage,
      signal: deadlineSignal(IN_PROGRESS_MILLIS, server.signal),
    });
    if (outcome === 'committed') return { verdict: 'survived', reason };
    if (outcome === 'not-committed') return { verdict: 'lost', reason };
    return reason === 'no-answer' ? { verdict: 'open' } : { verdict: 'unknown', reason };
  }
  return { verdict: 'unknown', reason: 'no-mark' };
}

/** A crash takes nothing back that was flushed. The same data: on the same timeline, under the same address. */
function isSameData(probe: ProbeResult, address: HostAddress, transaction: CommittedTransaction): boolean {
  const { timeline, upTo } = transaction;
  if (probe.inRecovery || probe.timeline !== timeline || upTo?.timeline !== timeline) return false;
  if (hostKey(address) !== hostKey(transaction.address)) return false;
  return probe.replayLsn === null || probe.replayLsn >= upTo.position;
}

/** A later life or timeline can only have recovered more than an earlier one did. */
function isSuccessor(probe: ProbeResult, { timeline, notBefore }: CommittedTransaction): boolean {
  return (
    !probe.inRecovery &&
    probe.timeline !== null &&
    probe.timeline >= timeline &&
    notBefore?.timeline === timeline
  );
}

/** Answers the same question about the server's history once. */
export function remembering(runner: SqlRunner, isRemembered: (sql: string) => boolean): SqlRunner {
  const answers = new Map<string, Promise<readonly SqlRow[]>>();
  return {
    run: (sql, parameters = []) => {
      if (!isRemembered(sql)) return runner.run(sql, parameters);
      const key = JSON.stringify([sql, ...parameters]);
      let answer = answers.get(key);
      if (answer === undefined) {
        answer = runner.run(sql, parameters);
        answers.set(key, answer);
      }
      return answer;
    },
  };
}
