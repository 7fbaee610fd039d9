import { bodyAt } from './all-headers.ts';
import { ByteCursor } from './byte-cursor.ts';
import { readTypeInfo, skipValue, type ValueLength } from './value-type.ts';

/** One parameter. Its value is bytes of the payload, as the wire has them: lengths and chunks included. */
export interface RpcParameter {
  /** With its @; empty if it goes by its place. */
  readonly name: string;
  readonly isOutput: boolean;
  /** The first byte of its TYPE_INFO. */
  readonly type: number;
  readonly length: ValueLength;
  /** Where in the payload its value begins and ends. */
  readonly start: number;
  readonly end: number;
}

/** A call of a procedure (MS-TDS 2.2.6.6). */
export interface RpcRequest {
  /** In lower case, without a schema if it is one of those that SQL Server knows by a number. */
  readonly procedure: string;
  readonly parameters: readonly RpcParameter[];
  /** False: there is more in the message than could be read here. */
  readonly isComplete: boolean;
}

/** The procedures that go by a number (MS-TDS 2.2.6.6). */
const PROCEDURES: readonly string[] = [
  '',
  'sp_cursor',
  'sp_cursoropen',
  'sp_cursorprepare',
  'sp_cursorexecute',
  'sp_cursorprepexec',
  'sp_cursorunprepare',
  'sp_cursorfetch',
  'sp_cursoroption',
  'sp_cursorclose',
  'sp_executesql',
  'sp_prepare',
  'sp_execute',
  'sp_prepexec',
  'sp_prepexecrpc',
  'sp_unprepare',
];

const BY_NUMBER = 0xffff;
const OUTPUT = 0x01;
/** Longer names than this do not exist; a byte above it separates two calls. */
const MAX_NAME_CHARACTERS = 128;
const TEXT_TYPES: ReadonlySet<number> = new Set([0x22, 0x23, 0x63]);
const NULL_TEXT = 0xffffffff;

/** @param payload of a message of type `MESSAGE.rpc` */
export function readRpcRequest(payload: Buffer): RpcRequest {
  const cursor = new ByteCursor();
  cursor.bytes = payload;
  cursor.at = bodyAt(payload);
  cursor.end = payload.length;
  const procedure = readProcedure(cursor);
  cursor.skip(2); // option flags
  const parameters: RpcParameter[] = [];
  try {
    while (cursor.at < cursor.end) {
      if (payload[cursor.at]! > MAX_NAME_CHARACTERS - 1) return { procedure, parameters, isComplete: false };
      parameters.push(readParameter(cursor));
    }
  } catch {
    // Of a type that is not read here, such as a table.
    return { procedure, parameters, isComplete: false };
  }
  return { procedure, parameters, isComplete: true };
}

function readProcedure(cursor: ByteCursor): string {
  const length = cursor.uint16();
  if (length === BY_NUMBER) return PROCEDURES[cursor.uint16()] ?? '';
  const from = cursor.at;
  cursor.skip(length * 2);
  return cursor.bytes.toString('utf16le', from, cursor.at).toLowerCase();
}

function readParameter(cursor: ByteCursor): RpcParameter {
  const name = cursor.shortText();
  const isOutput = (cursor.uint8() & OUTPUT) !== 0;
  const type = cursor.bytes[cursor.at] ?? 0;
  const length = readTypeInfo(cursor);
  const start = cursor.at;
  // Text has no pointer here, but a length of four bytes.
  if (TEXT_TYPES.has(type)) {
    const bytes = cursor.uint32();
    if (bytes !== NULL_TEXT) cursor.skip(bytes);
  } else skipValue(cursor, length);
  return { name, isOutput, type, length, start, end: cursor.at };
}

/** The value of a parameter of type nvarchar, short or (max); null for NULL and for other types. */
export function textOf(payload: Buffer, { type, length, start, end }: RpcParameter): string | null {
  if (type !== 0xe7 && type !== 0xef) return null;
  if (length.kind === 'short') {
    return payload.readUInt16LE(start) === 0xffff ? null : payload.toString('utf16le', start + 2, end);
  }
  if (end === start + 8) return null;
  const parts: Buffer[] = [];
  for (let at = start + 8; at < end;) {
    const bytes = payload.readUInt32LE(at);
    parts.push(payload.subarray(at + 4, at + 4 + bytes));
    at += 4 + bytes;
  }
  return Buffer.concat(parts).toString('utf16le');
}

/** The value of a parameter of type int; null for NULL and for other types. */
export function integerOf(payload: Buffer, { type, start, end }: RpcParameter): number | null {
  if (type === 0x38) return payload.readInt32LE(start);
  return type === 0x26 && end - start === 5 ? payload.readInt32LE(start + 1) : null;
}
