import { ByteCursor, NeedMoreBytes } from './byte-cursor.ts';
import { RowShape } from './row-shape.ts';
import { TOKEN } from './token-kind.ts';
import { readTypeInfo, skipValue, type ValueLength } from './value-type.ts';

/** Takes the tokens of an answer; a range is good until the call returns. */
export interface TokenSink {
  token(kind: number, bytes: Buffer, start: number, end: number): void;
}

const NO_METADATA = 0xffff;
const DONE_BYTES = 12;
const FEATURES_END = 0xff;

/**
 * Cuts one answer into whole tokens (MS-TDS 2.2.7), in whatever pieces it comes.
 *
 * Only whole tokens are handed on: so what the application has of an answer whose server dies can be lined up with a new
 * answer token by token.
 */
export class TokenWalker {
  readonly #sink: TokenSink;
  readonly #cursor = new ByteCursor();
  /** Bytes of a token that is not whole yet, at the front of a buffer that grows. */
  #held: Buffer = EMPTY;
  #heldLength = 0;
  /** Not looked at again before so many bytes are there. */
  #waitsFor = 0;
  #shape: RowShape | null = null;

  constructor(sink: TokenSink) {
    this.#sink = sink;
  }

  /** Of the rows that come now; null if no COLMETADATA has come. */
  get shape(): RowShape | null {
    return this.#shape;
  }

  /** True between two tokens. */
  get isWhole(): boolean {
    return this.#heldLength === 0;
  }

  /** A new answer begins. */
  reset(): void {
    this.#heldLength = 0;
    this.#waitsFor = 0;
    this.#shape = null;
    if (this.#held.length > MAX_IDLE_BYTES) this.#held = EMPTY;
  }

  /** @throws Error at a token or type that is not known */
  push(chunk: Buffer): void {
    let bytes = chunk;
    if (this.#heldLength > 0) {
      this.#hold(chunk);
      if (this.#heldLength < this.#waitsFor) return;
      bytes = this.#held.subarray(0, this.#heldLength);
    }
    const cursor = this.#cursor;
    cursor.bytes = bytes;
    cursor.end = bytes.length;
    cursor.at = 0;
    let start = 0;
    try {
      while (cursor.at < cursor.end) {
        start = cursor.at;
        const kind = cursor.uint8();
        this.#skip(kind, cursor);
        this.#sink.token(kind, bytes, start, cursor.at);
        start = cursor.at;
      }
    } catch (error) {
      if (!(error instanceof NeedMoreBytes)) throw error;
    }
    const left = bytes.length - start;
    if (left === 0) {
      this.#heldLength = 0;
      this.#waitsFor = 0;
      return;
    }
    if (bytes === chunk) {
      this.#heldLength = 0;
      this.#hold(chunk.subarray(start));
    } else {
      this.#held.copy(this.#held, 0, start, this.#heldLength);
      this.#heldLength = left;
    }
    // A large value comes in many packets: to look at it from its beginning at each of them would take a square of time.
    this.#waitsFor = left > 1_048_576 ? left + (left >> 1) : 0;
  }

  /** The answer is over, or its packet: what is held now must be looked at. */
  flush(): void {
    this.#waitsFor = 0;
    if (this.#heldLength > 0) this.push(EMPTY);
  }

  #hold(chunk: Buffer): void {
    const length = this.#heldLength + chunk.length;
    if (length > this.#held.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(length, this.#held.length * 2, 8192));
      this.#held.copy(larger, 0, 0, this.#heldLength);
      this.#held = larger;
    }
    chunk.copy(this.#held, this.#heldLength);
    this.#heldLength = length;
  }

  #skip(kind: number, cursor: ByteCursor): void {
    switch (kind) {
      case TOKEN.row:
      case TOKEN.nullBitmapRow:
        if (this.#shape === null) throw new Error('a row without COLMETADATA');
        this.#shape.skip(cursor, kind);
        return;
      case TOKEN.done:
      case TOKEN.doneProcedure:
      case TOKEN.doneInProcedure:
        cursor.skip(DONE_BYTES);
        return;
      case TOKEN.returnStatus:
        cursor.skip(4);
        return;
      case TOKEN.columnMetadata:
        this.#shape = readColumnMetadata(cursor) ?? this.#shape;
        return;
      case TOKEN.returnValue:
        cursor.skip(2);
        cursor.shortText();
        cursor.skip(1 + 4 + 2);
        skipValue(cursor, readTypeInfo(cursor));
        return;
      case TOKEN.featureExtAck:
        while (cursor.uint8() !== FEATURES_END) cursor.skip(cursor.uint32());
        return;
      case TOKEN.sessionState:
      case TOKEN.federatedInfo:
        cursor.skip(cursor.uint32());
        return;
      case TOKEN.error:
      case TOKEN.info:
      case TOKEN.order:
      case TOKEN.environmentChange:
      case TOKEN.tableName:
      case TOKEN.columnInfo:
      case TOKEN.loginAck:
      case TOKEN.sspi:
        cursor.skip(cursor.uint16());
        return;
      default:
        throw new Error(`the unknown TDS token 0x${kind.toString(16)}`);
    }
  }
}

const EMPTY = Buffer.alloc(0);
const MAX_IDLE_BYTES = 65_536;

/** Null if the token says that there is none. */
function readColumnMetadata(cursor: ByteCursor): RowShape | null {
  const count = cursor.uint16();
  if (count === NO_METADATA) return null;
  const columns: ValueLength[] = [];
  for (let i = 0; i < count; i++) {
    cursor.skip(4 + 2); // user type, flags
    const length = readTypeInfo(cursor);
    if (length.kind === 'text-pointer') {
      // The parts of the table's name.
      for (let parts = cursor.uint8(); parts > 0; parts--) cursor.longText();
    }
    cursor.shortText();
    columns.push(length);
  }
  return new RowShape(columns);
}
