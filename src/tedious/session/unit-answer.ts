import { IDLE, IN_TRANSACTION } from '../../session/journal.ts';
import { ResponseDigest, type UnitDigest } from '../../session/response-digest.ts';
import { ResumeFilter } from '../../session/resume-filter.ts';
import type { Receiver, ServerConnection } from '../link/server-connection.ts';
import { isLoss } from '../loss-errors.ts';
import { readMessage, returnValueName, type MessageToken } from '../wire/read-token.ts';
import { DONE_STATUS, ENVIRONMENT, TOKEN } from '../wire/token-kind.ts';
import { doneToken } from '../wire/write-token.ts';
import { AnswerOutput } from './answer-output.ts';
import type { TdsUnit } from './tds-unit.ts';
import { meaningOf, numberOf } from './token-meaning.ts';
import { Visibility } from './visibility.ts';

/** Who hears of the answer to a unit. */
export interface AnswerHost {
  /** Whole tokens for the application. */
  deliver(tokens: Buffer | null, isLast: boolean): void;
  /** The answer is whole. Returns what to hand over behind it, in place of its last token if `replacesEnd`. */
  completed(unit: TdsUnit, digest: UnitDigest): void;
  /** It ran again, and gave other results than what the application was given (R5); its end has come. */
  diverged(unit: TdsUnit, status: number): void;
  /** An error that says that the server goes away; true if it is taken for a loss. */
  serverGoesAway(unit: TdsUnit, error: MessageToken): boolean;
  /** sp_prepare has given a handle; returns the one for the application. */
  prepared(unit: TdsUnit, real: number): number;
}

/** Takes the answer to one unit of the application, hands it on, and keeps its digest. */
export class UnitAnswer implements Receiver {
  readonly #host: AnswerHost;
  readonly #digest: ResponseDigest;
  readonly #output = new AnswerOutput();
  #unit: TdsUnit | null = null;
  #connection: ServerConnection | null = null;
  #visibility = Visibility.plain;
  #resume: ResumeFilter | null = null;
  #hasDiverged = false;
  #held: Buffer | null = null;

  constructor(host: AnswerHost, maxKeptRowHashes: number) {
    this.#host = host;
    this.#digest = new ResponseDigest(maxKeptRowHashes);
  }

  /** Tokens of the unit's answer that the application was given. */
  get given(): number {
    return this.#digest.messages;
  }

  /** A unit goes out. With `isAgain` what was given of its answer must come again, and is skipped (R2, R4). */
  begin(unit: TdsUnit, connection: ServerConnection, isAgain: boolean): void {
    if (isAgain && this.#digest.messages > 0) this.#resume = new ResumeFilter(this.#digest.partial());
    else {
      this.#digest.reset();
      this.#resume = null;
    }
    this.#hasDiverged = false;
    this.#held = null;
    this.#output.clear();
    this.#unit = unit;
    this.#connection = connection;
    this.#visibility = Visibility.of(unit);
  }

  /** The unit got its answer from elsewhere. */
  forget(): void {
    this.#unit = null;
    this.#resume = null;
    this.#hasDiverged = false;
    this.#digest.reset();
    this.#output.clear();
  }

  token(kind: number, bytes: Buffer, start: number, end: number, isStable: boolean): void {
    const unit = this.#unit;
    if (unit === null) return;
    if (kind === TOKEN.error && isLoss(numberOf(bytes, start))) {
      if (this.#host.serverGoesAway(unit, readMessage(bytes, start))) return;
    }
    this.#note(unit, kind, bytes, start);
    const isShown = this.#visibility.shows(kind, bytes, start);
    unit.isAnswered ||= this.#visibility.isBehind;
    if (!isShown) return;
    if (this.#visibility.isBatchInCall && kind === TOKEN.doneInProcedure) {
      this.#holdDone(bytes, start);
      return;
    }
    this.#flushDone(true);
    this.#give(unit, kind, bytes, start, end, isStable);
  }

  #give(unit: TdsUnit, kind: number, bytes: Buffer, start: number, end: number, isStable: boolean): void {
    if (this.#hasDiverged) return;
    const isHandle = unit.request.kind === 'prepare' && isHandleToken(kind, bytes, start);
    const row = kind === TOKEN.row || kind === TOKEN.nullBitmapRow;
    const meaning = isHandle ? HANDLE : meaningOf(kind, bytes, start, end, this.#connection?.shape ?? null);
    if (this.#resume !== null && !this.#resume.done) {
      const verdict = row
        ? this.#resume.row(meaning, 0, meaning.length)
        : this.#resume.message(meaning, 0, meaning.length, kind, kind === TOKEN.error);
      if (verdict === 'swallow') return;
      if (verdict === 'diverged') {
        this.#hasDiverged = true;
        return;
      }
    }
    if (row) this.#digest.row(meaning, 0, meaning.length);
    else this.#digest.message(meaning, 0, meaning.length, kind);
    if (isHandle) this.#giveHandle(unit, bytes, start, end);
    else this.#output.add(bytes, start, end, isStable);
  }

  paused(): void {
    if (this.#unit === null) return;
    const tokens = this.#output.take();
    if (tokens !== null) this.#host.deliver(tokens, false);
  }

  ended(): void {
    const unit = this.#unit;
    if (unit === null) return;
    if (this.#visibility.isBatchInCall) {
      this.#held ??= doneToken(unit.errors.length === 0 ? 0 : DONE_STATUS.error);
      this.#flushDone(false);
    }
    this.#unit = null;
    const status = this.#connection?.isInTransaction === true ? IN_TRANSACTION : IDLE;
    const isWhole = this.#resume === null || this.#resume.done;
    this.#resume = null;
    if (this.#hasDiverged || !isWhole) {
      this.#hasDiverged = false;
      this.#digest.reset();
      this.#output.clear();
      this.#host.diverged(unit, status);
      return;
    }
    const last = this.#visibility.end(unit);
    if (last !== null) this.#digest.message(last, 0, last.length, last[0]!);
    const digest = this.#digest.finish(status);
    this.#digest.reset();
    const tokens = this.#output.take();
    this.#host.completed(unit, digest);
    this.#host.deliver(
      last === null ? tokens : Buffer.concat([...(tokens === null ? [] : [tokens]), last]),
      true,
    );
  }

  abandoned(): void {
    // What was given so far is remembered: the session is told of the loss as a whole.
    this.#flushDone(true);
    const tokens = this.#output.take();
    if (tokens !== null && this.#unit !== null) this.#host.deliver(tokens, false);
    this.#unit = null;
    this.#resume = null;
  }

  /** Of a batch that went out as a call: a DONE says whether another one follows, which is not known yet. */
  #holdDone(bytes: Buffer, start: number): void {
    this.#flushDone(true);
    this.#held = Buffer.from(bytes.subarray(start, start + DONE_TOKEN_BYTES));
  }

  #flushDone(hasMore: boolean): void {
    const held = this.#held;
    if (held === null || this.#unit === null) return;
    this.#held = null;
    held[0] = TOKEN.done;
    held[1] = hasMore ? held[1]! | DONE_STATUS.more : held[1]! & ~DONE_STATUS.more;
    this.#give(this.#unit, TOKEN.done, held, 0, held.length, true);
  }

  #note(unit: TdsUnit, kind: number, bytes: Buffer, start: number): void {
    switch (kind) {
      case TOKEN.error: {
        const number = numberOf(bytes, start);
        unit.errors.push(number);
        unit.error ??= String(number);
        return;
      }
      case TOKEN.done:
      case TOKEN.doneProcedure:
      case TOKEN.doneInProcedure:
        unit.completions++;
        return;
      case TOKEN.environmentChange:
        switch (bytes[start + 3]) {
          case ENVIRONMENT.commitTransaction:
            unit.committed = true;
            return;
          case ENVIRONMENT.rollbackTransaction:
            unit.rolledBack = true;
            return;
          case ENVIRONMENT.database: {
            const from = start + 5;
            unit.database = bytes.toString('utf16le', from, from + bytes[start + 4]! * 2);
            return;
          }
          case ENVIRONMENT.reset:
            unit.wasReset = true;
            return;
          default:
            return;
        }
    }
  }

  /** The token with a number of the driver's own in the place of the server's. */
  #giveHandle(unit: TdsUnit, bytes: Buffer, start: number, end: number): void {
    const copy = Buffer.from(bytes.subarray(start, end));
    copy.writeInt32LE(this.#host.prepared(unit, copy.readInt32LE(copy.length - 4)), copy.length - 4);
    this.#output.add(copy, 0, copy.length, true);
  }
}

const DONE_TOKEN_BYTES = 13;
const HANDLE = Buffer.from('handle');

/** The number that sp_prepare gives, if it is one and not NULL. */
export function isHandleToken(kind: number, bytes: Buffer, start: number): boolean {
  return kind === TOKEN.returnValue && returnValueName(bytes, start).toLowerCase() === '@handle';
}
