/**
 * Ends an old backend of ours on a server that lives on, and waits until it has gone. Only then is it sure that it
 * commits nothing any more, and that the locks it held are free (R4, R6, design review A16).
 *
 * It must never end the wrong one: process ids are used again, so the start time decides. And it must never end one
 * that waits for its synchronous standby: that would make the wait a local commit which the standby does not have, and
 * the status would then say 'committed' (design review A5). Such a backend is waited for instead.
 *
 * Nor one behind a pooler, which may have given it to another session by now. A pooler that loses its client in the middle
 * of a transaction closes the backend's connection itself; so it is waited for until that transaction is over.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { abortable } from '../cluster/abortable.ts';
import type { BackendIdentity } from './probe.ts';
import type { SqlRunner } from './sql-runner.ts';
import { SqlError } from './sql-runner.ts';

/**
 * - `gone`: it does not exist any more, or does something else by now. What it was doing is decided.
 * - `waiting-for-sync`: when the time was over, its COMMIT was still waiting for a synchronous standby.
 * - `unknown`: it may still be there, because we may not see or end it, or because it did not react in time.
 */
export type FenceResult = 'gone' | 'waiting-for-sync' | 'unknown';

export interface FenceOptions {
  /** The deadline. */
  readonly signal: AbortSignal;
  /** Waits; for tests. Rejects, or returns early, when the signal is aborted. */
  readonly sleep?: (millis: number, signal: AbortSignal) => Promise<void>;
}

const FIRST_PAUSE_MILLIS = 2;
const LAST_PAUSE_MILLIS = 50;

const ACTIVITY = 'pg_catalog.pg_stat_get_activity($1::pg_catalog.int4) AS a';
const BACKEND_START = 'extract(epoch FROM a.backend_start)::pg_catalog.text';

/** No row: no such process. The start time is NULL where the role may not see it. */
const LOOK_SQL = `SELECT ${BACKEND_START}, a.wait_event, extract(epoch FROM a.xact_start)::pg_catalog.text FROM ${ACTIVITY}`;

const TERMINATE_SQL =
  `SELECT pg_catalog.pg_terminate_backend(a.pid)::pg_catalog.text FROM ${ACTIVITY} ` +
  `WHERE ${BACKEND_START} OPERATOR(pg_catalog.=) $2::pg_catalog.text AND a.wait_event IS DISTINCT FROM 'SyncRep'`;

/**
 * Ends the backend. To be called outside a transaction (a transaction would see the same activity again and again), and
 * only on the server life that the backend belongs to. Rejects if the runner's connection is lost.
 */
export async function fenceBackend(
  runner: SqlRunner,
  backend: BackendIdentity,
  { signal, sleep = pause }: FenceOptions,
): Promise<FenceResult> {
  let isWaitingForSync = false;
  let millis = FIRST_PAUSE_MILLIS;
  let isTold = false;
  let transaction: string | null | undefined;
  try {
    for (;;) {
      signal.throwIfAborted();
      const rows = await abortable(runner.run(LOOK_SQL, [backend.pid]), signal);
      const [row] = rows;
      if (row === undefined) return 'gone';
      const [backendStart, waitEvent, xactStart = null] = row;
      if (backendStart === null || backendStart === undefined) return 'unknown';
      if (backendStart !== backend.backendStart) return 'gone';
      isWaitingForSync = waitEvent === 'SyncRep';
      if (backend.isPooled === true) {
        transaction ??= xactStart;
        if (xactStart === null || xactStart !== transaction) return 'gone';
      } else if (!isWaitingForSync && !isTold) {
        isTold = await terminate(runner, backend, signal);
      }
      await sleep(millis, signal);
      millis = Math.min(millis * 2, LAST_PAUSE_MILLIS);
    }
  } catch (error) {
    if (signal.aborted) return isWaitingForSync ? 'waiting-for-sync' : 'unknown';
    // 42501 and the like: we may not even look. The connection is still good.
    if (error instanceof SqlError) return 'unknown';
    throw error;
  }
}

/** False if it has to be told again. Where we may not, it will notice by itself that its client has gone. */
async function terminate(
  runner: SqlRunner,
  { pid, backendStart }: BackendIdentity,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    const told = await abortable(runner.run(TERMINATE_SQL, [pid, backendStart]), signal);
    return told[0]?.[0] === 'true';
  } catch (error) {
    if (error instanceof SqlError && error.code === '42501') return true;
    throw error;
  }
}

/** Waits without keeping the process alive beyond the deadline. */
export async function pause(millis: number, signal: AbortSignal): Promise<void> {
  await delay(millis, undefined, { signal });
}
