import { BackendType } from '../backend-messages.ts';
import { errorCode } from '../response-hash.ts';

/**
 * Where a commit token stands (commit-token facts, A1, A2):
 *
 * - `'in-front'`: a unit of its own in the same write as the COMMIT behind it, with a Sync between the two;
 * - `'inside'`: extended messages behind the application's, in front of the one Sync;
 * - `'in-string'`: a statement more in the application's string.
 */
export type TokenPosition = 'in-front' | 'inside' | 'in-string';

/** What the server said to a token that it did not take. */
export interface TokenRefusal {
  /** SQLSTATE. */
  readonly code: string;
  /** The whole ErrorResponse. */
  readonly message: Buffer;
}

/** Errors that are the application's business: they say something of its own transaction, or of its own wish to stop. */
const OF_THE_APPLICATION = /^(?:40|53|55P03|57014)/;

export function isForApplication({ code }: TokenRefusal): boolean {
  return OF_THE_APPLICATION.test(code);
}

export interface UnitTokenShape {
  readonly position: TokenPosition;
  /** How many answers are the application's before the token's come; of what, `countsAll` says. Null: see `follows`. */
  readonly visible: number | null;
  /** Each message of the application's is answered and counted; otherwise only what its statements come to. */
  readonly countsAll?: boolean;
  /** The application sent a Query, and knows nothing of the extended protocol's answers. */
  readonly isConverted?: boolean;
}

/**
 * The commit token that goes out with a unit: it is there if and only if what the unit wrote is committed (R3, R6). Tells
 * of each message of the answer whether it is the application's.
 */
export class UnitToken {
  /** Its key, 16 bytes. */
  readonly key: Buffer;
  readonly position: TokenPosition;
  readonly #countsAll: boolean;
  readonly #isConverted: boolean;
  #visible: number;
  #seen = 0;
  #isHiding = false;
  /** The token's own row has come: an error behind it is that of the application's commit. */
  #isTaken = false;
  #refusal: TokenRefusal | null = null;
  /** Whether its transaction had an xid, so that the token's row was written; null until that was answered. */
  wasWritten: boolean | null = null;

  constructor(key: Buffer, { position, visible, countsAll = false, isConverted = false }: UnitTokenShape) {
    this.key = key;
    this.position = position;
    this.#countsAll = countsAll;
    this.#isConverted = isConverted;
    this.#visible = visible ?? Number.POSITIVE_INFINITY;
    this.#pass();
  }

  /** The token is being sent behind so many messages of the application's, if that was not known before. */
  follows(asked: number): void {
    if (this.#visible !== Number.POSITIVE_INFINITY) return;
    this.#visible = asked;
    this.#pass();
  }

  /** All that stood in front of the token has been answered. */
  get isReached(): boolean {
    return this.#seen >= this.#visible;
  }

  #pass(): void {
    if (this.position !== 'in-front' && this.#seen === this.#visible) this.#isHiding = true;
  }

  /** Why the server did not take it: the transaction is rolled back. */
  get refusal(): TokenRefusal | null {
    return this.#refusal;
  }

  /** The server has run its statement: it did not skip it behind an error. */
  get isTaken(): boolean {
    return this.#isTaken;
  }

  /** Of a token that has an answer of its own. */
  taken(): void {
    this.#isTaken = true;
  }

  /** The same. */
  refused(refusal: TokenRefusal): void {
    this.#refusal = refusal;
  }

  /** A message of the unit's answer. False: it is not for the application. */
  isVisible(type: number, bytes: Buffer, start: number, end: number): boolean {
    if (this.#refusal !== null) return false;
    if (this.#isHiding) {
      switch (type) {
        case BackendType.DataRow:
          this.#isTaken = true;
          this.wasWritten = tokenWasWritten(bytes, start);
          return false;
        case BackendType.CommandComplete:
          this.#isHiding = false;
          this.#isTaken = true;
          this.wasWritten ??= false;
          return false;
        case BackendType.ErrorResponse:
          // The last statement of a string is told as complete only behind its commit.
          if (this.#isTaken) return true;
          this.#refusal = {
            code: errorCode(bytes, start, end),
            message: Buffer.from(bytes.subarray(start, end)),
          };
          return false;
        default:
          return false;
      }
    }
    if (this.#ends(type)) {
      this.#seen++;
      this.#pass();
    }
    return !(this.#isConverted && isOfTheExtendedProtocol(type));
  }

  /** True for what is the last answer to something that was asked. */
  #ends(type: number): boolean {
    switch (type) {
      case BackendType.CommandComplete:
      case BackendType.EmptyQueryResponse:
      case BackendType.PortalSuspended:
        return true;
      case BackendType.ParseComplete:
      case BackendType.BindComplete:
      case BackendType.CloseComplete:
      case BackendType.RowDescription:
      case BackendType.NoData:
        return this.#countsAll;
      default:
        return false;
    }
  }
}

/** Of the row that the token's statement gives: its one column is NULL where there was nothing to commit. */
export function tokenWasWritten(bytes: Buffer, start: number): boolean {
  return bytes.readInt32BE(start + COLUMN_LENGTH_AT) >= 0;
}

/** Behind the type, the length and the number of columns. */
const COLUMN_LENGTH_AT = 7;

function isOfTheExtendedProtocol(type: number): boolean {
  return (
    type === BackendType.ParseComplete || type === BackendType.BindComplete || type === BackendType.NoData
  );
}
