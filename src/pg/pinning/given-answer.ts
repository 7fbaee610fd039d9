import { BackendType, readTag } from '../backend-messages.ts';

/** A column of a result, as RowDescription tells it. */
export interface GivenColumn {
  readonly name: string;
  /** The table that it is a column of, and its number there; 0 if it is no table's. */
  readonly tableOid: number;
  readonly columnNumber: number;
  readonly typeOid: number;
  readonly typeModifier: number;
  /** 0: the values are text, 1: binary. */
  readonly format: number;
}

/** A value as it came over the wire, null for NULL. */
export type GivenValue = Buffer | null;

/** What the application was given for one statement. */
export interface GivenAnswer {
  /** Null if it was given no rows. */
  readonly columns: readonly GivenColumn[] | null;
  readonly rows: readonly (readonly GivenValue[])[];
  /** The tag of CommandComplete; null if it did not come: a cursor wanted only so many rows. */
  readonly tag: string | null;
}

/** Names of columns that the driver has added to a statement: no application was given them (`record-returning.ts`). */
export const RECORDED_PREFIX = 'holdfast_recorded_';

/** How many columns the application was given. */
export function givenWidth(columns: readonly GivenColumn[]): number {
  return columns.filter(({ name }) => !name.startsWith(RECORDED_PREFIX)).length;
}

const HEADER_BYTES = 5;

/** True for the messages that a kept answer consists of. */
export function isKept(type: number): boolean {
  return (
    type === BackendType.DataRow ||
    type === BackendType.RowDescription ||
    type === BackendType.CommandComplete ||
    type === BackendType.EmptyQueryResponse ||
    type === BackendType.PortalSuspended
  );
}

/** The answers to the statements of one unit, from the messages that were kept of them. */
export function readAnswers(bytes: Buffer): readonly GivenAnswer[] {
  const answers: GivenAnswer[] = [];
  let columns: readonly GivenColumn[] | null = null;
  let rows: (readonly GivenValue[])[] = [];
  let isOpen = false;
  const end = (tag: string | null): void => {
    answers.push({ columns, rows, tag });
    columns = null;
    rows = [];
    isOpen = false;
  };
  for (let at = 0; at < bytes.length;) {
    const type = bytes[at]!;
    const next = at + 1 + bytes.readUInt32BE(at + 1);
    const body = at + HEADER_BYTES;
    switch (type) {
      case BackendType.RowDescription:
        columns = readColumns(bytes, body);
        isOpen = true;
        break;
      case BackendType.DataRow:
        rows.push(readValues(bytes, body));
        isOpen = true;
        break;
      case BackendType.CommandComplete:
        end(readTag(bytes, body, next));
        break;
      case BackendType.PortalSuspended:
        end(null);
        break;
      default: // An empty statement has an answer, but a parser does not count it as a statement.
        isOpen = false;
    }
    at = next;
  }
  if (isOpen) end(null);
  return answers;
}

function readColumns(bytes: Buffer, body: number): readonly GivenColumn[] {
  const columns: GivenColumn[] = [];
  let at = body + 2;
  for (let left = bytes.readInt16BE(body); left > 0; left--) {
    const nameEnd = bytes.indexOf(0, at);
    const fields = nameEnd + 1;
    columns.push({
      name: bytes.toString('utf8', at, nameEnd),
      tableOid: bytes.readUInt32BE(fields),
      columnNumber: bytes.readInt16BE(fields + 4),
      typeOid: bytes.readUInt32BE(fields + 6),
      typeModifier: bytes.readInt32BE(fields + 12),
      format: bytes.readInt16BE(fields + 16),
    });
    at = fields + 18;
  }
  return columns;
}

function readValues(bytes: Buffer, body: number): readonly GivenValue[] {
  const values: GivenValue[] = [];
  let at = body + 2;
  for (let left = bytes.readInt16BE(body); left > 0; left--) {
    const length = bytes.readInt32BE(at);
    at += 4;
    values.push(length < 0 ? null : bytes.subarray(at, at + length));
    if (length > 0) at += length;
  }
  return values;
}

/** A whole number of a column of type int2, int4 or int8, in either format; null for anything else. */
export function integerOf(value: GivenValue, { format, typeOid }: GivenColumn): bigint | null {
  if (value === null || !INTEGER_TYPES.has(typeOid)) return null;
  if (format === 1) {
    switch (value.length) {
      case 2:
        return BigInt(value.readInt16BE());
      case 4:
        return BigInt(value.readInt32BE());
      case 8:
        return value.readBigInt64BE();
      default:
        return null;
    }
  }
  const text = value.toString('latin1');
  return /^-?\d+$/.test(text) ? BigInt(text) : null;
}

/** int8, int2, int4. */
const INTEGER_TYPES: ReadonlySet<number> = new Set([20, 21, 23]);
