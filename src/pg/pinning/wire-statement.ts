import { serialize } from 'pg-protocol';
import { FrontendType, readParse, readQuery, readTarget } from '../frontend-messages.ts';

/** A parameter as Bind brought it. */
export interface WireParameter {
  readonly value: Buffer | null;
  /** 0: text, 1: binary. */
  readonly format: number;
}

/** The SQL of a unit that runs, and what it is run with. */
export interface WireStatement {
  readonly isSimple: boolean;
  readonly text: string;
  /** Types that its Parse declared, as object identifiers; 0 where the server was to find out. */
  readonly types: readonly number[];
  readonly parameters: readonly WireParameter[];
}

/** Where the Parse of a named statement is found that was parsed earlier. */
export type ParseMessages = (name: string) => Buffer | undefined;

const HEADER_BYTES = 5;

/** What a unit runs. A string says why that can't be told. */
export function readWireStatement(unit: Buffer, parseOf: ParseMessages): WireStatement | string {
  let parsed: { text: string; types: readonly number[] } | null = null;
  let bind: { start: number; end: number } | null = null;
  let executes = 0;
  const named = new Map<string, Buffer>();
  for (const { type, start, end } of messagesOf(unit)) {
    const body = start + HEADER_BYTES;
    switch (type) {
      case FrontendType.Query:
        if (start !== 0 || end !== unit.length) return 'it mixes both protocols';
        return { isSimple: true, text: readQuery(unit, body, end), types: [], parameters: [] };
      case FrontendType.Parse: {
        const { name } = readParse(unit, body);
        const message = unit.subarray(start, end);
        named.set(name, message);
        break;
      }
      case FrontendType.Bind: {
        if (bind !== null) return SEVERAL;
        bind = { start: body, end };
        const { statement } = bindNames(unit, body);
        const message = named.get(statement) ?? (statement === '' ? undefined : parseOf(statement));
        if (message !== undefined) parsed = parseContents(message);
        break;
      }
      case FrontendType.Execute:
        if (++executes > 1) return SEVERAL;
        break;
      case FrontendType.Describe:
      case FrontendType.Close:
      case FrontendType.Flush:
      case FrontendType.Sync:
        break;
      default:
        return 'it has messages beside its statement';
    }
  }
  if (bind === null || executes === 0) return 'it is read in parts';
  if (parsed === null) return 'its text is not known';
  return { isSimple: false, ...parsed, parameters: readParameters(unit, bind.start) };
}

const SEVERAL = 'it is one of several in a unit';

/** The prepared statement that a pinned form is bound to. Named: the application's unnamed one stays as it is. */
export const PINNED_STATEMENT = 'holdfast_pinned';

/** Prepares a pinned form. Closed by Sync. */
export function preparePinned(text: string, types: readonly number[]): Buffer {
  return Buffer.concat([
    serialize.close({ type: 'S', name: PINNED_STATEMENT }),
    serialize.parse({ name: PINNED_STATEMENT, text, types: [...types] }),
    serialize.sync(),
  ]);
}

/**
 * The unit with another text, which gives more columns. Null if it is not one whose answer can be cut: a Query, or Parse,
 * Bind, Describe, Execute and Sync of the unnamed statement with one format for all columns.
 */
export function withMoreColumns(unit: Buffer, text: string): Buffer | null {
  const messages = [...messagesOf(unit)];
  const types = messages.map(({ type }) => String.fromCharCode(type)).join('');
  if (types === 'Q') return withText(text);
  if (types !== 'PBDES') return null;
  const [parse, bind, describe] = messages as [Message, Message, Message];
  const body = parse.start + HEADER_BYTES;
  const target = readTarget(unit, describe.start + HEADER_BYTES);
  if (unit[body] !== 0 || target.kind !== 'P' || target.name !== '') return null;
  const names = bindNames(unit, bind.start + HEADER_BYTES);
  if (names.statement !== '' || unit[bind.start + HEADER_BYTES] !== 0) return null;
  const formats = unit.readUInt16BE(parametersEnd(unit, names.behind));
  if (formats > 1) return null;
  const declared = unit.subarray(unit.indexOf(0, body + 1) + 1, parse.end);
  const contents = Buffer.concat([Buffer.from(`\0${text}\0`, 'utf8'), declared]);
  return Buffer.concat([
    Buffer.from([FrontendType.Parse]),
    int32(contents.length + 4),
    contents,
    unit.subarray(parse.end),
  ]);
}

/** The Parse of a unit's unnamed statement, which it begins with. */
export function parseIn(unit: Buffer): Buffer {
  return Buffer.from(unit.subarray(0, 1 + unit.readUInt32BE(1)));
}

/** The unit with its text replaced, if it is a Query. */
export function withText(text: string): Buffer {
  return serialize.query(text);
}

/**
 * The unit with its Bind turned to the pinned form, and more parameters behind its own. All else stays, so that the answer
 * has the same messages.
 */
export function withPinnedBind(unit: Buffer, added: readonly WireParameter[]): Buffer {
  const parts: Buffer[] = [];
  for (const { type, start, end } of messagesOf(unit)) {
    parts.push(
      type === FrontendType.Bind
        ? pinnedBind(unit, start + HEADER_BYTES, end, added)
        : unit.subarray(start, end),
    );
  }
  return Buffer.concat(parts);
}

function pinnedBind(unit: Buffer, body: number, end: number, added: readonly WireParameter[]): Buffer {
  const { behind } = bindNames(unit, body);
  const portalEnd = unit.indexOf(0, body) + 1;
  const own = readParameters(unit, body);
  const all = [...own, ...added];
  const formats = Buffer.alloc(2 + all.length * 2);
  formats.writeUInt16BE(all.length, 0);
  all.forEach(({ format }, index) => formats.writeInt16BE(format, 2 + index * 2));
  const values: Buffer[] = [int16(all.length)];
  for (const { value } of all) {
    values.push(int32(value === null ? -1 : value.length));
    if (value !== null) values.push(value);
  }
  const contents = Buffer.concat([
    unit.subarray(body, portalEnd),
    Buffer.from(`${PINNED_STATEMENT}\0`, 'latin1'),
    formats,
    ...values,
    unit.subarray(parametersEnd(unit, behind), end),
  ]);
  return Buffer.concat([Buffer.from([FrontendType.Bind]), int32(contents.length + 4), contents]);
}

interface Message {
  readonly type: number;
  readonly start: number;
  readonly end: number;
}

function* messagesOf(unit: Buffer): Generator<Message> {
  for (let start = 0; start < unit.length;) {
    const end = start + 1 + unit.readUInt32BE(start + 1);
    yield { type: unit[start]!, start, end };
    start = end;
  }
}

function parseContents(message: Buffer): { text: string; types: readonly number[] } {
  const { text } = readParse(message, HEADER_BYTES);
  const nameEnd = message.indexOf(0, HEADER_BYTES);
  let at = message.indexOf(0, nameEnd + 1) + 1;
  const types: number[] = [];
  for (let left = message.readUInt16BE(at); left > 0; left--) {
    at += types.length === 0 ? 2 : 4;
    types.push(message.readUInt32BE(at));
  }
  return { text, types };
}

function bindNames(unit: Buffer, body: number): { statement: string; behind: number } {
  const portalEnd = unit.indexOf(0, body);
  const statementEnd = unit.indexOf(0, portalEnd + 1);
  return { statement: unit.toString('utf8', portalEnd + 1, statementEnd), behind: statementEnd + 1 };
}

function readParameters(unit: Buffer, body: number): readonly WireParameter[] {
  const { behind } = bindNames(unit, body);
  const formats: number[] = [];
  let at = behind + 2;
  for (let left = unit.readUInt16BE(behind); left > 0; left--, at += 2) formats.push(unit.readInt16BE(at));
  const parameters: WireParameter[] = [];
  const count = unit.readUInt16BE(at);
  at += 2;
  for (let index = 0; index < count; index++) {
    const length = unit.readInt32BE(at);
    at += 4;
    // No format at all means text, one means that one for all.
    const format = (formats.length === 1 ? formats[0] : formats[index]) ?? 0;
    parameters.push({ value: length < 0 ? null : unit.subarray(at, at + length), format });
    if (length > 0) at += length;
  }
  return parameters;
}

/** Behind the values of a Bind, where the formats of the result are. `at`: behind its names. */
function parametersEnd(unit: Buffer, at: number): number {
  let place = at + 2 + unit.readUInt16BE(at) * 2;
  const count = unit.readUInt16BE(place);
  place += 2;
  for (let index = 0; index < count; index++) place += 4 + Math.max(0, unit.readInt32BE(place));
  return place;
}

function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

/** True if the unit asks for a description of its statement: readers of that are told of its own parameters. */
export function describesStatement(unit: Buffer): boolean {
  for (const { type, start } of messagesOf(unit)) {
    if (type === FrontendType.Describe && readTarget(unit, start + HEADER_BYTES).kind === 'S') return true;
  }
  return false;
}

/** What a unit does first with the unnamed statement. */
export function unnamedIn(unit: Buffer): 'parsed' | 'used' | 'not' {
  for (const { type, start } of messagesOf(unit)) {
    const body = start + HEADER_BYTES;
    if (type === FrontendType.Parse && unit[body] === 0) return 'parsed';
    if (type === FrontendType.Bind && bindNames(unit, body).statement === '') return 'used';
    if (type === FrontendType.Describe || type === FrontendType.Close) {
      const target = readTarget(unit, body);
      if (target.kind === 'S' && target.name === '') return 'used';
    }
  }
  return 'not';
}
