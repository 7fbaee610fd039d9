import { ByteCursor } from './byte-cursor.ts';
import { TOKEN } from './token-kind.ts';
import { skipValue, type ValueLength } from './value-type.ts';

/** What is known of the rows that follow a COLMETADATA token. */
export class RowShape {
  readonly #columns: readonly ValueLength[];
  readonly #isPlain: boolean;
  readonly #cursor = new ByteCursor();

  constructor(columns: readonly ValueLength[]) {
    this.#columns = columns;
    this.#isPlain = columns.every(({ kind }) => kind !== 'chunked' && kind !== 'text-pointer');
  }

  get columns(): number {
    return this.#columns.length;
  }

  /** Goes over a row whose first byte has been read. Throws `NeedMoreBytes`. */
  skip(cursor: ByteCursor, kind: number): void {
    if (kind === TOKEN.row) {
      for (const length of this.#columns) skipValue(cursor, length);
      return;
    }
    const bitmap = cursor.at;
    cursor.skip((this.#columns.length + 7) >> 3);
    for (let i = 0; i < this.#columns.length; i++) {
      if ((cursor.bytes[bitmap + (i >> 3)]! & (1 << (i & 7))) === 0) skipValue(cursor, this.#columns[i]!);
    }
  }

  /**
   * The bytes of a row that mean something: without the pointers and timestamps of text, and with values that come in
   * chunks in one piece. Two servers need not agree on the rest. Gives back the same range where there is nothing of it.
   */
  canonical(bytes: Buffer, start: number, end: number): Buffer {
    if (this.#isPlain) return bytes.subarray(start, end);
    const parts: Buffer[] = [];
    const cursor = this.#cursor;
    cursor.bytes = bytes;
    cursor.at = start + 1;
    cursor.end = end;
    const isBitmap = bytes[start] === TOKEN.nullBitmapRow;
    const bitmap = cursor.at;
    if (isBitmap) {
      cursor.skip((this.#columns.length + 7) >> 3);
      parts.push(bytes.subarray(bitmap, cursor.at));
    }
    this.#columns.forEach((length, i) => {
      if (isBitmap && (bytes[bitmap + (i >> 3)]! & (1 << (i & 7))) !== 0) return;
      const from = cursor.at;
      skipValue(cursor, length);
      parts.push(...meaning(bytes, from, cursor.at, length));
    });
    return Buffer.concat(parts);
  }
}

/** Of one value. */
function meaning(bytes: Buffer, from: number, to: number, { kind }: ValueLength): Buffer[] {
  if (kind === 'text-pointer') {
    const pointer = bytes[from]!;
    return pointer === 0 ? [NULL] : [bytes.subarray(from + 1 + pointer + 8, to)];
  }
  if (kind !== 'chunked') return [bytes.subarray(from, to)];
  const parts: Buffer[] = [];
  let total = 0;
  for (let at = from + 8; at < to;) {
    const length = bytes.readUInt32LE(at);
    parts.push(bytes.subarray(at + 4, at + 4 + length));
    total += length;
    at += 4 + length;
  }
  // Without any chunk, not even the last and empty one, it is NULL.
  if (to === from + 8) return [NULL];
  const length = Buffer.alloc(4);
  length.writeUInt32LE(total);
  return [length, ...parts];
}

const NULL = Buffer.from([0xff, 0xff, 0xff, 0xff]);
