import { deadlineSignal } from '../cluster/deadline-signal.ts';
import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LoggedTransaction } from '../cluster/committed-log.ts';
import type { Coordinator } from '../cluster/coordinator.ts';
import type { PositionSource } from '../cluster/position-poller.ts';
import type { CommittedAgent, ServerLife, Settled } from '../cluster/settlement.ts';
import type { ClusterMemory } from './cluster-memory.ts';
import type { CommittedTransaction } from './committed-transaction.ts';
import { HISTORY_QUESTIONS } from './commit-resolver.ts';
import { HostPositions } from './host-positions.ts';
import { judgeByToken, keysOf } from './judge-by-token.ts';
import { judgeCommitted, remembering, type CommittedJudgement } from './judge-committed.ts';
import { LostTransaction, type JudgedBy } from './lost-commit.ts';
import { NOTHING_RERUN, rerunLost, type LostToRerun, type RerunOutcome } from './rerun-lost.ts';
import type { ProbedConnection } from './scouts.ts';
import { found, openOn } from './settling-server.ts';
import type { SessionContext } from './session-context.ts';

export interface CommitAgentOptions {
  readonly clientConfig: object;
  readonly coordinator: Coordinator;
  readonly memory: ClusterMemory;
  readonly dialTimeoutMillis: number;
}

/** Judged side by side, over one connection. */
const JUDGED_AT_ONCE = 100;
const FIRST_PAUSE_MILLIS = 20;
/** A survey that takes longer counts what has not been answered as unknown. */
const MAX_SURVEY_MILLIS = 2_000;

interface Judged {
  readonly survived: readonly CommittedTransaction[];
  readonly open: readonly CommittedTransaction[];
  /** Proved lost, and to be run again. */
  readonly lost: readonly LostToRerun[];
}

/** Asks servers about acknowledged transactions (R9), over connections of its own with one client's or pool's credentials. */
export class CommitAgent implements CommittedAgent {
  readonly positions: PositionSource;
  readonly #options: CommitAgentOptions;

  constructor(options: CommitAgentOptions) {
    this.#options = options;
    const { dialTimeoutMillis } = options;
    this.positions = new HostPositions({
      ...options,
      timeoutMillis: Math.min(MAX_SURVEY_MILLIS, dialTimeoutMillis),
    });
  }

  /** Within `dialTimeoutMillis`. What is not judged by then is open still. */
  async settle(entries: readonly LoggedTransaction[], server: ServerLife): Promise<Settled> {
    const signal = deadlineSignal(this.#options.dialTimeoutMillis);
    // Every question listens to it: more than the ten that Node takes for a leak.
    setMaxListeners(0, signal);
    // Tokens are in the database in which they were put, and it takes its role to ask for them.
    const byContext = new Map<SessionContext, CommittedTransaction[]>();
    for (const one of entries.filter(isOurs)) {
      const group = byContext.get(one.context);
      if (group === undefined) byContext.set(one.context, [one]);
      else group.push(one);
    }
    const settled = await Promise.all(
      [...byContext].map(([context, group]) => this.#settle(context, group, server, signal)),
    );
    const lost = settled.flatMap((one) => one.lost);
    const rerun = lost.length === 0 ? NOTHING_RERUN : await rerunLost(lost, server);
    for (const one of rerun.outcomes) this.#tellRerun(one);
    return {
      survived: [...settled.flatMap(({ survived }) => survived), ...rerun.reapplied],
      open: [...settled.flatMap(({ open }) => open), ...rerun.open],
      failure: rerun.failure,
    };
  }

  #tellRerun({ transaction, reason, probe, server, reapply }: RerunOutcome): void {
    const { counters } = this.#options.coordinator;
    counters.commitsLost++;
    if (reapply === null) counters.commitsReapplied++;
    const isTold = transaction.onJudged !== null && reapply !== null;
    transaction.onJudged?.(reapply === null ? 'reapplied' : 'lost');
    if (isTold) return;
    const outcome = reapply === null ? 'reapplied' : 'lost';
    const by = { address: server.address, probe };
    transaction.context.events.publish(
      'lostCommit',
      new LostTransaction(transaction, outcome, reason, by, reapply),
    );
  }

  async #settle(
    context: SessionContext,
    group: readonly CommittedTransaction[],
    server: ServerLife,
    signal: AbortSignal,
  ): Promise<Judged> {
    const survived: CommittedTransaction[] = [];
    const lost: LostToRerun[] = [];
    let open = group;
    for (let pause = FIRST_PAUSE_MILLIS; ; pause *= 2) {
      let probed: ProbedConnection | null = null;
      try {
        probed = await openOn(server, context, signal);
        const left: CommittedTransaction[] = [];
        while (open.length > 0) {
          const judged = await this.#judge(context, open.slice(0, JUDGED_AT_ONCE), server, probed, signal);
          survived.push(...judged.survived);
          left.push(...judged.open);
          lost.push(...judged.lost);
          open = open.slice(JUDGED_AT_ONCE);
        }
        return { survived, open: left, lost };
      } catch {
        if (signal.aborted) return { survived, open, lost };
        await sleep(pause, undefined, { ref: false });
      } finally {
        probed?.connection.terminate();
      }
    }
  }

  /** Tells of some of them, whose judgement is the last word. Rejects with none told if the connection is lost. */
  async #judge(
    context: SessionContext,
    transactions: readonly CommittedTransaction[],
    server: ServerLife,
    { connection, probe }: ProbedConnection,
    signal: AbortSignal,
  ): Promise<Judged> {
    const { lineage } = context.memory;
    const runner = remembering(connection, (sql) => HISTORY_QUESTIONS.has(sql));
    const judging = { runner, probe, lineage, signal };
    const judgements = new Map<CommittedTransaction, CommittedJudgement>();
    await Promise.all(
      transactions.map(async (one) => {
        judgements.set(one, await judgeCommitted(one, judging, server.address));
      }),
    );
    const byToken = transactions.filter(
      (one) => judgements.get(one)!.verdict === 'unknown' && keysOf(one).length > 0,
    );
    if (byToken.length > 0) {
      const found = await judgeByToken(byToken, context.options.tokenSchema, judging);
      byToken.forEach((one, index) => judgements.set(one, found[index]!));
    }
    const survived: CommittedTransaction[] = [];
    const open: CommittedTransaction[] = [];
    const lost: LostToRerun[] = [];
    for (const transaction of transactions) {
      const judgement = judgements.get(transaction)!;
      if (judgement.verdict === 'open') open.push(transaction);
      else if (judgement.verdict === 'survived') {
        survived.push(transaction);
        found(transaction, server, probe);
        transaction.onJudged?.('survived');
      } else if (judgement.verdict === 'lost' && context.options.lostCommits === 'reapply') {
        lost.push({ transaction, reason: judgement.reason, probe });
      } else this.#tell(transaction, judgement, { address: server.address, probe });
    }
    return { survived, open, lost };
  }

  #tell(
    transaction: CommittedTransaction,
    { verdict, reason }: Extract<CommittedJudgement, { reason: string }>,
    by: JudgedBy,
  ): void {
    const { context } = transaction;
    const { counters } = this.#options.coordinator;
    const isLost = verdict === 'lost';
    if (!isLost && onlyReads(transaction)) {
      transaction.onJudged?.('only-read');
      return;
    }
    if (isLost) counters.commitsLost++;
    else counters.commitsMaybeLost++;
    if (transaction.onJudged !== null) {
      transaction.onJudged(isLost ? 'lost' : 'unknown');
      return;
    }
    if (context.options.lostCommits === 'ignore') return;
    context.events.publish(
      'lostCommit',
      new LostTransaction(transaction, isLost ? 'lost' : 'unknown', reason, by, null),
    );
  }
}

function isOurs(entry: LoggedTransaction): entry is CommittedTransaction {
  return 'units' in entry;
}

/** Nobody had judged its texts when it ran; by now somebody has. */
function onlyReads({ context, units, isWrite, isComplete, judged }: CommittedTransaction): boolean {
  if (isWrite || !isComplete) return false;
  return units.every((unit) =>
    unit.texts.every(
      (text) => text.isTransactionControl || context.database.known(text, judged)?.provedRead === true,
    ),
  );
}
