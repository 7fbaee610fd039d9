/**
 * Removes old tokens in the background: over a connection of its own, in small batches, never beside another purger (the
 * function sees to that), and only as long as there may be something to do. Nothing depends on it but disk space.
 *
 * One for each process, cluster, database and schema. Its timer keeps no process alive.
 */
import { deadlineSignal } from '../../cluster/deadline-signal.ts';
import type { TokenPurgeFailed } from '../../events.ts';
import type { SqlRow, SqlRunner } from '../sql-runner.ts';
import { tokenNames } from './token-objects.ts';

/** A connection to the primary for one run. */
export interface PurgeConnection {
  readonly runner: SqlRunner;
  /** As `host:port`. */
  readonly host: string;
  /** Ends it politely. */
  close(): void;
  /** Cuts it. */
  destroy(): void;
}

export interface TokenPurgerOptions {
  readonly schema: string;
  readonly retentionMillis: number;
  /** Null if there is no primary just now, or nobody who would need one: then the run is left out. */
  readonly connect: (signal: AbortSignal) => Promise<PurgeConnection | null>;
  /** Called before each run: whether rows of ours may be there, or of somebody who has gone. Without it, all runs are. */
  readonly isNeeded?: () => boolean;
  /** Called before each run: true ends it all, until `start` is called again. */
  readonly isOver?: () => boolean;
  readonly onFailure: (failure: TokenPurgeFailed) => void;
  /** Called at the first connection of a run, for what else is to be asked. */
  readonly onConnected?: (runner: SqlRunner) => Promise<unknown>;
  /** Between two runs; for tests. Default: a 60th of the retention, 10 s to 5 min. */
  readonly intervalMillis?: number;
  /** Rows of one transaction; for tests. */
  readonly batchRows?: number;
  /** Transactions of one run; for tests. */
  readonly maxBatches?: number;
}

const MIN_INTERVAL_MILLIS = 10_000;
const MAX_INTERVAL_MILLIS = 300_000;
const RUNS_A_RETENTION = 60;
/** 5000 rows take some 25 ms. */
const BATCH_ROWS = 5_000;
const MAX_BATCHES = 200;
/** Of one run; a server that says nothing is left alone then. */
const RUN_MILLIS = 60_000;
/** How much longer the pauses become at most while it fails, doubling. */
const MAX_BACKOFF = 16;

// Whatever the role's defaults are: with an older snapshot it would make writers fail (40001). Nobody waits for it, and
// it waits for nobody; what a crash brings back is purged again.
const BEGIN_SQL = 'BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE';
const SETTINGS_SQL =
  `SELECT pg_catalog.set_config('lock_timeout', '1s', true), pg_catalog.set_config('statement_timeout', '20s', true), ` +
  `pg_catalog.set_config('synchronous_commit', 'off', true), ` +
  `pg_catalog.set_config('idle_in_transaction_session_timeout', '5s', true)`;

export type PurgeRun =
  /** Nothing old is left. */
  | 'done'
  /** The run is over, and there is more. */
  | 'more'
  /** Somebody else is at it. */
  | 'busy'
  /** No primary, or nothing of ours. */
  | 'skipped'
  | 'failed';

export class TokenPurger {
  readonly #options: TokenPurgerOptions;
  readonly #intervalMillis: number;
  #timer: NodeJS.Timeout | undefined;
  #run: Promise<PurgeRun> | null = null;
  #backoff = 1;
  #purged = 0;

  constructor(options: TokenPurgerOptions) {
    this.#options = options;
    const derived = Math.round(options.retentionMillis / RUNS_A_RETENTION);
    this.#intervalMillis =
      options.intervalMillis ?? Math.min(MAX_INTERVAL_MILLIS, Math.max(MIN_INTERVAL_MILLIS, derived));
  }

  /** Rows that it has removed so far. */
  get purged(): number {
    return this.#purged;
  }

  /** There may be something to do from now on. May be called any number of times. */
  start(): void {
    if (this.#timer !== undefined) return;
    // Processes that start together should not come together.
    this.#schedule(this.#intervalMillis * (0.5 + Math.random() / 2));
  }

  /** Ends it; a run that is under way goes on to its end. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** One run, now; the one that is under way if there is one. Never rejects. */
  async runOnce(): Promise<PurgeRun> {
    this.#run ??= this.#purge().finally(() => {
      this.#run = null;
    });
    return await this.#run;
  }

  #schedule(millis: number): void {
    this.#timer = setTimeout(() => {
      void this.#tick();
    }, millis);
    this.#timer.unref();
  }

  async #tick(): Promise<void> {
    const timer = this.#timer;
    const { isNeeded, isOver } = this.#options;
    if (isOver?.() === true) {
      this.#timer = undefined;
      return;
    }
    if (isNeeded?.() !== false) await this.runOnce();
    if (this.#timer === timer) this.#schedule(this.#intervalMillis * this.#backoff);
  }

  async #purge(): Promise<PurgeRun> {
    const { connect, onConnected } = this.#options;
    const signal = deadlineSignal(RUN_MILLIS);
    let connection: PurgeConnection | null = null;
    const cut = (): void => {
      connection?.destroy();
    };
    try {
      connection = await connect(signal);
      if (connection === null) return 'skipped';
      signal.addEventListener('abort', cut, { once: true });
      await onConnected?.(connection.runner);
      const run = await this.#batches(connection.runner);
      connection.close();
      this.#backoff = 1;
      return run;
    } catch (error) {
      connection?.destroy();
      this.#failed(connection?.host ?? null, error);
      return 'failed';
    } finally {
      signal.removeEventListener('abort', cut);
    }
  }

  async #batches(runner: SqlRunner): Promise<PurgeRun> {
    const { batchRows = BATCH_ROWS, maxBatches = MAX_BATCHES } = this.#options;
    for (let batch = 0; batch < maxBatches; batch += 1) {
      const deleted = await this.#batch(runner, batchRows);
      if (deleted === null) return 'busy';
      this.#purged += deleted;
      if (deleted < batchRows) return 'done';
    }
    return 'more';
  }

  /** Null if somebody else is purging. */
  async #batch(runner: SqlRunner, rows: number): Promise<number | null> {
    const { schema, retentionMillis } = this.#options;
    const sql = `SELECT ${tokenNames(schema).purgeTokens}($1::pg_catalog.int8, $2::pg_catalog.int4)::pg_catalog.text`;
    await runner.run(BEGIN_SQL);
    await runner.run(SETTINGS_SQL);
    const [row]: readonly SqlRow[] = await runner.run(sql, [String(retentionMillis), String(rows)]);
    await runner.run('COMMIT');
    const deleted = row?.[0] ?? null;
    return deleted === null ? null : Number(deleted);
  }

  #failed(host: string | null, error: unknown): void {
    const isFirst = this.#backoff === 1;
    this.#backoff = Math.min(this.#backoff * 2, MAX_BACKOFF);
    if (!isFirst) return;
    const { code } = error as { readonly code?: unknown };
    const reason = typeof code === 'string' ? code : 'the connection failed';
    this.#options.onFailure({ host, reason, retryMillis: this.#intervalMillis * this.#backoff });
  }
}
