import type { Lsn } from './lsn.ts';
import { parseLsn } from './lsn.ts';

/** Where a server's log left each older timeline. */
export type TimelineHistory = ReadonlyMap<number, Lsn>;

const LINE = /^\s*(\d+)\s+([0-9A-Fa-f]{1,8}\/[0-9A-Fa-f]{1,8})/;

/**
 * Reads a timeline history file, as TIMELINE_HISTORY and `pg_wal/0000000N.history` give it: for each older timeline in
 * the server's past, where its log left it. `null` if it is not one. Comments and reasons are passed over.
 */
export function parseTimelineHistory(text: string): TimelineHistory | null {
  const switchPoints = new Map<number, Lsn>();
  for (const line of text.split('\n')) {
    if (line.trim() === '' || line.trimStart().startsWith('#')) continue;
    const match = LINE.exec(line);
    if (match === null) return null;
    switchPoints.set(Number(match[1]), parseLsn(match[2]!));
  }
  return switchPoints.size === 0 ? null : switchPoints;
}

/** Where the server keeps the history of its timeline, relative to its data directory. */
export function timelineHistoryPath(timeline: number): string {
  return `pg_wal/${timeline.toString(16).toUpperCase().padStart(8, '0')}.history`;
}
