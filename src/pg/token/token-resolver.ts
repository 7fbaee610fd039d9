/**
 * Finds out by its token what became of a COMMIT or an autocommit write whose answer was lost, and makes sure that it
 * stays so (R3, R6): a transaction that has not committed by then never will.
 *
 * Right on the same server, on a promoted one, and after crash recovery, because the token is in the transaction. Only
 * 'committed' and 'fenced' are answers, and each is given when it is as durable as the server makes a COMMIT: with
 * synchronous standbys, when one of them has it (A5). The answer holds for the server that was asked and those that
 * follow it: after another failover ask again, also for earlier attempts.
 */
import type { FenceOptions } from '../fence.ts';
import { fenceBackend, pause } from '../fence.ts';
import type { BackendIdentity } from '../probe.ts';
import { runUntil, type UnansweredReason } from '../question-in-doubt.ts';
import type { SqlRunner } from '../sql-runner.ts';
import { SqlError } from '../sql-runner.ts';
import { tokenNames } from './token-objects.ts';

export interface TokenInDoubt extends FenceOptions {
  /** A connection to the primary, idle and outside any transaction. It may still be busy if the deadline has passed. */
  readonly runner: SqlRunner;
  /** Where the objects are. */
  readonly schema: string;
  /** The uuid, as text. */
  readonly token: string;
  /**
   * The backend of the lost connection, if the runner's server is in the very life in which that was opened; else null.
   * It is ended if it stands in the way. That it is gone in any case, and its locks with it, is not promised.
   */
  readonly backend: BackendIdentity | null;
  /**
   * Is asked while the transaction in doubt, whose backend is gone, still holds its token. True: it took effect as far as it
   * was to, as a PREPARE TRANSACTION does. Default: never.
   */
  readonly hasTakenEffect?: () => Promise<boolean>;
}

/** Why; stable names, for events and tests. */
export type TokenReason =
  /** The row is there: the transaction put it, and committed. */
  | 'token-committed'
  /** The row is there, and not of the transaction. */
  | 'token-fenced'
  /** Its key is as old as those that were purged: nobody can know. */
  | 'token-purged'
  /** Objects or privileges are missing, or the server takes no writes. */
  | 'token-refused'
  | UnansweredReason;

export interface TokenResolution {
  /** `fenced` is "not committed, and never will be". */
  readonly outcome: 'committed' | 'fenced' | 'unknown';
  readonly reason: TokenReason;
}

// Whatever the role's defaults are. An older snapshot would not see who came first.
const BEGIN_SQL = 'BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE';
// The last one: when our connection is cut in the middle, what we hold must not be in the way of the next who asks.
const SETTINGS_SQL =
  `SELECT pg_catalog.set_config('lock_timeout', $1::pg_catalog.text, true), ` +
  `pg_catalog.set_config('statement_timeout', '0', true), pg_catalog.set_config('synchronous_commit', 'on', true), ` +
  `pg_catalog.set_config('idle_in_transaction_session_timeout', '5s', true)`;

/** How long one attempt waits for the transaction in doubt, before its backend is looked after. */
const LOCK_TIMEOUT_MILLIS = 100;
const PAUSE_MILLIS = 20;

const LOCK_NOT_AVAILABLE = '55P03';
/** Of the moment; the next attempt may fare better. */
const AGAIN: ReadonlySet<string> = new Set(['40001', '40P01', '57014']);
/** The server will say the same for as long as this connection lives. */
const REFUSALS: ReadonlySet<string> = new Set([
  '3F000', // no such schema
  '42883', // no such function
  '42P01', // no such table
  '42703', // no such column: a table of somebody else's
  '42501', // not allowed
  '25006', // a standby
  '0A000', // a standby asked for READ WRITE
]);

type Attempt = { readonly kind: 'answered'; readonly word: string | null } | { readonly kind: 'waiting' };

/**
 * Resolves within the signal's deadline. Rejects only if the connection was lost, or the server failed in a way that
 * says nothing: then ask again on another connection (R10).
 */
export async function resolveToken(inDoubt: TokenInDoubt): Promise<TokenResolution> {
  const { runner, backend, signal, sleep = pause, hasTakenEffect } = inDoubt;
  let waitedFor: 'still-in-progress' | 'waiting-for-sync' = 'still-in-progress';
  const question = new Question(inDoubt);
  try {
    for (;;) {
      const attempt = await question.ask();
      if (attempt.kind === 'answered') return resolution(attempt.word);
      let isGone = true;
      if (backend !== null) {
        const fence = await fenceBackend(runner, backend, { signal, sleep });
        waitedFor = fence === 'waiting-for-sync' ? fence : 'still-in-progress';
        isGone = fence === 'gone';
      }
      if (isGone && question.hasWaited && (await hasTakenEffect?.()) === true) return resolution('committed');
      // Also when it has gone: a prepared transaction outlives its backend.
      await sleep(PAUSE_MILLIS, signal);
      signal.throwIfAborted();
    }
  } catch (error) {
    if (error instanceof SqlError && REFUSALS.has(error.code)) {
      return { outcome: 'unknown', reason: 'token-refused' };
    }
    if (!signal.aborted) throw error;
    if (question.isCommitting) return { outcome: 'unknown', reason: 'not-replicated' };
    if (!question.hasWaited) return { outcome: 'unknown', reason: 'no-answer' };
    return { outcome: 'unknown', reason: waitedFor };
  }
}

function resolution(word: string | null): TokenResolution {
  switch (word) {
    case 'committed':
      return { outcome: 'committed', reason: 'token-committed' };
    case 'fenced':
      return { outcome: 'fenced', reason: 'token-fenced' };
    case 'purged':
      return { outcome: 'unknown', reason: 'token-purged' };
    default:
      return { outcome: 'unknown', reason: 'token-refused' };
  }
}

/** One transaction of ours for each attempt. */
class Question {
  /** An answer was given, and its COMMIT was sent. */
  isCommitting = false;
  /** The transaction in doubt was in the way. */
  hasWaited = false;
  readonly #inDoubt: TokenInDoubt;
  readonly #resolveSql: string;
  /** Until the deadline. */
  readonly #runner: SqlRunner;

  constructor(inDoubt: TokenInDoubt) {
    this.#inDoubt = inDoubt;
    this.#runner = runUntil(inDoubt.signal, inDoubt.runner);
    this.#resolveSql = `SELECT ${tokenNames(inDoubt.schema).resolveToken}($1::pg_catalog.uuid)`;
  }

  async ask(): Promise<Attempt> {
    const { token } = this.#inDoubt;
    try {
      await this.#runner.run(BEGIN_SQL);
      await this.#runner.run(SETTINGS_SQL, [`${LOCK_TIMEOUT_MILLIS}ms`]);
      const rows = await this.#runner.run(this.#resolveSql, [token]);
      this.isCommitting = true;
      // Not an answer before it has: what is lost with the server was never said.
      await this.#runner.run('COMMIT');
      this.isCommitting = false;
      return { kind: 'answered', word: rows[0]?.[0] ?? null };
    } catch (error) {
      if (!(error instanceof SqlError)) {
        this.#giveUp();
        throw error;
      }
      this.isCommitting = false;
      await this.#runner.run('ROLLBACK');
      if (error.code === LOCK_NOT_AVAILABLE) this.hasWaited = true;
      else if (!AGAIN.has(error.code)) throw error;
      return { kind: 'waiting' };
    }
  }

  /** At the deadline: what is under way ends by itself, and holds nothing then. */
  #giveUp(): void {
    this.#inDoubt.runner.run('ROLLBACK').catch(() => {
      // The connection is lost, and the server has noticed, or will.
    });
  }
}
