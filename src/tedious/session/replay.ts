import { abortable } from '../../cluster/abortable.ts';
import type { OrderedReplay } from '../../cluster/replay-order.ts';
import { IDLE, IN_TRANSACTION } from '../../session/journal.ts';
import { ResponseDigest, sameResults } from '../../session/response-digest.ts';
import { mustRun } from '../link/batch.ts';
import type { Receiver, ServerConnection } from '../link/server-connection.ts';
import { liesInTheMoment } from '../loss-errors.ts';
import { TOKEN } from '../wire/token-kind.ts';
import { prepareAgain } from './hidden-prepare.ts';
import type { RecoveringSession } from './recovering-session.ts';
import type { TdsUnit } from './tds-unit.ts';
import { meaningOf, numberOf } from './token-meaning.ts';
import { isHandleToken } from './unit-answer.ts';

export type ReplayResult =
  | { readonly kind: 'replayed' }
  /** R5 */
  | { readonly kind: 'diverged'; readonly reason: string }
  /** R10: the cause lies in the moment; it starts again from the beginning. */
  | { readonly kind: 'again'; readonly reason: string; readonly isOutOfOrder: boolean };

const MAX_ROUNDS = 5;
/** A replay that waits longer for a lock starts again: in between whoever holds it may have gone on (R10). */
const LOCK_TIMEOUT_MILLIS = 5_000;

/**
 * Runs the journal of an open transaction on a new connection, one unit behind the other, and compares each result and
 * the state of the transaction with what the application was given (R4, R13).
 *
 * Rejects if the connection is lost, or `signal` aborts.
 */
export async function replayJournal(
  session: RecoveringSession,
  connection: ServerConnection,
  order: OrderedReplay,
  signal: AbortSignal,
): Promise<ReplayResult> {
  const { units } = session.open;
  await abortable(mustRun(connection, `SET LOCK_TIMEOUT ${LOCK_TIMEOUT_MILLIS}`), signal);
  for (const [index, unit] of units.entries()) {
    const isOrdered = unit.analysis.liesInTheMoment || unit.errors.length > 0 || isRollbackToSavepoint(unit);
    const isBehindRelease = index > 0 && unit.acknowledgedSequence > order.freeUpTo();
    if (isOrdered || isBehindRelease) await abortable(order.turn(unit), signal);
    await prepareFor(unit, session, connection, signal);
    const seen = await abortable(runUnit(unit, session, connection), signal);
    const mayBeOutOfOrder = isOrdered && order.hasCompany() && session.replayRound < MAX_ROUNDS;
    const result = compare(unit, seen);
    if (result?.kind === 'diverged' && mayBeOutOfOrder) {
      return { kind: 'again', reason: result.reason, isOutOfOrder: true };
    }
    if (result !== null) return result;
    order.advance(index + 1);
  }
  await abortable(mustRun(connection, session.memory.lockTimeout), signal);
  return { kind: 'replayed' };
}

/** It gives back locks that others may have taken since. */
export function isRollbackToSavepoint({ request }: TdsUnit): boolean {
  return request.kind === 'transaction' && request.transaction.kind === 'rollback';
}

/** A statement that was prepared in front of the transaction is not prepared by its journal. */
async function prepareFor(
  { request }: TdsUnit,
  { handles }: RecoveringSession,
  connection: ServerConnection,
  signal: AbortSignal,
): Promise<void> {
  if (request.kind !== 'execute') return;
  const missing = handles.missing(request.handle);
  if (missing === null) return;
  const real = await abortable(prepareAgain(connection, missing), signal);
  if (real !== null) handles.preparedAgain(request.handle, real);
}

interface Seen {
  readonly digest: ReturnType<ResponseDigest['finish']>;
  readonly errors: readonly number[];
}

function runUnit(unit: TdsUnit, { handles }: RecoveringSession, connection: ServerConnection): Promise<Seen> {
  const { request, message } = unit;
  if (request.kind === 'execute' || request.kind === 'unprepare') {
    const real = handles.realOf(request.handle);
    if (real === null && request.kind === 'unprepare') {
      return Promise.resolve({ digest: unit.digest!, errors: unit.errors });
    }
    message.payload.writeInt32LE(real ?? request.handle, request.handleAt);
  }
  return new Promise((resolve, reject) => {
    connection.send({ ...message, reset: 'none' }, new ReplayedAnswer(unit, connection, resolve, reject));
  });
}

class ReplayedAnswer implements Receiver {
  readonly #unit: TdsUnit;
  readonly #connection: ServerConnection;
  readonly #resolve: (seen: Seen) => void;
  readonly #reject: (error: Error) => void;
  readonly #digest = new ResponseDigest(0);
  readonly #errors: number[] = [];

  constructor(
    unit: TdsUnit,
    connection: ServerConnection,
    resolve: (seen: Seen) => void,
    reject: (error: Error) => void,
  ) {
    this.#unit = unit;
    this.#connection = connection;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  token(kind: number, bytes: Buffer, start: number, end: number): void {
    if (kind === TOKEN.error) this.#errors.push(numberOf(bytes, start));
    if (this.#unit.request.kind === 'prepare' && isHandleToken(kind, bytes, start)) {
      const handle = Buffer.from('handle');
      this.#digest.message(handle, 0, handle.length, kind);
      return;
    }
    const meaning = meaningOf(kind, bytes, start, end, this.#connection.shape);
    if (kind === TOKEN.row || kind === TOKEN.nullBitmapRow) this.#digest.row(meaning, 0, meaning.length);
    else this.#digest.message(meaning, 0, meaning.length, kind);
  }

  paused(): void {
    // Nothing is handed on.
  }

  ended(): void {
    const status = this.#connection.isInTransaction ? IN_TRANSACTION : IDLE;
    this.#resolve({ digest: this.#digest.finish(status), errors: this.#errors });
  }

  abandoned(error: Error): void {
    this.#reject(error);
  }
}

function compare(unit: TdsUnit, { digest, errors }: Seen): ReplayResult | null {
  if (unit.digest !== null && sameResults(unit.digest, digest)) return null;
  const news = errors.find((number) => !unit.errors.includes(number));
  if (news !== undefined && liesInTheMoment(news)) {
    return { kind: 'again', reason: `error ${news}`, isOutOfOrder: false };
  }
  if (news !== undefined) return diverged(`a statement has failed with error ${news}`);
  if (unit.errors.length > errors.length) return diverged(`a statement that had failed has succeeded`);
  return diverged('a statement gave other results than the application had been given');
}

function diverged(reason: string): ReplayResult {
  return { kind: 'diverged', reason };
}
