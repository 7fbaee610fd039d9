import { abortable } from '../cluster/abortable.ts';
import type { SqlRunner } from './sql-runner.ts';

/** Why it was not found out in time what became of a transaction; stable names, for events and tests. */
export type UnansweredReason =
  /** The deadline passed before the transaction was over. The runner's connection may still be busy. */
  | 'still-in-progress'
  /** At the deadline its backend was waiting for a synchronous standby. */
  | 'waiting-for-sync'
  /** Answered here, but at the deadline no synchronous standby was known to have it. The runner still waits for one. */
  | 'not-replicated'
  /** The deadline passed while the server was being asked. The runner's connection is still busy. */
  | 'no-answer';

/** The runner, whose answers are waited for only until the signal aborts. */
export function runUntil(signal: AbortSignal, runner: SqlRunner): SqlRunner {
  return {
    run: async (sql, parameters) => {
      signal.throwIfAborted();
      return await abortable(runner.run(sql, parameters), signal);
    },
  };
}
