/**
 * The mark of a transaction: what must be known of it *before* its COMMIT is sent, so that its fate can be found out
 * on another server when the answer to the COMMIT is lost (R6, design.md section 4).
 *
 * It costs 53 bytes of WAL and no round trip: the statement rides in the unit in which the transaction's xid first
 * appears. In a transaction that has no xid it writes nothing, assigns nothing and yields no mark, so it may be asked
 * for in vain at any moment; in a failed transaction (25P02) it must not be asked for at all.
 */
import type { Lsn } from './lsn.ts';
import { parseLsn } from './lsn.ts';
import type { ProbeResult } from './probe.ts';
import type { SqlRow, SqlRunner } from './sql-runner.ts';
import { SqlError } from './sql-runner.ts';

/** What the mark statement itself yields. */
export interface TransactionMark {
  /** Of the top-level transaction, 64 bits with the epoch, as text. */
  readonly xid: string;
  /**
   * End of a WAL record that carries this xid, or one of a subtransaction, whose xids are greater. A bare insert
   * position would not do: an xid may exist before any WAL carries it (design review A3).
   */
  readonly lsn: Lsn;
}

/** The mark and the server it was made on. */
export interface CommitMark extends TransactionMark {
  readonly systemIdentifier: string;
  readonly timeline: number;
  /** The life of the server in which the transaction ran. */
  readonly incarnation: string;
}

function markStatement(transactional: boolean, condition: string): string {
  // The record's function is volatile: it runs once, and only where the condition holds.
  return (
    `SELECT pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text, CASE WHEN ${condition} ` +
    `THEN pg_catalog.pg_logical_emit_message(${transactional}, '', '')::pg_catalog.text END`
  );
}

/**
 * Yields one row: xid and position, or two NULLs if the transaction has no xid. Can be prepared. Valid in READ ONLY
 * and SERIALIZABLE transactions, within savepoints, and on standbys (where there never is an xid).
 */
export const MARK_SQL = markStatement(true, 'pg_catalog.pg_current_xact_id_if_assigned() IS NOT NULL');

/** The same behind a pooler; the third column is the process id of the backend that made it. */
export const POOLED_MARK_SQL = `${MARK_SQL}, pg_catalog.pg_backend_pid()::pg_catalog.text`;

/**
 * Executes outside any transaction what the mark executes inside one, as a failure there would abort the user's work
 * (design review D1). It writes some 50 bytes of WAL, which nobody waits for.
 */
export const MARK_TRIAL_SQL = markStatement(false, 'NOT pg_catalog.pg_is_in_recovery()');

/** Reads the row of the mark statement; `null` if the transaction had no xid. */
export function parseMark(row: SqlRow): TransactionMark | null {
  const [xid, lsn] = row;
  if (typeof xid !== 'string' || typeof lsn !== 'string') return null;
  return { xid, lsn: parseLsn(lsn) };
}

/**
 * Joins the mark with the probe of the connection that it was made on.
 *
 * `null` if the server did not say who it is, or if that probe saw a standby: a session that was connected before a
 * promotion must probe again before its marks are worth anything.
 */
export function commitMark(mark: TransactionMark, probe: ProbeResult): CommitMark | null {
  const { inRecovery, systemIdentifier, timeline, incarnation } = probe;
  if (inRecovery || systemIdentifier === null || timeline === null || incarnation === null) return null;
  return { ...mark, systemIdentifier, timeline, incarnation };
}

/** Once per connection, outside any transaction: whether the mark works here. Rejects only if the connection is lost. */
export async function tryMark(runner: SqlRunner): Promise<boolean> {
  try {
    const rows = await runner.run(MARK_TRIAL_SQL);
    return rows.length === 1;
  } catch (error) {
    if (error instanceof SqlError) return false;
    throw error;
  }
}
