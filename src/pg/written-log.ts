import { parseLsn, type Lsn } from './lsn.ts';
import type { SqlRow } from './sql-runner.ts';

/** How far a primary has written its log. */
export interface WrittenLog {
  /** Where the last record ends. */
  readonly end: Lsn;
  /** What a crash does not take back. */
  readonly flushed: Lsn;
}

/** Yields one row, of NULLs in recovery. */
export const WRITTEN_LOG_SQL = `SELECT pg_catalog.pg_current_wal_insert_lsn()::pg_catalog.text,
  pg_catalog.pg_current_wal_flush_lsn()::pg_catalog.text,
  pg_catalog.current_setting('wal_block_size'),
  pg_catalog.pg_size_bytes(pg_catalog.current_setting('wal_segment_size'))::pg_catalog.text
WHERE NOT pg_catalog.pg_is_in_recovery()`;

/** Sizes of the header of an ordinary page of the log, and of the first page of a segment. */
const PAGE_HEADER_BYTES = 24n;
const SEGMENT_HEADER_BYTES = 40n;

/**
 * The insert position stands behind the header of a page on which nothing is written yet, where the last record has
 * filled the page before. No standby gets there before the next record: the end is in front of the header.
 */
export function readWrittenLog([inserted, flushed, blockBytes, segmentBytes]: SqlRow): WrittenLog | null {
  if (typeof inserted !== 'string' || typeof flushed !== 'string') return null;
  const end = parseLsn(inserted);
  const intoPage = end % BigInt(blockBytes ?? 1);
  const page = end - intoPage;
  const header = page % BigInt(segmentBytes ?? 1) === 0n ? SEGMENT_HEADER_BYTES : PAGE_HEADER_BYTES;
  return { end: intoPage === header ? page : end, flushed: parseLsn(flushed) };
}
