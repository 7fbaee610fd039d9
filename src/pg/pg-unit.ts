import type { Unit } from '../session/journal.ts';
import type { RecordedAnswer } from './pinning/recorded-answer.ts';
import type { HeldAnswer } from './token/held-answer.ts';
import type { StatementText } from './statement-text.ts';
import type { UnitToken } from './token/unit-token.ts';

/** A protocol-level named statement: its own Parse message, so that it can be made again anywhere (D4). */
export interface NamedStatement {
  readonly parseMessage: Buffer;
  readonly text: StatementText;
}

/** A use of a protocol-level named statement inside a unit, in order. */
export interface NameUse {
  readonly kind: 'parse' | 'use';
  readonly name: string;
  /** What the name meant there: it may be closed and parsed again with other SQL. Undefined if nobody knows. */
  readonly statement: NamedStatement | undefined;
}

/** A unit of the PostgreSQL protocol: one Query, or everything up to a Sync. */
export interface PgUnit extends Unit {
  /** A Query message; otherwise the extended protocol. */
  readonly simple: boolean;
  /** SQL of its statements, as far as it is known: the Query's text, or those that were parsed or bound. */
  readonly texts: StatementText[];
  /** How many of them had been there when its bytes were written last: more may come behind a Flush. */
  textsSent: number;
  /** Null if it has nothing to do with named statements, as nearly always. */
  nameUses: NameUse[] | null;
  executes: number;
  /** Messages of the extended protocol in it that get an answer of their own. */
  asked: number;
  /** Extended messages without a Sync in front of a Query: nothing of ours may go between (commit-token facts, A3). */
  isMixed: boolean;
  /** A Flush was in it: its reader (a cursor) waits for answers before it closes the unit. */
  hasFlush: boolean;
  /** Extended, and every Execute is of the unnamed portal and wants all rows: a hidden statement may follow inside. */
  isPlain: boolean;
  /** The hidden mark rides inside it, behind its only Execute. */
  hasMarkInside: boolean;
  /** The commit token that went out with it, over the present connection; null if none did. */
  token: UnitToken | null;
  /** Keys of the tokens of all attempts to run it, this one included: each must be asked for before it runs again (R6). */
  tokenKeys: readonly Buffer[];
  /** Notices that came with its answer in this run, and how many of them the application was given in any run. */
  notices: number;
  noticesGiven: number;
  /** What of its answer is kept back until it is complete, so that it may run again; null if it is handed on as it comes. */
  held: HeldAnswer | null;
  /** It went out with more columns than the application asked for; null if it did not. */
  recorded: RecordedAnswer | null;
  /** A server has refused those columns: it runs as it is. */
  isNotRecordable: boolean;
  /** How often a server has refused its token. */
  tokenRefusals: number;
  /** CopyInResponse came: COPY data belongs to it until CopyDone or CopyFail. */
  copyIn: boolean;
  /**
   * The messages of its answer that hold values which the database made (see `pinning/given-answer.ts`); null if it holds
   * none. Empty: there were too many to keep.
   */
  answer: Buffer | null;
  /** Its bytes if they are the driver's own and not in the arena (the BEGIN of a chained transaction). */
  readonly synthetic: Buffer | null;
  /** It may have changed the session's state, as far as was known when it was sent. */
  touchesSession: boolean;
  /** It was proved to only read when it was written, so no mark was asked for on its account (R6). */
  countedAsRead: boolean;
  /** When it was written to the server; milliseconds since 1970. */
  sentAtMillis: number;
  /** A command tag of its answer says that rows were inserted, updated, deleted or merged. */
  changedRows: boolean;
  /** The application was given its error already, and not by a server; only ReadyForQuery is owed, once it is closed. */
  answeredLocally: boolean;
}

const NO_KEYS: readonly Buffer[] = [];

export function makeUnit(simple: boolean, start: number, synthetic: Buffer | null = null): PgUnit {
  return {
    simple,
    start,
    end: start,
    closed: false,
    writtenTo: start,
    dropped: false,
    texts: [],
    textsSent: 0,
    nameUses: null,
    executes: 0,
    asked: 0,
    isMixed: false,
    hasFlush: false,
    isPlain: !simple,
    hasMarkInside: false,
    token: null,
    tokenKeys: NO_KEYS,
    notices: 0,
    noticesGiven: 0,
    held: null,
    recorded: null,
    isNotRecordable: false,
    tokenRefusals: 0,
    copyIn: false,
    answer: null,
    synthetic,
    touchesSession: false,
    countedAsRead: false,
    sentAtMillis: 0,
    changedRows: false,
    answeredLocally: false,
    sentSequence: 0,
    acknowledgedSequence: 0,
    digest: null,
    committed: false,
    completions: 0,
    error: null,
    withdrawn: false,
  };
}

/** On the new connection it begins from its first byte. */
export function sendAgain(unit: PgUnit): void {
  unit.writtenTo = unit.start;
  unit.completions = 0;
  unit.error = null;
  unit.committed = false;
  unit.copyIn = false;
  unit.hasMarkInside = false;
  unit.countedAsRead = false;
  unit.token = null;
  unit.notices = 0;
  unit.held = null;
  unit.recorded = null;
  unit.changedRows = false;
}
