import type { ByteCursor } from './byte-cursor.ts';

/** How long a value of a type is on the wire (MS-TDS 2.2.5.4, 2.2.5.5). */
export type ValueLength =
  /** Always so many bytes. */
  | { readonly kind: 'fixed'; readonly bytes: number }
  /** A byte of length; 0 is NULL. */
  | { readonly kind: 'byte' }
  /** Two bytes of length; 0xFFFF is NULL. */
  | { readonly kind: 'short' }
  /** Four bytes of length; 0 is NULL (sql_variant). */
  | { readonly kind: 'long' }
  /** A text pointer, a timestamp, and four bytes of length; an empty pointer is NULL (text, ntext, image). */
  | { readonly kind: 'text-pointer' }
  /** A total, then chunks: what is called (max), xml, and types made by users. */
  | { readonly kind: 'chunked' };

const FIXED: Readonly<Record<number, number>> = {
  0x1f: 0, // null
  0x30: 1, // tinyint
  0x32: 1, // bit
  0x34: 2, // smallint
  0x38: 4, // int
  0x3a: 4, // smalldatetime
  0x3b: 4, // real
  0x3c: 8, // money
  0x3d: 8, // datetime
  0x3e: 8, // float
  0x7a: 4, // smallmoney
  0x7f: 8, // bigint
};

const BYTE: ValueLength = { kind: 'byte' };
const SHORT: ValueLength = { kind: 'short' };
const LONG: ValueLength = { kind: 'long' };
const CHUNKED: ValueLength = { kind: 'chunked' };
const TEXT_POINTER: ValueLength = { kind: 'text-pointer' };
const FIXED_LENGTHS = new Map<number, ValueLength>(
  Object.entries(FIXED).map(([type, bytes]) => [Number(type), { kind: 'fixed', bytes }]),
);

const COLLATION_BYTES = 5;
const MAX = 0xffff;

/**
 * Reads a TYPE_INFO.
 *
 * @throws Error for a type that is not known: what follows could not be read
 */
export function readTypeInfo(cursor: ByteCursor): ValueLength {
  const type = cursor.uint8();
  const fixed = FIXED_LENGTHS.get(type);
  if (fixed !== undefined) return fixed;
  switch (type) {
    case 0x28: // date
      return BYTE;
    case 0x24: // uniqueidentifier
    case 0x26: // int of any size
    case 0x68: // bit
    case 0x6d: // float of any size
    case 0x6e: // money of any size
    case 0x6f: // datetime of any size
    case 0x29: // time, with its scale
    case 0x2a: // datetime2
    case 0x2b: // datetimeoffset
    case 0x25: // varbinary of old
    case 0x2d: // binary of old
      cursor.skip(1);
      return BYTE;
    case 0x27: // varchar of old
    case 0x2f: // char of old
      cursor.skip(1 + COLLATION_BYTES);
      return BYTE;
    case 0x37: // decimal of old
    case 0x3f: // numeric of old
    case 0x6a: // decimal: length, precision, scale
    case 0x6c: // numeric
      cursor.skip(3);
      return BYTE;
    case 0xad: // binary
      cursor.skip(2);
      return SHORT;
    case 0xa5: // varbinary
      return cursor.uint16() === MAX ? CHUNKED : SHORT;
    case 0xa7: // varchar
    case 0xaf: // char
    case 0xe7: // nvarchar
    case 0xef: {
      // nchar
      const length = cursor.uint16();
      cursor.skip(COLLATION_BYTES);
      return length === MAX ? CHUNKED : SHORT;
    }
    case 0xf1: // xml, perhaps with the names of a schema
      if (cursor.uint8() === 1) {
        cursor.shortText();
        cursor.shortText();
        cursor.longText();
      }
      return CHUNKED;
    case 0xf0: // a type made by a user: its length, three names, and that of its assembly
      cursor.skip(2);
      for (let i = 0; i < 3; i++) cursor.shortText();
      cursor.longText();
      return CHUNKED;
    case 0x22: // image
      cursor.skip(4);
      return TEXT_POINTER;
    case 0x23: // text
    case 0x63: // ntext
      cursor.skip(4 + COLLATION_BYTES);
      return TEXT_POINTER;
    case 0x62: // sql_variant
      cursor.skip(4);
      return LONG;
    default:
      throw new Error(`a value of the unknown TDS type 0x${type.toString(16)}`);
  }
}

const PLP_NULL_LOW = 0xffffffff;

/** Goes over one value. For rows `isInPointer` is true: text and image have their pointers there. */
export function skipValue(cursor: ByteCursor, length: ValueLength): void {
  switch (length.kind) {
    case 'fixed':
      cursor.skip(length.bytes);
      return;
    case 'byte':
      cursor.skip(cursor.uint8());
      return;
    case 'short': {
      const bytes = cursor.uint16();
      if (bytes !== MAX) cursor.skip(bytes);
      return;
    }
    case 'long':
      cursor.skip(cursor.uint32());
      return;
    case 'text-pointer': {
      const pointer = cursor.uint8();
      if (pointer === 0) return;
      cursor.skip(pointer + 8);
      cursor.skip(cursor.uint32());
      return;
    }
    case 'chunked': {
      const low = cursor.uint32();
      const high = cursor.uint32();
      if (low === PLP_NULL_LOW && high === PLP_NULL_LOW) return;
      for (;;) {
        const chunk = cursor.uint32();
        if (chunk === 0) return;
        cursor.skip(chunk);
      }
    }
  }
}
