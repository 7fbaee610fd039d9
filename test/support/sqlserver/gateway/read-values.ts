import { ByteCursor } from '../../../../src/tedious/wire/byte-cursor.ts';
import type { SqlType, SqlValue } from '../engine.ts';

const DAY_MILLIS = 86_400_000;
const DAYS_BEFORE_1970 = 719_162;
const DAYS_FROM_1900_TO_1970 = 25_567;

/** A value and its type, as a client writes parameters and rows of bulk loads. */
export class ValueReader {
  readonly cursor = new ByteCursor();

  constructor(bytes: Buffer, at: number) {
    this.cursor.bytes = bytes;
    this.cursor.at = at;
    this.cursor.end = bytes.length;
  }

  bytes(count: number): Buffer {
    const { cursor } = this;
    const from = cursor.at;
    cursor.skip(count);
    return cursor.bytes.subarray(from, cursor.at);
  }

  /** Reads a TYPE_INFO, and gives back how its values are read. */
  type(): { readonly type: SqlType; readonly read: () => SqlValue } {
    const { cursor } = this;
    const code = cursor.uint8();
    const lead = (read: (bytes: Buffer) => SqlValue) => (): SqlValue => {
      const length = cursor.uint8();
      return length === 0 ? null : read(this.bytes(length));
    };
    switch (code) {
      case 0x1f:
        return { type: { name: 'nvarchar', length: 1 }, read: () => null };
      case 0x30:
        return { type: { name: 'tinyint' }, read: () => BigInt(cursor.uint8()) };
      case 0x32:
        return { type: { name: 'bit' }, read: () => cursor.uint8() === 1 };
      case 0x34:
        return { type: { name: 'smallint' }, read: () => BigInt(this.bytes(2).readInt16LE()) };
      case 0x38:
        return { type: { name: 'int' }, read: () => BigInt(this.bytes(4).readInt32LE()) };
      case 0x7f:
        return { type: { name: 'bigint' }, read: () => this.bytes(8).readBigInt64LE() };
      case 0x3e:
        return { type: { name: 'float' }, read: () => this.bytes(8).readDoubleLE() };
      case 0x26: {
        const size = cursor.uint8();
        const names = { 1: 'tinyint', 2: 'smallint', 4: 'int', 8: 'bigint' } as const;
        return { type: { name: names[size as 4] }, read: lead(integer) };
      }
      case 0x68:
        cursor.skip(1);
        return { type: { name: 'bit' }, read: lead((bytes) => bytes[0] === 1) };
      case 0x6d: {
        const size = cursor.uint8();
        return {
          type: { name: size === 4 ? 'real' : 'float' },
          read: lead((bytes) => (bytes.length === 4 ? bytes.readFloatLE() : bytes.readDoubleLE())),
        };
      }
      case 0x6f:
        cursor.skip(1);
        return { type: { name: 'datetime' }, read: lead(oldDateTime) };
      case 0x6a:
      case 0x6c: {
        cursor.skip(1);
        const precision = cursor.uint8();
        const scale = cursor.uint8();
        return { type: { name: 'decimal', precision, scale }, read: lead((bytes) => decimal(bytes, scale)) };
      }
      case 0x24:
        cursor.skip(1);
        return { type: { name: 'uniqueidentifier' }, read: lead(uuid) };
      case 0x28:
        return { type: { name: 'date' }, read: lead((bytes) => day(bytes)) };
      case 0x29: {
        const scale = cursor.uint8();
        return { type: { name: 'time', scale }, read: lead((bytes) => clock(bytes, scale)) };
      }
      case 0x2a: {
        const scale = cursor.uint8();
        return {
          type: { name: 'datetime2', scale },
          read: lead((bytes) => `${day(bytes.subarray(-3))} ${clock(bytes.subarray(0, -3), scale)}`),
        };
      }
      case 0x2b: {
        const scale = cursor.uint8();
        return {
          type: { name: 'datetimeoffset', scale },
          read: lead((bytes) => `${day(bytes.subarray(-5, -2))} ${clock(bytes.subarray(0, -5), scale)}+00`),
        };
      }
      case 0xa5:
      case 0xad: {
        const length = cursor.uint16();
        if (length === 0xffff)
          return { type: { name: 'varbinary', length: 'max' }, read: () => this.#chunks() };
        return { type: { name: 'varbinary', length }, read: () => this.#short() };
      }
      case 0xa7:
      case 0xaf:
      case 0xe7:
      case 0xef: {
        const length = cursor.uint16();
        cursor.skip(5);
        const encoding = code === 0xe7 || code === 0xef ? 'utf16le' : 'latin1';
        const name = encoding === 'utf16le' ? 'nvarchar' : 'varchar';
        const read =
          length === 0xffff ? (): Buffer | null => this.#chunks() : (): Buffer | null => this.#short();
        return {
          type: { name, length: length === 0xffff ? 'max' : length },
          read: () => read()?.toString(encoding) ?? null,
        };
      }
      default:
        throw new Error(`the test server does not model parameters of type 0x${code.toString(16)}`);
    }
  }

  #short(): Buffer | null {
    const length = this.cursor.uint16();
    return length === 0xffff ? null : this.bytes(length);
  }

  #chunks(): Buffer | null {
    const { cursor } = this;
    const low = cursor.uint32();
    const high = cursor.uint32();
    if (low === 0xffffffff && high === 0xffffffff) return null;
    const parts: Buffer[] = [];
    for (let length = cursor.uint32(); length > 0; length = cursor.uint32()) parts.push(this.bytes(length));
    return Buffer.concat(parts);
  }
}

function integer(bytes: Buffer): bigint {
  if (bytes.length === 1) return BigInt(bytes[0]!);
  return BigInt(bytes.length === 8 ? bytes.readBigInt64LE() : bytes.readIntLE(0, bytes.length));
}

function decimal(bytes: Buffer, scale: number): string {
  let number = 0n;
  for (let i = bytes.length - 1; i > 0; i--) number = (number << 8n) | BigInt(bytes[i]!);
  const digits = number.toString().padStart(scale + 1, '0');
  const text = scale === 0 ? digits : `${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
  return bytes[0] === 0 ? `-${text}` : text;
}

function uuid(bytes: Buffer): string {
  const copy = Buffer.from(bytes);
  copy.subarray(0, 4).reverse();
  copy.subarray(4, 6).reverse();
  copy.subarray(6, 8).reverse();
  const hex = copy.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

function day(bytes: Buffer): string {
  return new Date((bytes.readUIntLE(0, 3) - DAYS_BEFORE_1970) * DAY_MILLIS).toISOString().slice(0, 10);
}

function clock(bytes: Buffer, scale: number): string {
  const units = bytes.readUIntLE(0, bytes.length);
  const seconds = Math.floor(units / 10 ** scale);
  const fraction = String(units % 10 ** scale).padStart(scale, '0');
  const two = (value: number): string => String(value).padStart(2, '0');
  return `${two(Math.floor(seconds / 3600))}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}${scale > 0 ? `.${fraction}` : ''}`;
}

/** Days since 1900 and three-hundredths of a second. */
function oldDateTime(bytes: Buffer): string {
  const days = bytes.readInt32LE(0) - DAYS_FROM_1900_TO_1970;
  const millis = Math.round((bytes.readUInt32LE(4) * 10) / 3);
  return new Date(days * DAY_MILLIS + millis).toISOString().replace('T', ' ').replace('Z', '');
}
