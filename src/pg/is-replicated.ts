import { runUntil } from './question-in-doubt.ts';
import type { SqlRunner } from './sql-runner.ts';
import { SqlError } from './sql-runner.ts';

/** Its record lies behind what the server has shown, so a standby that has it has that as well. */
const SYNCHRONOUS_COMMIT_SQL =
  `SELECT pg_catalog.set_config('synchronous_commit', 'on', true), ` +
  `pg_catalog.pg_logical_emit_message(true, '', '')::pg_catalog.text`;

/**
 * Waits until a synchronous standby has flushed the log up to here (design review A5); false if the deadline passes
 * before, or the role may not write to the log.
 */
export async function isReplicated(runner: SqlRunner, signal: AbortSignal): Promise<boolean> {
  try {
    const rows = await runUntil(signal, runner).run(SYNCHRONOUS_COMMIT_SQL);
    return rows.length === 1;
  } catch (error) {
    if (signal.aborted || isRefusal(error)) return false;
    throw error;
  }
}

/** The server does not have what was asked for, or does not let us have it, and never will on this connection. */
export function isRefusal(error: unknown): boolean {
  return error instanceof SqlError && ['42501', '42883', '0A000', 'XX000'].includes(error.code);
}
