import type { ResultColumn, SqlType, SqlValue } from '../engine.ts';

/** Values and columns as the wire has them (MS-TDS 2.2.5.4 to 2.2.5.6, 2.2.7.4). */

export const COLLATION = Buffer.from([0x09, 0x04, 0xd0, 0x00, 0x34]);
const MAX = 0xffff;
const DAY_MILLIS = 86_400_000;
const DAYS_BEFORE_1970 = 719_162;

function uint16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes;
}

export function shortText(text: string): Buffer {
  return Buffer.concat([Buffer.from([text.length]), Buffer.from(text, 'utf16le')]);
}

export function typeInfo(type: SqlType): Buffer {
  const { length = 'max', scale = 7, precision = 18 } = type;
  const units = (factor: number): number =>
    length === 'max' || length * factor > 8000 ? MAX : length * factor;
  switch (type.name) {
    case 'bit':
      return Buffer.from([0x68, 1]);
    case 'tinyint':
      return Buffer.from([0x26, 1]);
    case 'smallint':
      return Buffer.from([0x26, 2]);
    case 'int':
      return Buffer.from([0x26, 4]);
    case 'bigint':
      return Buffer.from([0x26, 8]);
    case 'real':
      return Buffer.from([0x6d, 4]);
    case 'float':
      return Buffer.from([0x6d, 8]);
    case 'decimal':
    case 'money':
      return Buffer.from([0x6a, 17, precision, type.scale ?? 0]);
    case 'uniqueidentifier':
      return Buffer.from([0x24, 16]);
    case 'date':
      return Buffer.from([0x28]);
    case 'time':
      return Buffer.from([0x29, scale]);
    case 'datetime':
    case 'smalldatetime':
    case 'datetime2':
      return Buffer.from([0x2a, scale]);
    case 'datetimeoffset':
      return Buffer.from([0x2b, scale]);
    case 'binary':
    case 'varbinary':
    case 'image':
      return Buffer.concat([Buffer.from([0xa5]), uint16(units(1))]);
    default:
      return Buffer.concat([Buffer.from([0xe7]), uint16(units(2)), COLLATION]);
  }
}

export function columnMetadata(columns: readonly ResultColumn[]): Buffer {
  return Buffer.concat([
    Buffer.from([0x81]),
    uint16(columns.length),
    ...columns.flatMap(({ name, type, nullable, identity }) => [
      Buffer.alloc(4),
      uint16((nullable ? 1 : 0) | 8 | (identity ? 16 : 0)),
      typeInfo(type),
      shortText(name),
    ]),
  ]);
}

export function row(columns: readonly ResultColumn[], values: readonly SqlValue[]): Buffer {
  return Buffer.concat([
    Buffer.from([0xd1]),
    ...columns.map(({ type }, i) => valueBytes(type, values[i] ?? null)),
  ]);
}

export function valueBytes(type: SqlType, value: SqlValue): Buffer {
  const info = typeInfo(type);
  const isLong = (info[0] === 0xe7 || info[0] === 0xa5) && info.readUInt16LE(1) === MAX;
  const isShort = info[0] === 0xe7 || info[0] === 0xa5;
  if (value === null) {
    if (isLong) return Buffer.alloc(8, 0xff);
    return isShort ? uint16(MAX) : Buffer.from([0]);
  }
  if (isLong || isShort) {
    const bytes = Buffer.isBuffer(value) ? value : Buffer.from(String(value), 'utf16le');
    return isLong ? chunked(bytes) : Buffer.concat([uint16(bytes.length), bytes]);
  }
  const body = fixed(type, value, info);
  return Buffer.concat([Buffer.from([body.length]), body]);
}

function chunked(bytes: Buffer): Buffer {
  const head = Buffer.alloc(12);
  head.writeBigUInt64LE(BigInt(bytes.length), 0);
  head.writeUInt32LE(bytes.length, 8);
  return bytes.length === 0
    ? Buffer.concat([head.subarray(0, 8), Buffer.alloc(4)])
    : Buffer.concat([head, bytes, Buffer.alloc(4)]);
}

function fixed(type: SqlType, value: Exclude<SqlValue, null>, info: Buffer): Buffer {
  switch (info[0]) {
    case 0x68:
      return Buffer.from([value === true || value === 1n ? 1 : 0]);
    case 0x26: {
      const bytes = Buffer.alloc(8);
      bytes.writeBigInt64LE(value as bigint);
      return bytes.subarray(0, info[1]);
    }
    case 0x6d: {
      const bytes = Buffer.alloc(info[1]!);
      if (info[1] === 4) bytes.writeFloatLE(Number(value));
      else bytes.writeDoubleLE(Number(value));
      return bytes;
    }
    case 0x6a:
      return decimal(String(value), type.scale ?? 0);
    case 0x24:
      return uuid(String(value));
    case 0x28:
      return days(String(value).slice(0, 10));
    case 0x29:
      return time(String(value), type.scale ?? 7);
    case 0x2a: {
      const [date = '', clock = '00:00:00'] = String(value).split(' ');
      return Buffer.concat([time(clock, type.scale ?? 7), days(date)]);
    }
    default: {
      const at = new Date(
        String(value)
          .replace(' ', 'T')
          .replace(/([+-]\d\d)$/, '$1:00'),
      );
      const [date = '', clock = ''] = at.toISOString().replace('Z', '').split('T');
      return Buffer.concat([time(clock, type.scale ?? 7), days(date), Buffer.alloc(2)]);
    }
  }
}

function decimal(text: string, scale: number): Buffer {
  const isNegative = text.startsWith('-');
  const [whole = '0', fraction = ''] = text.replace('-', '').split('.');
  let number = BigInt(whole + fraction.padEnd(scale, '0').slice(0, scale));
  const bytes = Buffer.alloc(17);
  bytes[0] = isNegative ? 0 : 1;
  for (let i = 1; i < 17; i++) {
    bytes[i] = Number(number & 0xffn);
    number >>= 8n;
  }
  return bytes;
}

function uuid(text: string): Buffer {
  const bytes = Buffer.from(text.replaceAll('-', ''), 'hex');
  bytes.subarray(0, 4).reverse();
  bytes.subarray(4, 6).reverse();
  bytes.subarray(6, 8).reverse();
  return bytes;
}

function days(date: string): Buffer {
  const bytes = Buffer.alloc(3);
  bytes.writeUIntLE(Date.parse(`${date}T00:00:00Z`) / DAY_MILLIS + DAYS_BEFORE_1970, 0, 3);
  return bytes;
}

function time(clock: string, scale: number): Buffer {
  const [hours = '0', minutes = '0', seconds = '0'] = clock.split(':');
  const [whole = '0', fraction = ''] = seconds.split('.');
  const units =
    (Number(hours) * 3600 + Number(minutes) * 60 + Number(whole)) * 10 ** scale +
    Number(fraction.padEnd(scale, '0').slice(0, scale) || '0');
  const bytes = Buffer.alloc(scale <= 2 ? 3 : scale <= 4 ? 4 : 5);
  bytes.writeUIntLE(units, 0, bytes.length);
  return bytes;
}
