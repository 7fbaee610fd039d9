import { setTimeout as sleep } from 'node:timers/promises';
import type { LoggedTransaction } from '../cluster/committed-log.ts';
import type { Coordinator } from '../cluster/coordinator.ts';
import type { PositionSource } from '../cluster/position-poller.ts';
import type { CommittedAgent, ServerLife, Settled } from '../cluster/settlement.ts';
import type { PoolerPolicy } from '../options.ts';
import type { ClusterMemory } from './cluster-memory.ts';
import type { CommittedTransaction } from './committed-transaction.ts';
import { HISTORY_QUESTIONS } from './commit-resolver.ts';
import { HostPositions } from './host-positions.ts';
import { judgeCommitted, remembering, type CommittedJudgement } from './judge-committed.ts';
import { LostTransaction, type JudgedBy } from './lost-commit.ts';
import { incarnationOf, Scouts, type ProbedConnection } from './scouts.ts';

export interface CommitAgentOptions {
  readonly clientConfig: object;
  readonly coordinator: Coordinator;
  readonly memory: ClusterMemory;
  readonly pooler: PoolerPolicy;
  readonly dialTimeoutMillis: number;
}

/** Judged side by side, over one connection. */
const JUDGED_AT_ONCE = 100;
const FIRST_PAUSE_MILLIS = 20;
/** A survey that takes longer counts what has not been answered as unknown. */
const MAX_SURVEY_MILLIS = 2_000;

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
    const signal = AbortSignal.timeout(this.#options.dialTimeoutMillis);
    const survived: LoggedTransaction[] = [];
    let open = entries as readonly CommittedTransaction[];
    for (let pause = FIRST_PAUSE_MILLIS; ; pause *= 2) {
      let probed: ProbedConnection | null = null;
      try {
        probed = await this.#open(server, signal);
        while (open.length > 0) {
          const judged = await this.#judge(open.slice(0, JUDGED_AT_ONCE), server, probed, signal);
          survived.push(...judged.survived);
          open = [...open.slice(JUDGED_AT_ONCE)];
          if (judged.open.length > 0) return { survived, open: [...judged.open, ...open] };
        }
        return { survived, open };
      } catch {
        if (signal.aborted) return { survived, open };
        await sleep(pause, undefined, { ref: false });
      } finally {
        probed?.connection.terminate();
      }
    }
  }

  async #open(server: ServerLife, signal: AbortSignal): Promise<ProbedConnection> {
    const scouts = new Scouts(this.#options);
    const probed = await scouts.open(server.address, signal);
    if (incarnationOf(server.address, probed.probe) === server.incarnation) return probed;
    probed.connection.terminate();
    throw new Error('the server is not what it was a moment ago');
  }

  /** Tells of some of them, whose judgement is the last word. Rejects with none told if the connection is lost. */
  async #judge(
    transactions: readonly CommittedTransaction[],
    server: ServerLife,
    { connection, probe }: ProbedConnection,
    signal: AbortSignal,
  ): Promise<{ survived: readonly CommittedTransaction[]; open: readonly CommittedTransaction[] }> {
    const { lineage } = this.#options.memory;
    const runner = remembering(connection, (sql) => HISTORY_QUESTIONS.has(sql));
    const judgements = await Promise.all(
      transactions.map((one) => judgeCommitted(one, { runner, probe, lineage, signal }, server.address)),
    );
    const survived: CommittedTransaction[] = [];
    const open: CommittedTransaction[] = [];
    for (const [index, transaction] of transactions.entries()) {
      const judgement = judgements[index]!;
      if (judgement.verdict === 'open') open.push(transaction);
      else if (judgement.verdict === 'survived') {
        survived.push(transaction);
        this.#found(transaction, server, probe);
      } else this.#tell(transaction, judgement, { address: server.address, probe });
    }
    return { survived, open };
  }

  /** From now on it could be lost with this server. */
  #found(
    transaction: CommittedTransaction,
    server: ServerLife,
    { timeline, insertLsn }: JudgedBy['probe'],
  ): void {
    transaction.incarnation = server.incarnation;
    transaction.address = server.address;
    if (timeline === null || insertLsn === null) return;
    transaction.timeline = timeline;
    transaction.upTo = { timeline, position: insertLsn };
    transaction.notBefore = null;
  }

  #tell(
    transaction: CommittedTransaction,
    { verdict, reason }: Extract<CommittedJudgement, { reason: string }>,
    by: JudgedBy,
  ): void {
    const { context } = transaction;
    const { counters } = this.#options.coordinator;
    const isLost = verdict === 'lost';
    if (!isLost && onlyReads(transaction)) return;
    if (isLost) counters.commitsLost++;
    else counters.commitsMaybeLost++;
    context.events.publish(
      'lostCommit',
      new LostTransaction(transaction, isLost ? 'lost' : 'unknown', reason, by),
    );
  }
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
