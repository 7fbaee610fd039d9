import type { OrderedReplay } from '../cluster/replay-order.ts';
import { ResponseDigest, sameResults } from '../session/response-digest.ts';
import { FAILED, IDLE } from '../session/journal.ts';
import { abortable } from '../cluster/abortable.ts';
import { BackendType } from './backend-messages.ts';
import { statementMessages } from './frontend-messages.ts';
import type { NamedStatements } from './named-statements.ts';
import type { PgUnit } from './pg-unit.ts';
import { hide } from './hidden-answer.ts';
import type { JournalPins } from './pinning/journal-pins.ts';
import type { PinnedForm } from './pinning/pinned-form.ts';
import { digestMessage, errorCode } from './response-hash.ts';
import type { Responder } from './responder.ts';
import type { ServerConnection } from './server-connection.ts';
import { SqlError } from './sql-runner.ts';
import { controlsTransaction, liesInTheMoment, savepointOf } from './unit-facts.ts';

/** Makes currval and lastval undefined. */
const discardDrawn = statementMessages('DISCARD SEQUENCES', []);

export type ReplayResult =
  | { readonly kind: 'replayed'; readonly status: number }
  /** R5 */
  | { readonly kind: 'diverged'; readonly reason: string }
  /** R7: something in it can't be pinned, and what the application has seen depends on it. */
  | { readonly kind: 'not-replayable'; readonly reason: string }
  /**
   * R10: the cause lies in the moment, so it starts again from the beginning; with `isOutOfOrder` in the next round, since
   * what diverged depends on who comes first, and the recorded order is not always that of the locks.
   */
  | { readonly kind: 'again'; readonly reason: string; readonly isOutOfOrder: boolean };

/** What a replay needs of its session. */
export interface ReplaySource {
  /** How often it was out of order. */
  readonly replayRound: number;
  readonly units: readonly PgUnit[];
  /** Those whose results depend on the moment in which they run: they keep the recorded precedence (B). */
  orderSensitiveUnits(): ReadonlySet<PgUnit>;
  unitBytes(unit: PgUnit): Buffer;
  readonly names: NamedStatements;
}

/**
 * Runs the journal of an open transaction on a new connection, and compares each result and each status byte with what
 * the application was given (R4).
 *
 * Nothing leaves behind the unit that opens the transaction before ReadyForQuery 'T' has come for it (R13), nor behind
 * any other unit that controls transactions: what follows would run in autocommit (A2). Of the rest, what does not
 * depend on the moment goes out in one write; what does keeps the recorded precedence, and so does what came behind locks
 * that another session has given back.
 *
 * Units whose results hold values that the database made run in the form that `pins` gives them.
 *
 * Rejects if the connection is lost, or `signal` aborts.
 */
export async function replayJournal(
  source: ReplaySource,
  connection: ServerConnection,
  order: OrderedReplay,
  pins: JournalPins | null,
  signal: AbortSignal,
): Promise<ReplayResult> {
  const { units } = source;
  const skipped = unitsNotRunAgain(units);
  const ordered = source.orderSensitiveUnits();
  const progress = new ReplayProgress();
  let index = 0;
  while (index < units.length) {
    const unit = units[index]!;
    if (skipped.has(unit)) {
      index++;
      order.advance(index);
      continue;
    }
    const isOrdered = ordered.has(unit);
    const isPinnable = pins?.concerns(unit) === true;
    const alone =
      index === 0 || isPinnable || unit.synthetic !== null || controlsTransaction(unit) || isOrdered;
    const isBehindRelease = index > 0 && unit.acknowledgedSequence > order.freeUpTo();
    if (isOrdered || (alone && index > 0 && !isPinnable) || isBehindRelease)
      await abortable(order.turn(unit), signal);
    let end = index + 1;
    if (!alone) {
      const free = order.freeUpTo();
      while (
        end < units.length &&
        units[end]!.acknowledgedSequence < free &&
        joins(units[end]!, units[end - 1]!, skipped, ordered) &&
        pins?.concerns(units[end]!) !== true
      )
        end++;
    }
    const form = isPinnable ? await formOf(pins, unit, signal) : null;
    if (form?.kind === 'refused') {
      return { kind: 'not-replayable', reason: `${form.reason} (${headOf(unit)})` };
    }
    if (form?.kind === 'pinned') sendPinned(unit, form, source, connection, progress);
    else send(units.slice(index, end), source, connection, progress, form?.reason ?? null);
    await abortable(progress.completed(), signal);
    signal.throwIfAborted();
    const { result } = progress;
    const mayBeOutOfOrder = isOrdered && order.hasCompany() && source.replayRound < MAX_ROUNDS;
    if (result?.kind === 'diverged' && mayBeOutOfOrder) {
      return { kind: 'again', reason: result.reason, isOutOfOrder: true };
    }
    if (result !== null) return result;
    index = end;
    order.advance(index);
  }
  return { kind: 'replayed', status: progress.status };
}

/** What the catalogue would not answer has broken the transaction. */
async function formOf(pins: JournalPins, unit: PgUnit, signal: AbortSignal): Promise<PinnedForm> {
  try {
    return await abortable(pins.form(unit), signal);
  } catch (error) {
    if (!(error instanceof SqlError)) throw error;
    return { kind: 'refused', reason: `its values can't be pinned (SQLSTATE ${error.code})` };
  }
}

/** Each round costs a connection, and what really diverges does so in all of them. */
const MAX_ROUNDS = 5;

/** True if a unit may go out in the same write as the one before it. */
function joins(
  unit: PgUnit,
  previous: PgUnit,
  skipped: ReadonlySet<PgUnit>,
  ordered: ReadonlySet<PgUnit>,
): boolean {
  return (
    !skipped.has(unit) &&
    unit.synthetic === null &&
    unit.start === previous.end &&
    !controlsTransaction(unit) &&
    !ordered.has(unit)
  );
}

/** The unit with the values that it gave before; in front of it what it needs, as units of the driver's own. */
function sendPinned(
  unit: PgUnit,
  { prepare, bytes, givesDrawn, reason }: PinnedForm & { kind: 'pinned' },
  source: ReplaySource,
  connection: ServerConnection,
  progress: ReplayProgress,
): void {
  progress.begin(1);
  source.names.prepare(unit, connection);
  // What is given and not drawn leaves currval as it was: better undefined than of an earlier row (A9).
  if (givesDrawn) hide(discardDrawn, connection);
  if (prepare !== null) hide(prepare, connection);
  connection.expect(new ReplayedUnit(unit, progress, reason));
  connection.write(bytes);
  if (givesDrawn) hide(discardDrawn, connection);
}

/** Enough of a statement to find it, and none of its values. */
function headOf(unit: PgUnit): string {
  const text = unit.texts.map((one) => one.text).join('; ');
  const words =
    /^\s*(?:--.*\s+)*([A-Za-z]+(?:\s+(?:INTO|FROM)\b)?(?:\s+(?:[\w$]+|"[^"]+")(?:\.(?:[\w$]+|"[^"]+"))?)?)/i.exec(
      text,
    );
  return words?.[1] === undefined || /^select/i.test(words[1])
    ? (words?.[1]?.slice(0, 6) ?? 'a statement')
    : words[1];
}

function send(
  batch: readonly PgUnit[],
  source: ReplaySource,
  connection: ServerConnection,
  progress: ReplayProgress,
  unpinned: string | null,
): void {
  const parts: Buffer[] = [];
  const flush = (): void => {
    if (parts.length > 0) connection.write(parts.length === 1 ? parts[0]! : Buffer.concat(parts));
    parts.length = 0;
  };
  progress.begin(batch.length);
  for (const unit of batch) {
    if (unit.nameUses !== null) {
      flush();
      source.names.prepare(unit, connection);
    }
    connection.expect(new ReplayedUnit(unit, progress, unpinned));
    parts.push(source.unitBytes(unit));
  }
  flush();
}

/**
 * A failed unit whose cause lay in the moment, inside a savepoint that was rolled back, is not run again, nor what its
 * ROLLBACK TO undid: the lock that was taken then may be free now, or the other way round (B).
 */
function unitsNotRunAgain(units: readonly PgUnit[]): ReadonlySet<PgUnit> {
  const skipped = new Set<PgUnit>();
  units.forEach((unit, failed) => {
    if (unit.error === null || !liesInTheMoment(unit.error)) return;
    const rollback = units.findIndex((one, i) => i > failed && one.digest?.status !== FAILED);
    const target = units[rollback];
    const undone = target === undefined ? null : savepointOf(target);
    if (undone?.kind !== 'rollback-to') return;
    for (let i = failed - 1; i >= 0; i--) {
      const candidate = savepointOf(units[i]!);
      if (candidate?.kind === 'savepoint' && candidate.name === undone.name) {
        for (let k = i + 1; k < rollback; k++) skipped.add(units[k]!);
        return;
      }
    }
  });
  return skipped;
}

class ReplayProgress {
  readonly digest = new ResponseDigest(0);
  result: ReplayResult | null = null;
  status = IDLE;
  #outstanding = 0;
  #resolve: (() => void) | null = null;
  #reject: ((error: Error) => void) | null = null;
  #failure: Error | null = null;

  begin(units: number): void {
    this.#outstanding += units;
  }

  completed(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
      if (this.#failure !== null) reject(this.#failure);
      else if (this.#outstanding === 0) resolve();
    });
  }

  unitDone(): void {
    this.#outstanding--;
    if (this.#outstanding === 0) this.#resolve?.();
  }

  lost(error: Error): void {
    this.#failure = error;
    this.#reject?.(error);
  }
}

/** Compares the answer to one unit with what the application was given for it. */
class ReplayedUnit implements Responder {
  readonly #unit: PgUnit;
  readonly #progress: ReplayProgress;
  /** Why something in it is not pinned. */
  readonly #unpinned: string | null;
  #error: string | null = null;
  #begun = false;

  constructor(unit: PgUnit, progress: ReplayProgress, unpinned: string | null) {
    this.#unit = unit;
    this.#progress = progress;
    this.#unpinned = unpinned;
  }

  message(type: number, bytes: Buffer, start: number, end: number): boolean {
    if (!this.#begun) {
      this.#begun = true;
      this.#progress.digest.reset();
    }
    if (type === BackendType.ErrorResponse) this.#error ??= errorCode(bytes, start, end);
    digestMessage(this.#progress.digest, type, bytes, start, end);
    return false;
  }

  ready(status: number): boolean {
    const progress = this.#progress;
    if (!this.#begun) progress.digest.reset();
    const digest = progress.digest.finish(status);
    progress.status = status;
    progress.result ??= this.#compare(digest);
    progress.unitDone();
    return false;
  }

  abandoned(error: Error): void {
    this.#progress.lost(error);
  }

  #compare(digest: ReturnType<ResponseDigest['finish']>): ReplayResult | null {
    const unit = this.#unit;
    const expected = unit.digest;
    if (expected === null) {
      // The BEGIN of a chained transaction: nobody was given its answer, but it must have opened one (R13).
      if (this.#error !== null && liesInTheMoment(this.#error)) return again(this.#error);
      return digest.status === IDLE
        ? { kind: 'diverged', reason: 'its transaction could not be opened' }
        : null;
    }
    if (sameResults(expected, digest)) return null;
    if (this.#error !== null && this.#error !== unit.error && liesInTheMoment(this.#error)) {
      return again(this.#error);
    }
    if (this.#error !== unit.error) {
      const now = this.#error === null ? 'succeeded' : `failed with SQLSTATE ${this.#error}`;
      const then = unit.error === null ? 'had succeeded' : `had failed with SQLSTATE ${unit.error}`;
      return this.#diverged(`a statement that ${then} now ${now}`);
    }
    return this.#diverged('a statement gave other results than the application had been given');
  }

  #diverged(what: string): ReplayResult {
    const unit = this.#unit;
    const tooLong = unit.answer?.length === 0 ? 'its result was too long to keep' : null;
    const why = this.#unpinned ?? tooLong;
    const because = why === null ? '' : `; values that it made could not be pinned: ${why}`;
    return { kind: 'diverged', reason: `${what} (${headOf(unit)}${because})` };
  }
}

function again(sqlState: string): ReplayResult {
  return { kind: 'again', reason: `SQLSTATE ${sqlState}`, isOutOfOrder: false };
}
