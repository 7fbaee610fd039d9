/**
 * Decides what became of a COMMIT whose answer was lost, from the mark that was taken before it was sent and from what
 * one server says now (R6, design.md section 4, design review A3 and A4). A pure function: a wrong answer here loses or
 * doubles the application's work, so it is checked against a model of the write-ahead log.
 *
 * L is the mark's position, S the end of what the server recovered at the start of its present life
 * (`pg_last_wal_replay_lsn()`, NULL after a clean start), "status" the server's `pg_xact_status` of the xid.
 * The first line that applies decides:
 *
 * | # | server                                              | status               | verdict |
 * |---|-----------------------------------------------------|----------------------|---------|
 * | 1 | any, but there is no mark                           | any                  | unknown |
 * | 2 | in recovery, or did not say who it is               | any                  | unknown |
 * | 3 | of another system identifier                        | any                  | unknown |
 * | 4 | the captured life itself                            | committed, prepared  | committed |
 * |   |                                                     | aborted              | not committed |
 * |   |                                                     | in progress          | in progress |
 * |   |                                                     | future, none         | unknown |
 * | 5 | on a lower timeline                                 | any                  | unknown |
 * | 6 | its history does not contain the captured timeline  | any                  | unknown |
 * | 7 | S < L                                               | any                  | not committed |
 * | 8 | its history leaves the captured timeline below L    | any                  | not committed |
 * | 9 | any other: S >= L or S unknown                      | aborted              | not committed |
 * |   |                                                     | in progress          | in progress |
 * |   |                                                     | future, none         | unknown |
 * |10 | the log is proved to be shared up to L              | committed, prepared  | committed |
 * |11 | anything else (crash recovery, clean restart, two   | committed, prepared  | unknown |
 * |   | promotions not both seen, a fork seen)              |                      | |
 *
 * Why it is asymmetric. If the transaction is in this server's log, its xid was never free there again, so the status
 * is 'committed' for ever; hence any other final status proves that it is not. The reverse fails: where the log branched
 * off below L, the xid was free and may have been given to somebody else. S < L is a proof by itself, as later lives
 * and timelines only raise S, and as the COMMIT record lies behind L. S >= L is none: the branch may be older than S.
 *
 * What S is worth. After a promotion, S is the switch point. After a crash of the same data directory it is the end of
 * the recovered log, which was at or above the branch once but grows with every further crash, and nothing counts them:
 * 'committed' stays unknown. After a clean start S is NULL; a clean stop keeps every xid used, but a crash may have come
 * before it: again only 'aborted' counts. 'future' (22023) where S does not lie below L contradicts the mark, which is
 * then trusted in nothing.
 *
 * Proved (line 10) is either the server's own TIMELINE_HISTORY with a switch point at or above L, or the remembered
 * switch points of *all* timelines after the captured one, the server's own among them; both only as long as nobody
 * else was seen on the captured timeline since (`lineage.ts` says why, and what no probe can see).
 */
import type { CommitMark } from './commit-mark.ts';
import type { Lineage } from './lineage.ts';
import { isSoleWriter, sharedLog } from './lineage.ts';
import type { Lsn } from './lsn.ts';
import type { ProbeResult } from './probe.ts';
import type { TimelineHistory } from './timeline-history.ts';

/** The server's answer about the xid. */
export type TransactionStatus =
  | 'committed'
  | 'aborted'
  /** Running, or waiting for a synchronous standby, or prepared under another name. */
  | 'in progress'
  /** PREPARE TRANSACTION has taken effect, and neither COMMIT PREPARED nor ROLLBACK PREPARED has. */
  | 'prepared'
  /** SQLSTATE 22023: this server has not handed out such an xid yet. */
  | 'future'
  /** NULL (too old to be known), or the server refuses to say. */
  | 'none';

/** What one server says. */
export interface CommitObservation {
  /** A probe of this same connection. */
  readonly server: Pick<
    ProbeResult,
    'inRecovery' | 'systemIdentifier' | 'timeline' | 'incarnation' | 'replayLsn'
  >;
  readonly status: TransactionStatus;
  /** Where this server's history left each older timeline, if it could be read. */
  readonly history: TimelineHistory | null;
}

export type CommitVerdict = 'committed' | 'not-committed' | 'in-progress' | 'unknown';

/** Why; stable names, for events and tests. */
export type VerdictReason =
  | 'no-mark'
  | 'server-in-recovery'
  | 'server-unidentified'
  | 'other-cluster'
  | 'older-timeline'
  | 'not-an-ancestor'
  /** The server itself, in the same life, says so. */
  | 'same-incarnation'
  | 'switched-before-mark'
  | 'status-aborted'
  | 'status-in-progress'
  | 'status-unavailable'
  | 'mark-contradicted'
  | 'shared-log'
  | 'lineage-unproved';

export interface CommitDecision {
  readonly verdict: CommitVerdict;
  readonly reason: VerdictReason;
}

/** `lineage` must contain the observed server. */
export function decideCommit(
  mark: CommitMark | null,
  observation: CommitObservation,
  lineage: Lineage,
): CommitDecision {
  const { server, status, history } = observation;
  if (mark === null) return unknown('no-mark');
  if (server.inRecovery) return unknown('server-in-recovery');
  const { systemIdentifier, timeline, incarnation, replayLsn } = server;
  if (systemIdentifier === null || timeline === null || incarnation === null) {
    return unknown('server-unidentified');
  }
  if (systemIdentifier !== mark.systemIdentifier) return unknown('other-cluster');
  if (incarnation === mark.incarnation) return sameIncarnation(status);
  if (timeline < mark.timeline) return unknown('older-timeline');

  if (history !== null && timeline > mark.timeline && !history.has(mark.timeline)) {
    return unknown('not-an-ancestor');
  }
  const leftAt = history === null ? null : branchPoint(history, mark.timeline);
  if (replayLsn !== null && replayLsn < mark.lsn) return notCommitted('switched-before-mark');
  if (leftAt !== null && leftAt < mark.lsn) return notCommitted('switched-before-mark');

  switch (status) {
    case 'aborted':
      return notCommitted('status-aborted');
    case 'in progress':
      return { verdict: 'in-progress', reason: 'status-in-progress' };
    case 'future':
      return unknown('mark-contradicted');
    case 'none':
      return unknown('status-unavailable');
    case 'committed':
    case 'prepared': {
      const byHistory = isSoleWriter(lineage, mark) ? leftAt : null;
      const proved = byHistory ?? sharedLog(lineage, mark, timeline);
      // Below L it is no proof of the contrary: what no probe saw may have taken the log another way.
      if (proved === null || proved < mark.lsn) return unknown('lineage-unproved');
      return { verdict: 'committed', reason: 'shared-log' };
    }
  }
}

/**
 * Where this server's log left that of the timeline. Not simply the timeline's own line: a standby that is promoted
 * before it has replayed all of its timeline writes a history whose last switch lies below the one before.
 */
function branchPoint(history: TimelineHistory, timeline: number): Lsn | null {
  let lowest: Lsn | null = null;
  for (const [left, at] of history) {
    if (left >= timeline && (lowest === null || at < lowest)) lowest = at;
  }
  return lowest;
}

/** Only the connection was lost, nothing of the server: its status is exact. */
function sameIncarnation(status: TransactionStatus): CommitDecision {
  switch (status) {
    case 'committed':
    case 'prepared':
      return { verdict: 'committed', reason: 'same-incarnation' };
    case 'aborted':
      return notCommitted('same-incarnation');
    case 'in progress':
      return { verdict: 'in-progress', reason: 'status-in-progress' };
    case 'future':
      return unknown('mark-contradicted');
    case 'none':
      return unknown('status-unavailable');
  }
}

function unknown(reason: VerdictReason): CommitDecision {
  return { verdict: 'unknown', reason };
}

function notCommitted(reason: VerdictReason): CommitDecision {
  return { verdict: 'not-committed', reason };
}
