import { BackendType } from '../backend-messages.ts';
import { errorCode } from '../response-hash.ts';

const HEADER_BYTES = 5;
/** Behind the name of a column in RowDescription. */
const COLUMN_FACTS_BYTES = 18;

/**
 * Errors that may have come of the added columns: their table is another one by now, they may not be read, it can't
 * return rows, or returns too many columns.
 */
const OF_THE_COLUMNS = /^(?:42|0A|54)/;

/** The message that stands where a description would: the statement gives no rows. */
const NO_DATA = Buffer.from([BackendType.NoData, 0, 0, 0, 4]);

export interface RecordedShape {
  /** How many columns were added, behind the application's own. */
  readonly columns: number;
  /** The application gets rows of its own. */
  readonly returnsRows: boolean;
  /** It has sent a Query, in whose answer a statement without rows has no description. */
  readonly isSimple: boolean;
}

/** Cuts the answer of a statement that was made to return more columns than the application asked for. */
export class RecordedAnswer {
  readonly #shape: RecordedShape;
  #hasBegun = false;
  #isRefused = false;

  constructor(shape: RecordedShape) {
    this.#shape = shape;
  }

  /** The statement has failed, perhaps because of the added columns: nobody was told. */
  get isRefused(): boolean {
    return this.#isRefused;
  }

  /** False: the message is an error that the application may not have caused. */
  accepts(type: number, bytes: Buffer, start: number, end: number): boolean {
    if (type === BackendType.ErrorResponse && OF_THE_COLUMNS.test(errorCode(bytes, start, end))) {
      this.#isRefused = true;
    }
    return !this.#isRefused;
  }

  /** True for the first message. */
  begins(): boolean {
    const begins = !this.#hasBegun;
    this.#hasBegun = true;
    return begins;
  }

  /** What the application gets of a message: `bytes` itself if it is all of it, null if it is nothing. */
  partForApplication(type: number, bytes: Buffer, start: number, end: number): Buffer | null {
    const { columns, returnsRows, isSimple } = this.#shape;
    switch (type) {
      case BackendType.RowDescription:
        if (!returnsRows) return isSimple ? null : NO_DATA;
        return cut(bytes, start, columns, (at) => bytes.indexOf(0, at) + 1 + COLUMN_FACTS_BYTES);
      case BackendType.DataRow:
        if (!returnsRows) return null;
        return cut(bytes, start, columns, (at) => at + 4 + Math.max(0, bytes.readInt32BE(at)));
      default:
        return end > start ? bytes : null;
    }
  }
}

/** A message that begins with the number of its parts, without the last ones. */
function cut(bytes: Buffer, start: number, without: number, next: (at: number) => number): Buffer {
  const body = start + HEADER_BYTES;
  const count = bytes.readUInt16BE(body) - without;
  let at = body + 2;
  for (let left = count; left > 0; left--) at = next(at);
  const part = Buffer.from(bytes.subarray(start, at));
  part.writeInt32BE(part.length - 1, 1);
  part.writeUInt16BE(count, HEADER_BYTES);
  return part;
}
