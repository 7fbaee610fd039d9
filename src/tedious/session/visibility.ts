import { randomUUID } from 'node:crypto';
import { readMessage } from '../wire/read-token.ts';
import { DONE_STATUS, ENVIRONMENT, TOKEN } from '../wire/token-kind.ts';
import { doneToken } from '../wire/write-token.ts';
import type { TdsUnit } from './tds-unit.ts';

/**
 * Marks the beginning and the end of the application's own part of a batch that the driver has put around it. The same for
 * the whole process, so that the text of a statement stays the same.
 */
export const MARK = `holdfast ${randomUUID()}`;

const COMMIT_COMMAND = 0xd5;
const TRANSACTION_CHANGES: ReadonlySet<number | undefined> = new Set([
  ENVIRONMENT.beginTransaction,
  ENVIRONMENT.commitTransaction,
  ENVIRONMENT.rollbackTransaction,
]);

/** Which tokens of an answer are the application's, where the driver has had a part in the question. */
export abstract class Visibility {
  static readonly plain: Visibility = new (class extends Visibility {
    override shows(): boolean {
      return true;
    }

    override end(): null {
      return null;
    }
  })();

  static of(unit: TdsUnit): Visibility {
    switch (unit.form) {
      case 'plain':
        return Visibility.plain;
      case 'commit-batch':
        return new OfCommitBatch();
      case 'wrapped':
        return new OfWrapped(unit.request.kind === 'batch');
    }
  }

  abstract shows(kind: number, bytes: Buffer, start: number): boolean;

  /** All that is the application's has come. */
  get isBehind(): boolean {
    return false;
  }

  /** What the server answers as to a call is to be answered as to a batch. */
  get isBatchInCall(): boolean {
    return false;
  }

  /** The last token, if it is to be the driver's. */
  abstract end(unit: TdsUnit): Buffer | null;
}

/** The INSERT of the token is the driver's; of the COMMIT there is what it says, and one DONE. */
class OfCommitBatch extends Visibility {
  override shows(kind: number): boolean {
    return kind === TOKEN.environmentChange || kind === TOKEN.error || kind === TOKEN.info;
  }

  override end(unit: TdsUnit): Buffer {
    const status = unit.errors.length === 0 ? 0 : DONE_STATUS.error;
    return doneToken(status, { command: unit.errors.length === 0 ? COMMIT_COMMAND : 0 });
  }
}

/** What stands between the marks, errors wherever they come, and the end of the call. */
class OfWrapped extends Visibility {
  /** It was a batch, and went out as a call. */
  readonly #isBatch: boolean;
  #marks = 0;

  constructor(isBatch: boolean) {
    super();
    this.#isBatch = isBatch;
  }

  override get isBatchInCall(): boolean {
    return this.#isBatch;
  }

  override get isBehind(): boolean {
    return this.#marks > 1;
  }

  override shows(kind: number, bytes: Buffer, start: number): boolean {
    if (kind === TOKEN.info && readMessage(bytes, start).message === MARK) {
      this.#marks++;
      return false;
    }
    if (kind === TOKEN.error) return true;
    if (kind === TOKEN.environmentChange && TRANSACTION_CHANGES.has(bytes[start + 3])) return false;
    if (kind === TOKEN.returnStatus || kind === TOKEN.doneProcedure) return !this.#isBatch;
    return this.#marks === 1;
  }

  override end(): null {
    return null;
  }
}
