import type { Arena } from '../session/arena.ts';
import {
  FrontendType,
  readBind,
  readExecute,
  readParse,
  readQuery,
  readTarget,
  SYNC_MESSAGE,
} from './frontend-messages.ts';
import { makeUnit, type NamedStatement, type PgUnit } from './pg-unit.ts';
import { statementText, type StatementText } from './statement-text.ts';

/** What an assembler tells as it cuts the application's bytes into units. */
export interface UnitListener {
  /** A new unit has begun; it is the last of the pending ones. */
  unitOpened(unit: PgUnit): void;
  /** Nothing more belongs to it (but COPY data, if the server asks for it). */
  unitClosed(unit: PgUnit): void;
  /** The application asked for a Flush: it waits for answers of an unclosed unit. */
  flushAsked(unit: PgUnit): void;
  /** Room is needed for so many more bytes; may drop what the journal does not need. Returns what to keep from. */
  beforeAppend(bytes: number): number;
}

/**
 * Cuts the bytes that the application writes into messages and units, and copies them into the arena.
 *
 * pg writes whole messages; pg-copy-streams writes a header and then its chunk, so a message may also come in pieces.
 */
export class UnitAssembler {
  readonly #arena: Arena;
  readonly #listener: UnitListener;
  readonly #statements: Map<string, NamedStatement>;
  readonly #portals = new Map<string, StatementText>();
  #open: PgUnit | null = null;
  #last: PgUnit | null = null;
  /** Bytes of a message that has begun, if its body is needed as a whole. */
  #partial: Buffer | null = null;
  /** The application has said goodbye. */
  #isTerminated = false;
  /** Bytes of a CopyData message that are still to come. */
  #copyBytesLeft = 0;
  /**
   * Close messages outside of a unit. pg-cursor closes the portal of a cursor that has failed behind the Sync of its unit,
   * and the server answers that with whatever comes next.
   */
  #strays: Buffer[] = [];

  /** The open unit was closed in its reader's place, whose own Sync may still come. */
  #closedForReader = false;

  /** `statements` is filled with what the application prepares. */
  constructor(arena: Arena, statements: Map<string, NamedStatement>, listener: UnitListener) {
    this.#arena = arena;
    this.#statements = statements;
    this.#listener = listener;
  }

  /** The unit that is still being written, if any. */
  get open(): PgUnit | null {
    return this.#open;
  }

  /** Portals end with their transaction. */
  forgetPortals(): void {
    if (this.#portals.size > 0) this.#portals.clear();
  }

  /** The last unit was answered: COPY data that still comes belongs to nobody. */
  detach(unit: PgUnit): void {
    if (this.#last === unit) this.#last = null;
    if (this.#open === unit) this.#open = null;
  }

  accept(chunk: Uint8Array): void {
    // The server would have gone by now: what is written behind a goodbye must not take effect.
    if (this.#isTerminated) return;
    let bytes = Buffer.isBuffer(chunk)
      ? chunk
      : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    let at = 0;
    if (this.#copyBytesLeft > 0) {
      at = Math.min(this.#copyBytesLeft, bytes.length);
      this.#copyBytesLeft -= at;
      this.#appendCopy(bytes, 0, at);
    }
    if (this.#partial !== null) {
      bytes = Buffer.concat([this.#partial, bytes.subarray(at)]);
      this.#partial = null;
      at = 0;
    }
    while (at < bytes.length) {
      if (bytes.length - at < 5) break;
      const end = at + 1 + bytes.readUInt32BE(at + 1);
      if (end > bytes.length) {
        if (bytes[at] !== FrontendType.CopyData) break;
        this.#copyBytesLeft = end - bytes.length;
        this.#appendCopy(bytes, at, bytes.length);
        return;
      }
      if (bytes[at] === FrontendType.Terminate) {
        this.#isTerminated = true;
        return;
      }
      this.#message(bytes, at, end);
      at = end;
    }
    if (at < bytes.length) this.#partial = Buffer.from(bytes.subarray(at));
  }

  #message(bytes: Buffer, start: number, end: number): void {
    const body = start + 5;
    switch (bytes[start]) {
      case FrontendType.Query: {
        // Behind extended messages without a Sync it ends their unit: the server says ReadyForQuery once.
        const unit = this.#open ?? this.#begin(true);
        if (!unit.simple) {
          unit.isPlain = false;
          unit.isMixed = true;
        }
        this.#append(unit, bytes, start, end);
        unit.texts.push(statementText(readQuery(bytes, body, end)));
        this.#close(unit);
        return;
      }
      case FrontendType.FunctionCall: {
        const unit = this.#begin(false);
        this.#append(unit, bytes, start, end);
        unit.texts.push(statementText(''));
        this.#close(unit);
        return;
      }
      case FrontendType.CopyData:
      case FrontendType.CopyDone:
      case FrontendType.CopyFail:
        this.#appendCopy(bytes, start, end);
        return;
      default: {
        if (this.#open === null && bytes[start] === FrontendType.Close) {
          this.#strays.push(Buffer.from(bytes.subarray(start, end)));
          return;
        }
        if (this.#open === null && bytes[start] === FrontendType.Sync && this.#closedForReader) {
          this.#closedForReader = false;
          return;
        }
        const unit = this.#open ?? this.#begin(false);
        this.#append(unit, bytes, start, end);
        this.#extended(unit, bytes, start, end);
      }
    }
  }

  #extended(unit: PgUnit, bytes: Buffer, start: number, end: number): void {
    const body = start + 5;
    if (bytes[start] !== FrontendType.Sync && bytes[start] !== FrontendType.Flush) unit.asked++;
    // Behind its Execute only the end may follow: else the mark's answer could not be told from the application's.
    if (unit.executes > 0 && bytes[start] !== FrontendType.Sync) unit.isPlain = false;
    switch (bytes[start]) {
      case FrontendType.Parse: {
        const { name, text } = readParse(bytes, body);
        const parsed = statementText(text);
        unit.texts.push(parsed);
        if (name !== '') {
          const statement = { parseMessage: Buffer.from(bytes.subarray(start, end)), text: parsed };
          this.#statements.set(name, statement);
          (unit.nameUses ??= []).push({ kind: 'parse', name, statement });
        }
        return;
      }
      case FrontendType.Bind: {
        const { portal, statement } = readBind(bytes, body);
        const text = statement === '' ? this.#lastParsed(unit) : this.#useStatement(unit, statement);
        if (portal !== '' && text !== undefined) this.#portals.set(portal, text);
        return;
      }
      case FrontendType.Describe: {
        const target = readTarget(bytes, body);
        if (target.kind === 'S' && target.name !== '') this.#useStatement(unit, target.name);
        return;
      }
      case FrontendType.Execute: {
        unit.executes++;
        const { portal, isLimited } = readExecute(bytes, body);
        unit.isPlain &&= portal === '' && !isLimited;
        const text = this.#portals.get(portal);
        // The unnamed portal is nearly always that of the Bind in this same unit.
        if (text !== undefined ? !unit.texts.includes(text) : unit.texts.length === 0) {
          unit.texts.push(text ?? statementText(''));
        }
        return;
      }
      case FrontendType.Close: {
        const target = readTarget(bytes, body);
        if (target.kind === 'S') this.#statements.delete(target.name);
        else this.#portals.delete(target.name);
        return;
      }
      case FrontendType.Flush:
        unit.hasFlush = true;
        this.#listener.flushAsked(unit);
        return;
      case FrontendType.Sync:
        this.#close(unit);
        return;
      default:
        return; // Unknown to us: the server will say what it thinks of it.
    }
  }

  /** A statement parsed before this unit may be anything: nobody knows its text any more. */
  #lastParsed(unit: PgUnit): StatementText {
    const last = unit.texts.at(-1);
    if (last !== undefined) return last;
    const unknown = statementText('');
    unit.texts.push(unknown);
    return unknown;
  }

  #useStatement(unit: PgUnit, name: string): StatementText | undefined {
    const statement = this.#statements.get(name);
    const text = statement?.text;
    if (unit.nameUses?.some((use) => use.name === name) !== true) {
      (unit.nameUses ??= []).push({ kind: 'use', name, statement });
      // A text that nobody knows (prepared before us, or by SQL) must not pass for a harmless one.
      unit.texts.push(text ?? statementText(''));
    }
    return text;
  }

  /** Closes an open unit as if its reader had sent a Sync. One that he sends after all is not taken for another unit. */
  closeForReader(unit: PgUnit): void {
    if (this.#open !== unit) return;
    this.#message(SYNC_MESSAGE, 0, SYNC_MESSAGE.length);
    this.#closedForReader = true;
  }

  #begin(simple: boolean): PgUnit {
    this.#closedForReader = false;
    const unit = makeUnit(simple, this.#arena.end);
    if (!simple) this.#open = unit;
    this.#last = unit;
    this.#listener.unitOpened(unit);
    for (const stray of this.#strays.splice(0)) {
      this.#append(unit, stray, 0, stray.length);
      this.#extended(unit, stray, 0, stray.length);
    }
    return unit;
  }

  #close(unit: PgUnit): void {
    unit.closed = true;
    if (this.#open === unit) this.#open = null;
    this.#listener.unitClosed(unit);
  }

  #append(unit: PgUnit, bytes: Buffer, start: number, end: number): void {
    const keepFrom = this.#arena.hasRoom(end - start) ? 0 : this.#listener.beforeAppend(end - start);
    this.#arena.append(bytes, start, end, keepFrom);
    unit.end = this.#arena.end;
  }

  /** COPY data belongs to the unit whose answer asked for it; without such a unit the server would discard it. */
  #appendCopy(bytes: Buffer, start: number, end: number): void {
    const unit = this.#open ?? this.#last;
    if (unit === null || end === start) return;
    this.#append(unit, bytes, start, end);
  }
}
