/**
 * Finds out what became of a COMMIT, an autocommit write or a PREPARE TRANSACTION whose answer was lost (R3, R6): asks
 * the server, ends the old backend where it still lives, and lets `decideCommit` judge. It never decides while the
 * transaction is in progress, and never says 'committed' where synchronous standbys are configured before one of them
 * has it (design review A5).
 *
 * Every statement is a transaction of its own, so the default isolation level of the role does not matter: there is
 * nothing in it that a snapshot could be too old for.
 */
import type { CommitMark } from './commit-mark.ts';
import type { TransactionStatus, VerdictReason } from './commit-verdict.ts';
import { decideCommit } from './commit-verdict.ts';
import type { FenceOptions } from './fence.ts';
import { fenceBackend, pause } from './fence.ts';
import { isRefusal, isReplicated } from './is-replicated.ts';
import type { Lineage } from './lineage.ts';
import { isPrepared } from './prepared-transaction.ts';
import type { BackendIdentity, ProbeResult } from './probe.ts';
import { runUntil, type UnansweredReason } from './question-in-doubt.ts';
import type { SqlRunner } from './sql-runner.ts';
import { SqlError } from './sql-runner.ts';
import { mayReplicate } from './replicated-history.ts';
import { parseTimelineHistory, timelineHistoryPath, type TimelineHistory } from './timeline-history.ts';

export interface CommitInDoubt extends FenceOptions {
  /** Taken before the COMMIT was sent. */
  readonly mark: CommitMark | null;
  /** The probe of the lost connection. A mark of another life is not believed. */
  readonly captured: Pick<ProbeResult, 'incarnation'>;
  /** The backend of the lost connection, if it is known. */
  readonly backend: BackendIdentity | null;
  /** The identifier, if what is in doubt is a PREPARE TRANSACTION: 'committed' then means that it took effect. */
  readonly preparedAs?: string | null;
  /** A connection to the new primary, idle and outside any transaction. */
  readonly runner: SqlRunner;
  /** A probe of that same connection. */
  readonly server: ProbeResult;
  /** Must contain that probe. */
  readonly lineage: Lineage;
  /**
   * Asks for the history of that server's timeline by the replication protocol. Called only if it decides something, the
   * role may not read the file, and may replicate. Must not reject.
   */
  readonly replicatedHistory?: () => Promise<TimelineHistory | null>;
}

/** Why; stable names, for events and tests. */
export type ResolutionReason = VerdictReason | UnansweredReason;

export interface CommitResolution {
  readonly outcome: 'committed' | 'not-committed' | 'unknown';
  readonly reason: ResolutionReason;
}

const STATUS_SQL = 'SELECT pg_catalog.pg_xact_status($1::pg_catalog.xid8)';

const MAY_READ_SQL = `SELECT pg_catalog.has_function_privilege('pg_catalog.pg_read_file(text)', 'EXECUTE')::pg_catalog.text`;
const READ_SQL = 'SELECT pg_catalog.pg_read_file($1::pg_catalog.text)';

/** Questions that have one answer for all transactions, as long as the server lives. */
export const HISTORY_QUESTIONS: ReadonlySet<string> = new Set([MAY_READ_SQL, READ_SQL]);

const NOT_YET_ASSIGNED = '22023';
const PAUSE_MILLIS = 20;

/**
 * Resolves within the signal's deadline. Rejects only if the connection was lost, or the server failed in a way that
 * says nothing: then resolve again on another connection (R10).
 */
export async function resolveCommit(inDoubt: CommitInDoubt): Promise<CommitResolution> {
  const { captured, signal } = inDoubt;
  const mark = inDoubt.mark?.incarnation === captured.incarnation ? inDoubt.mark : null;
  if (mark === null) return { outcome: 'unknown', reason: 'no-mark' };
  const questions = new Questions(inDoubt, mark);
  try {
    return await resolveMarked(inDoubt, mark, questions);
  } catch (error) {
    if (signal.aborted) return { outcome: 'unknown', reason: 'no-answer' };
    throw error;
  }
}

async function resolveMarked(
  inDoubt: CommitInDoubt,
  mark: CommitMark,
  questions: Questions,
): Promise<CommitResolution> {
  const { server, lineage, signal } = inDoubt;
  let history: TimelineHistory | null = null;
  for (;;) {
    const status = await questions.status();
    const { verdict, reason } = decideCommit(mark, { server, status, history }, lineage);
    switch (verdict) {
      case 'not-committed':
        return { outcome: 'not-committed', reason };
      case 'committed': {
        if (!server.synchronousStandbys || (await isReplicated(inDoubt.runner, signal)))
          return { outcome: 'committed', reason };
        return { outcome: 'unknown', reason: 'not-replicated' };
      }
      case 'in-progress': {
        const end = await waitForEnd(inDoubt, mark);
        if (end !== 'ask-again') return { outcome: 'unknown', reason: end };
        break;
      }
      case 'unknown': {
        if (reason !== 'lineage-unproved' || history !== null) return { outcome: 'unknown', reason };
        history = await questions.history();
        if (history === null || signal.aborted) return { outcome: 'unknown', reason };
        break;
      }
    }
  }
}

/**
 * On the server that the transaction ran on, its backend lives: it is ended and waited for. On any other server the xid
 * belongs to a prepared transaction, or to somebody else's: its end tells.
 */
async function waitForEnd(
  inDoubt: CommitInDoubt,
  mark: CommitMark,
): Promise<'ask-again' | 'waiting-for-sync' | 'still-in-progress'> {
  const { server, backend, runner, signal, sleep = pause } = inDoubt;
  if (server.incarnation === mark.incarnation && backend !== null) {
    const fenced = await fenceBackend(runner, backend, { signal, sleep });
    if (fenced === 'waiting-for-sync') return fenced;
  }
  try {
    // Also after it has gone: a prepared transaction outlives its backend.
    await sleep(PAUSE_MILLIS, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  return signal.aborted ? 'still-in-progress' : 'ask-again';
}

/** What is asked of the server. */
class Questions {
  readonly #inDoubt: CommitInDoubt;
  readonly #mark: CommitMark;
  /** Until the deadline. */
  readonly #runner: SqlRunner;

  constructor(inDoubt: CommitInDoubt, mark: CommitMark) {
    this.#inDoubt = inDoubt;
    this.#mark = mark;
    this.#runner = runUntil(inDoubt.signal, inDoubt.runner);
  }

  async status(): Promise<TransactionStatus> {
    const { preparedAs } = this.#inDoubt;
    const { xid } = this.#mark;
    try {
      const [row] = await this.#runner.run(STATUS_SQL, [xid]);
      switch (row?.[0]) {
        case 'committed':
          return 'committed';
        case 'aborted':
          return 'aborted';
        case 'in progress': {
          if (preparedAs === null || preparedAs === undefined) return 'in progress';
          return (await isPrepared(this.#runner, preparedAs, xid)) ? 'prepared' : 'in progress';
        }
        default:
          return 'none';
      }
    } catch (error) {
      if (error instanceof SqlError && error.code === NOT_YET_ASSIGNED) return 'future';
      if (isRefusal(error)) return 'none';
      throw error;
    }
  }

  /** The history of the server's timeline; `null` where the role may neither read it nor replicate, as is usual. */
  async history(): Promise<TimelineHistory | null> {
    const { server, replicatedHistory } = this.#inDoubt;
    const { timeline } = server;
    if (timeline === null || timeline === this.#mark.timeline) return null;
    try {
      const [may] = await this.#runner.run(MAY_READ_SQL);
      if (may?.[0] === 'true') {
        const [row] = await this.#runner.run(READ_SQL, [timelineHistoryPath(timeline)]);
        if (typeof row?.[0] === 'string') return parseTimelineHistory(row[0]);
      }
      if (replicatedHistory === undefined) return null;
      const asked = await mayReplicate(this.#runner, server);
      return asked ? await replicatedHistory() : null;
    } catch (error) {
      if (error instanceof SqlError) return null;
      throw error;
    }
  }
}
