/**
 * Backend messages of the PostgreSQL protocol, version 3: reading the few that the driver must understand, and making
 * those that it answers itself. https://www.postgresql.org/docs/current/protocol-message-formats.html
 */
import { SqlError } from './sql-runner.ts';

/** Message types, as their byte. */
export const BackendType = {
  Authentication: 0x52, // R
  BackendKeyData: 0x4b, // K
  BindComplete: 0x32, // 2
  CloseComplete: 0x33, // 3
  CommandComplete: 0x43, // C
  CopyData: 0x64, // d
  CopyDone: 0x63, // c
  CopyInResponse: 0x47, // G
  CopyOutResponse: 0x48, // H
  CopyBothResponse: 0x57, // W
  DataRow: 0x44, // D
  EmptyQueryResponse: 0x49, // I
  ErrorResponse: 0x45, // E
  NoData: 0x6e, // n
  NoticeResponse: 0x4e, // N
  NotificationResponse: 0x41, // A
  ParameterDescription: 0x74, // t
  ParameterStatus: 0x53, // S
  ParseComplete: 0x31, // 1
  PortalSuspended: 0x73, // s
  ReadyForQuery: 0x5a, // Z
  RowDescription: 0x54, // T
} as const;

/** Fields of an ErrorResponse or NoticeResponse by their code letter (S, V, C, M, D, H, …). */
export type ErrorFields = ReadonlyMap<string, string>;

/** Reads the fields of an ErrorResponse; `start` is behind the length. */
export function readErrorFields(bytes: Buffer, start: number, end: number): ErrorFields {
  const fields = new Map<string, string>();
  let at = start;
  while (at < end && bytes[at] !== 0) {
    const code = String.fromCharCode(bytes[at]!);
    const stop = bytes.indexOf(0, at + 1);
    if (stop < 0 || stop >= end) break;
    fields.set(code, bytes.toString('utf8', at + 1, stop));
    at = stop + 1;
  }
  return fields;
}

/** The error that a server gives to a hidden statement; `start` is behind the length. */
export function readSqlError(bytes: Buffer, start: number, end: number): SqlError {
  const fields = readErrorFields(bytes, start, end);
  return new SqlError(fields.get('M') ?? '', fields.get('C') ?? 'XX000', fields.get('V') ?? 'ERROR');
}

/** FATAL and PANIC end the connection; V is the field that no locale translates (R14). */
export function endsConnection(fields: ErrorFields): boolean {
  const severity = fields.get('V') ?? fields.get('S');
  return severity === 'FATAL' || severity === 'PANIC';
}

/** Reads the tag of a CommandComplete. */
export function readTag(bytes: Buffer, start: number, end: number): string {
  return bytes.toString('latin1', start, end - 1);
}

/** The values of a DataRow as text. */
export function readRow(bytes: Buffer, start: number): (string | null)[] {
  const count = bytes.readInt16BE(start);
  const values: (string | null)[] = [];
  let at = start + 2;
  for (let i = 0; i < count; i++) {
    const length = bytes.readInt32BE(at);
    at += 4;
    if (length < 0) values.push(null);
    else {
      values.push(bytes.toString('utf8', at, at + length));
      at += length;
    }
  }
  return values;
}

/** Name and value of a ParameterStatus. */
export function readParameter(bytes: Buffer, start: number, end: number): { name: string; value: string } {
  const middle = bytes.indexOf(0, start);
  return { name: bytes.toString('utf8', start, middle), value: bytes.toString('utf8', middle + 1, end - 1) };
}

function message(type: number, body: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(body.length + 5);
  bytes[0] = type;
  bytes.writeInt32BE(body.length + 4, 1);
  body.copy(bytes, 5);
  return bytes;
}

const EMPTY = Buffer.alloc(0);

/** A message without a body, such as ParseComplete. */
export function bodyless(type: number): Buffer {
  return message(type, EMPTY);
}

export function authenticationOk(): Buffer {
  return message(BackendType.Authentication, Buffer.from([0, 0, 0, 0]));
}

export function readyForQuery(status: number): Buffer {
  return message(BackendType.ReadyForQuery, Buffer.from([status]));
}

export function commandComplete(tag: string): Buffer {
  return message(BackendType.CommandComplete, Buffer.from(`${tag}\0`, 'latin1'));
}

/** A ParameterDescription of a statement without parameters. */
export function noParameters(): Buffer {
  return message(BackendType.ParameterDescription, Buffer.from([0, 0]));
}

export function parameterStatus(name: string, value: string): Buffer {
  return message(BackendType.ParameterStatus, Buffer.from(`${name}\0${value}\0`, 'utf8'));
}

export function backendKeyData(processId: number, secretKey: number): Buffer {
  const body = Buffer.alloc(8);
  body.writeInt32BE(processId, 0);
  body.writeInt32BE(secretKey, 4);
  return message(BackendType.BackendKeyData, body);
}

export function errorResponse(fields: ReadonlyMap<string, string>): Buffer {
  const parts: string[] = [];
  for (const [code, value] of fields) parts.push(`${code}${value.replaceAll('\0', '')}\0`);
  return message(BackendType.ErrorResponse, Buffer.from(`${parts.join('')}\0`, 'utf8'));
}
