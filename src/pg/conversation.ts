import { IDLE, Journal } from '../session/journal.ts';
import { ResponseDigest } from '../session/response-digest.ts';
import { ResumeFilter, type ResumeVerdict } from '../session/resume-filter.ts';
import { BackendType, readTag } from './backend-messages.ts';
import { KeptAnswer } from './kept-answer.ts';
import { endAnswer } from './local-answers.ts';
import type { PgUnit } from './pg-unit.ts';
import type { RecordedAnswer } from './pinning/recorded-answer.ts';
import { digestMessage, errorCode, hashedPart } from './response-hash.ts';
import { MAX_HELD_BYTES, type HeldAnswer } from './token/held-answer.ts';
import { isForApplication } from './token/unit-token.ts';
import type { Responder } from './responder.ts';
import { endingOf } from './unit-facts.ts';

const NOTHING = Buffer.alloc(0);

/** What a completed unit has changed. */
export interface UnitCompleted {
  readonly unit: PgUnit;
  readonly status: number;
  readonly wasOpen: boolean;
  /** A transaction of the application ended with it. */
  readonly ended: boolean;
  /** Units of the open transaction in front of it, if they were kept. */
  readonly before: readonly PgUnit[];
}

export interface ConversationListener {
  /** A unit's answer is complete and journalled. Returns what to give the application behind it. */
  unitCompleted(completed: UnitCompleted): readonly Buffer[];
  /** The end of the unit's answer is to be held back. */
  isToBeHeld(unit: PgUnit): boolean;
  /** Takes the rest of its answer for that. Returns what to deliver in its place. */
  holdAnswer(unit: PgUnit, status: number, rest: Buffer): Buffer;
  /** A unit that ran again gave other results; its answer was swallowed. Returns what to give instead (R5). */
  unitDiverged(unit: PgUnit, status: number): readonly Buffer[];
  /** The same of a unit whose end waits for the application: returns the error now, its end comes by `unitDiverged`. */
  openUnitDiverged(unit: PgUnit): Buffer;
  /** A message of the mark that rides inside a unit. */
  markMessage(type: number, bytes: Buffer, start: number): void;
  /** ReadyForQuery of a unit with the mark inside. False: the mark has broken it, and the connection is cut. */
  markReady(status: number): boolean;
  /** A server has refused the unit's token, and rolled its transaction back: it is to run again. The connection is cut. */
  tokenRefused(unit: PgUnit): void;
  /** The same of the columns that were added to the unit. */
  recordingRefused(unit: PgUnit): void;
  /** Statements of the wire protocol were dropped by SQL: all of them, or some. */
  statementsDropped(all: boolean): void;
}

export interface ConversationLimits {
  readonly maxJournalStatements: number;
  readonly maxJournalBytes: number;
  readonly maxKeptRowHashes: number;
  readonly lostCommits: string;
}

/**
 * What the application asked and what it was given: the pending units in order, the digest of the answer that is under
 * way, and the journal of the open transaction. Takes the answers to the application's units.
 */
export class Conversation implements Responder {
  readonly journal: Journal<PgUnit>;
  readonly #pending: PgUnit[] = [];
  readonly #digest: ResponseDigest;
  readonly #answer: KeptAnswer;
  readonly #listener: ConversationListener;
  readonly #nextSequence: () => number;
  /** What ran outside of a transaction may have to run again as well, and be compared (R9). */
  readonly #digestsAll: boolean;
  #resume: ResumeFilter | null = null;
  #hasDiverged = false;

  constructor(limits: ConversationLimits, nextSequence: () => number, listener: ConversationListener) {
    this.journal = new Journal({
      maxStatements: limits.maxJournalStatements,
      maxBytes: limits.maxJournalBytes,
    });
    this.#digest = new ResponseDigest(limits.maxKeptRowHashes);
    this.#digestsAll = limits.lostCommits === 'reapply';
    this.#answer = new KeptAnswer(limits.maxJournalBytes);
    this.#nextSequence = nextSequence;
    this.#listener = listener;
  }

  /** Units without ReadyForQuery; the first is the one that answers belong to. */
  get pending(): readonly PgUnit[] {
    return this.#pending;
  }

  /** Messages of the first pending unit's answer that the application was given. */
  get given(): number {
    return this.#digest.messages;
  }

  /** The first pending unit runs again and is not yet known to give what was given before: nothing may follow it (R11). */
  get isComparing(): boolean {
    return this.#hasDiverged || (this.#resume !== null && !this.#resume.done);
  }

  /** Nothing was given yet of this unit's answer. */
  isFresh(unit: PgUnit): boolean {
    return this.#pending[0] !== unit || (this.#digest.messages === 0 && this.#resume === null);
  }

  add(unit: PgUnit): void {
    this.#pending.push(unit);
  }

  /** A unit is written to the server: its answer is expected here. */
  sent(unit: PgUnit): void {
    unit.sentSequence = this.#nextSequence();
    unit.sentAtMillis = Date.now();
  }

  /** The first pending unit was answered by the driver itself. */
  answered(): PgUnit | undefined {
    this.#resume = null;
    this.#hasDiverged = false;
    this.#digest.reset();
    this.#answer.begin('nothing');
    return this.#pending.shift();
  }

  /** The connection is gone: what was given so far of the first answer is remembered. */
  interrupted(): void {
    const [unit] = this.#pending;
    // Of the other answer nothing was handed over, so its error was not either; what it committed stays committed.
    if (this.#hasDiverged && unit !== undefined) {
      unit.error = null;
      unit.completions = 0;
    }
    this.#resume = null;
    this.#hasDiverged = false;
  }

  /** The first pending unit runs again: what was given of its answer must come again, and is skipped (R2, R4). */
  resume(): void {
    this.#resume = this.#digest.messages > 0 ? new ResumeFilter(this.#digest.partial()) : null;
  }

  clear(): void {
    this.#pending.length = 0;
    this.journal.reset();
  }

  message(type: number, bytes: Buffer, start: number, end: number): boolean | Buffer {
    const unit = this.#pending[0];
    if (unit === undefined) return false;
    if (unit.token?.isVisible(type, bytes, start, end) === false) return false;
    if (this.#hasDiverged) {
      this.#note(unit, type, bytes, start, end);
      return false;
    }
    if (unit.hasMarkInside && unit.completions > 0) {
      this.#listener.markMessage(type, bytes, start);
      return false;
    }
    if (unit.recorded !== null) return this.#recorded(unit, unit.recorded, type, bytes, start, end);
    this.#note(unit, type, bytes, start, end);
    if (this.#resume !== null) {
      const verdict = filter(this.#resume, type, bytes, start, end);
      if (verdict === 'swallow') return false;
      if (verdict === 'diverged') {
        this.#hasDiverged = true;
        return unit.closed ? false : this.#tellReader(unit);
      }
    }
    if (unit.held !== null) return this.#hold(unit, unit.held, bytes, start, end);
    if (this.#digest.messages === 0) this.#answer.begin(keptOf(unit));
    digestMessage(this.#digest, type, bytes, start, end);
    this.#answer.add(type, bytes, start, end);
    return true;
  }

  /**
   * A notice for the application. It has its place in an answer that is kept back; of a unit that runs again those that were
   * given in front of its loss are not given twice.
   */
  notice(bytes: Buffer, start: number, end: number): boolean | Buffer {
    const unit = this.#pending[0];
    if (unit === undefined) return true;
    unit.notices++;
    if (unit.held !== null) return this.#hold(unit, unit.held, bytes, start, end);
    if (unit.notices <= unit.noticesGiven) return false;
    unit.noticesGiven = unit.notices;
    return true;
  }

  /**
   * A notification. The server sends it outside of transactions only: behind what is kept back of an answer it says that all
   * of that is committed, and has its place there.
   */
  notification(bytes: Buffer, start: number, end: number): boolean | Buffer {
    const unit = this.#pending[0];
    const held = unit?.held ?? null;
    if (unit === undefined || held === null || held.length === 0) return true;
    return this.#hold(unit, held, bytes, start, end);
  }

  /** Of a unit that gives more than it was asked for: all of it is kept, and the application is given its own part. */
  #recorded(
    unit: PgUnit,
    recorded: RecordedAnswer,
    type: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): boolean | Buffer {
    if (!recorded.accepts(type, bytes, start, end)) return false;
    this.#note(unit, type, bytes, start, end);
    if (recorded.begins()) this.#answer.begin('all');
    this.#answer.add(type, bytes, start, end);
    const given = recorded.partForApplication(type, bytes, start, end);
    if (given === null) return false;
    if (given === bytes) {
      digestMessage(this.#digest, type, bytes, start, end);
      return true;
    }
    digestMessage(this.#digest, given[0]!, given, 0, given.length);
    return given;
  }

  /** False: it is kept back. Bytes: it and all that was, since there is too much of it. */
  #hold(unit: PgUnit, held: HeldAnswer, bytes: Buffer, start: number, end: number): false | Buffer {
    held.push(bytes, start, end);
    if (held.length <= MAX_HELD_BYTES) return false;
    unit.held = null;
    unit.noticesGiven = unit.notices;
    const given = held.take();
    this.#digestGiven(unit, given, 'nothing');
    return given;
  }

  /** What was kept back is handed on now. */
  #digestGiven(unit: PgUnit, given: Buffer, keeps = keptOf(unit)): void {
    this.#answer.begin(keeps);
    for (let at = 0; at < given.length;) {
      const next = at + 1 + given.readUInt32BE(at + 1);
      const type = given[at]!;
      if (type !== BackendType.NoticeResponse && type !== BackendType.NotificationResponse) {
        digestMessage(this.#digest, type, given, at, next);
        this.#answer.add(type, given, at, next);
      }
      at = next;
    }
  }

  ready(status: number): boolean | Buffer | readonly Buffer[] {
    const unit = this.#pending[0];
    if (unit === undefined) return false;
    // Still pending if it is cut now: it runs again behind the replay, and only its end is handed on.
    if (unit.hasMarkInside && !this.#listener.markReady(status)) return false;
    const refusal = unit.token?.refusal ?? null;
    // With a COMMIT that had failed itself no transaction would be open any more.
    if (refusal !== null && (!isForApplication(refusal) || status !== IDLE)) {
      this.#listener.tokenRefused(unit);
      return false;
    }
    if (unit.recorded?.isRefused === true) {
      this.#listener.recordingRefused(unit);
      return false;
    }
    this.#pending.shift();
    // The new answer is over, and not all that was given has come again.
    if (this.#resume !== null && !this.#resume.done) this.#hasDiverged = true;
    if (this.#hasDiverged) {
      this.#hasDiverged = false;
      this.#resume = null;
      this.#digest.reset();
      this.#answer.begin('nothing');
      return this.#listener.unitDiverged(unit, status);
    }
    this.#resume = null;
    unit.acknowledgedSequence = this.#nextSequence();
    const given = unit.held?.take() ?? null;
    unit.held = null;
    // A string that failed is in the journal, and its replay must give the same.
    if (given !== null && (this.#digestsAll || status !== IDLE)) this.#digestGiven(unit, given);
    const digest = this.#digest.finish(status);
    this.#digest.reset();
    unit.answer = this.#answer.take();
    const { journal } = this;
    const wasOpen = journal.open;
    const before = journal.units;
    const chains = unit.committed && status !== IDLE && endingOf(unit) === 'commit-and-chain';
    const ended = journal.complete(unit, digest, chains);
    const behind = this.#listener.unitCompleted({ unit, status, wasOpen, ended, before });
    const isHeld = this.#listener.isToBeHeld(unit);
    if (!isHeld && given === null && refusal === null && behind.length === 0) return true;
    // What the server has said to the token it would have said to the COMMIT: a serialization failure, say.
    let rest: Buffer = Buffer.concat([given ?? NOTHING, refusal?.message ?? NOTHING, endAnswer(status)]);
    if (isHeld) rest = this.#listener.holdAnswer(unit, status, rest);
    return behind.length === 0 ? rest : [rest, ...behind];
  }

  abandoned(): void {
    // The session is told of the loss as a whole; nothing more is known for a single unit.
  }

  /** A cursor closes its unit only when it has been told; and what it was told holds, whatever another server gives. */
  #tellReader(unit: PgUnit): Buffer {
    unit.answeredLocally = true;
    unit.withdrawn = true;
    return this.#listener.openUnitDiverged(unit);
  }

  #note(unit: PgUnit, type: number, bytes: Buffer, start: number, end: number): void {
    switch (type) {
      case BackendType.EmptyQueryResponse:
        unit.completions++;
        return;
      case BackendType.CommandComplete:
        unit.completions++;
        this.#noteTag(unit, bytes, start, end);
        return;
      case BackendType.ErrorResponse:
        unit.error = errorCode(bytes, start, end);
        return;
      case BackendType.CopyInResponse:
      case BackendType.CopyBothResponse:
        unit.copyIn = true;
        return;
      default:
        return;
    }
  }

  #noteTag(unit: PgUnit, bytes: Buffer, start: number, end: number): void {
    const last = bytes[end - 2]!;
    // I(NSERT 0 1), U(PDATE 2), D(ELETE 10), M(ERGE 1), but not 'UPDATE 0'.
    if (last >= 0x30 && last <= 0x39 && !(last === 0x30 && bytes[end - 3] === 0x20)) {
      const letter = bytes[start + 5];
      unit.changedRows ||= letter === 0x49 || letter === 0x55 || letter === 0x44 || letter === 0x4d;
    }
    // By its first letter before a string is made of it: this runs for every statement. C(OMMIT), P(REPARE …), D(ISCARD …).
    const first = bytes[start + 5];
    if (first !== 0x43 && first !== 0x50 && first !== 0x44) return;
    const tag = readTag(bytes, start + 5, end);
    if (tag === 'COMMIT' || tag === 'PREPARE TRANSACTION') unit.committed = true;
    else if (tag.startsWith('DEALLOCATE') || tag === 'DISCARD ALL')
      this.#listener.statementsDropped(tag.endsWith('ALL'));
  }
}

/** What is to be kept of the unit's answer. */
function keptOf(unit: PgUnit): 'all' | 'beginning' | 'nothing' {
  const [first] = unit.texts;
  if (unit.texts.length === 1 && first !== undefined) return first.keepsAnswer;
  const kinds = unit.texts.map(({ keepsAnswer }) => keepsAnswer);
  return kinds.includes('all') ? 'all' : kinds.includes('beginning') ? 'beginning' : 'nothing';
}

function filter(
  resume: ResumeFilter,
  type: number,
  bytes: Buffer,
  start: number,
  end: number,
): ResumeVerdict {
  if (type === BackendType.DataRow || type === BackendType.CopyData) return resume.row(bytes, start + 5, end);
  const part = hashedPart(type, bytes, start, end);
  return resume.message(part, 0, part.length, type, type === BackendType.ErrorResponse);
}
