import type { TransactionStatus } from '../../../src/pg/commit-verdict.ts';
import type { SeenServer } from '../../../src/pg/lineage.ts';
import type { Lsn } from '../../../src/pg/lsn.ts';

/** Of all servers of the model. */
export const SYSTEM_IDENTIFIER = '7000000000000000001';
export const FIRST_XID = 100;

/** One record of the log. `tx` is the transaction's true name, which no server knows. */
export interface WalRecord {
  readonly kind: 'mark' | 'commit' | 'abort' | 'prepare' | 'checkpoint' | 'other';
  readonly end: Lsn;
  readonly xid: number;
  readonly tx: number;
  /** Of checkpoints: the next xid to hand out. */
  readonly nextXid: number;
}

export interface Server {
  readonly name: string;
  role: 'primary' | 'standby' | 'down';
  log: WalRecord[];
  /** How many records of the log a crash can't take. */
  flushed: number;
  timeline: number;
  follows: Server | null;
  startTime: number;
  replayLsn: Lsn | null;
  receiveLsn: Lsn | null;
  nextXid: number;
  /** xid → tx of what runs in a backend here. */
  running: Map<number, number>;
  /** TIMELINE_HISTORY. */
  history: Map<number, Lsn>;
  /** The control file's, which lags behind. */
  checkpointTimeline: number;
}

/** A standby can follow only a log that its own is a beginning of. */
export function receive(standby: Server, limit: number): void {
  const source = standby.follows;
  if (source === null || source.role === 'down' || source.flushed < standby.log.length) return;
  const last = standby.log.length - 1;
  if (last >= 0 && source.log[last] !== standby.log[last]) return;
  // Servers that came to the same position on different timelines may be in one another's way.
  if (last < 0 && source.timeline !== standby.timeline && source.history.get(standby.timeline) === undefined)
    return;
  standby.log.push(
    ...source.log.slice(standby.log.length, Math.min(source.flushed, standby.log.length + limit)),
  );
  standby.flushed = standby.log.length;
  standby.timeline = source.timeline;
  standby.history = source.history;
  standby.replayLsn = endOf(standby.log);
  standby.receiveLsn = standby.replayLsn;
}

export function probeOf(server: Server): SeenServer {
  const { timeline, startTime, replayLsn, receiveLsn, checkpointTimeline } = server;
  const inRecovery = server.role === 'standby';
  return {
    inRecovery,
    systemIdentifier: SYSTEM_IDENTIFIER,
    timeline: inRecovery ? null : timeline,
    incarnation: inRecovery
      ? `standby/${server.name}${startTime}`
      : `${timeline}/${server.name}${startTime}/${replayLsn ?? 'none'}`,
    startTime: `${server.name}${startTime}`,
    replayLsn,
    receiveLsn,
    logTimelines: [checkpointTimeline],
  };
}

export function statusOf(server: Server, xid: number): TransactionStatus {
  if (xid >= server.nextXid) return 'future';
  if (server.running.has(xid)) return 'in progress';
  const kinds = server.log.filter((record) => record.xid === xid).map(({ kind }) => kind);
  if (kinds.includes('commit')) return 'committed';
  if (kinds.includes('abort')) return 'aborted';
  return kinds.includes('prepare') ? 'prepared' : 'aborted';
}

export function endOf(log: readonly WalRecord[]): Lsn {
  return log.at(-1)?.end ?? 0n;
}

export function nextXidAfter(log: readonly WalRecord[]): number {
  return log.reduce((next, record) => Math.max(next, record.xid + 1, record.nextXid), FIRST_XID);
}
