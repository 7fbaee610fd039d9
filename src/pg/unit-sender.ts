import type { Arena } from '../session/arena.ts';
import type { ChainedTransaction } from './chained-transaction.ts';
import type { Conversation } from './conversation.ts';
import { SYNC_MESSAGE } from './frontend-messages.ts';
import { hide } from './hidden-answer.ts';
import type { LocalResponder } from './local-responder.ts';
import type { MarkKeeper } from './mark-keeper.ts';
import type { NamedStatements } from './named-statements.ts';
import type { PgUnit } from './pg-unit.ts';
import type { PinnedContinuation } from './pinned-continuation.ts';
import type { PinnedForm } from './pinning/pinned-form.ts';
import type { ServerConnection } from './server-connection.ts';
import type { SessionMemory } from './session-memory.ts';
import type { TokenKeeper } from './token/token-keeper.ts';
import { endingOf } from './unit-facts.ts';
import type { ValueRecorder } from './value-recorder.ts';

/** The parts of a session's work that have a word in what is sent. */
export interface SentWork {
  readonly arena: Arena;
  readonly conversation: Conversation;
  readonly names: NamedStatements;
  readonly marks: MarkKeeper;
  readonly tokens: TokenKeeper;
  readonly memory: SessionMemory;
  readonly pinned: PinnedContinuation;
  readonly chained: ChainedTransaction;
  /** Null if it is switched off. */
  readonly recorder: ValueRecorder | null;
}

/**
 * Writes pending units to the server: in one write what belongs together, with what the driver has to say in front of a
 * unit (named statements made again, the mode of a chained transaction), inside it or behind it (the mark).
 */
export class UnitSender {
  readonly #work: SentWork;
  readonly #responder: LocalResponder;
  /** Range of the arena that is to be written next, as one piece; empty if `#from` is negative. */
  #from = -1;
  #to = -1;

  constructor(work: SentWork, responder: LocalResponder) {
    this.#work = work;
    this.#responder = responder;
  }

  /** Sends what may be sent now. */
  send(connection: ServerConnection): void {
    const { conversation, marks, tokens, pinned, recorder } = this.#work;
    const responder = this.#responder;
    this.#from = -1;
    for (const unit of conversation.pending) {
      if (unit.writtenTo === unit.end || responder.owns(unit)) continue;
      if (conversation.isComparing && unit !== conversation.pending[0]) break;
      const begins = unit.writtenTo === unit.start;
      // R6: the mark must have arrived before what may end the transaction leaves.
      if (begins && marks.mayDelay && endingOf(unit) !== 'none') {
        this.#write(connection);
        if (!marks.allowsEnding(connection)) break;
      }
      if (begins && tokens.isOn && tokens.mustWait(unit)) break;
      if (begins && !pinned.allows(unit, unit === conversation.pending[0])) break;
      const form = begins ? pinned.take(unit) : null;
      if (form !== null) {
        this.#writePinned(unit, form, connection);
        continue;
      }
      const bytes = begins ? recorder?.bytesFor(unit, connection) : undefined;
      if (bytes != null) {
        this.#writePinned(unit, { prepare: null, bytes }, connection);
        continue;
      }
      this.#note(unit, begins, connection);
      if (unit.token !== null) {
        this.#writeWithToken(unit, connection);
        if (!unit.closed) break;
        continue;
      }
      if (this.#from < 0) this.#from = unit.writtenTo;
      unit.writtenTo = unit.end;
      this.#to = unit.end;
      if (begins) this.#addMark(unit, connection);
      if (!unit.closed) break;
    }
    this.#write(connection);
  }

  /** All who keep account of what runs are told of the unit before it leaves. */
  #note(unit: PgUnit, begins: boolean, connection: ServerConnection): void {
    const { conversation, names, marks, tokens, memory, chained } = this.#work;
    if (begins) {
      const chains = unit.texts[0]?.isCommitAndChain === true;
      if (chains || names.needsParse(unit)) this.#write(connection);
      names.prepare(unit, connection);
      if (chains) chained.ask(connection);
      marks.sending(unit);
      unit.touchesSession = memory.sends(unit.texts);
      conversation.sent(unit);
      if (tokens.isOn) tokens.sending(unit, connection);
      connection.expect(conversation);
    } else if (unit.texts.length > unit.textsSent) {
      // Behind a Flush, where it was answered in part: what was noted of it at first did not know of these.
      marks.sending(unit);
      unit.touchesSession = memory.ran(unit.texts) || unit.touchesSession;
    }
    unit.textsSent = unit.texts.length;
  }

  #writeWithToken(unit: PgUnit, connection: ServerConnection): void {
    const { arena, tokens } = this.#work;
    this.#write(connection);
    connection.write(tokens.bytesFor(unit, arena.view(unit.writtenTo, unit.end)));
    unit.writtenTo = unit.end;
  }

  #writePinned(
    unit: PgUnit,
    { prepare, bytes }: Pick<PinnedForm & { kind: 'pinned' }, 'prepare' | 'bytes'>,
    connection: ServerConnection,
  ): void {
    const { marks, tokens } = this.#work;
    this.#write(connection);
    if (prepare !== null) hide(prepare, connection);
    this.#note(unit, true, connection);
    unit.writtenTo = unit.end;
    if (unit.token !== null) {
      connection.write(tokens.bytesFor(unit, bytes));
      return;
    }
    const mark = marks.withUnit(unit);
    if (mark?.where === 'inside') {
      connection.write(Buffer.concat([bytes.subarray(0, -SYNC_MESSAGE.length), mark.messages, SYNC_MESSAGE]));
      return;
    }
    connection.write(mark === null ? bytes : Buffer.concat([bytes, mark.messages]));
    if (mark !== null) marks.expect(connection);
  }

  #addMark(unit: PgUnit, connection: ServerConnection): void {
    const { arena, marks } = this.#work;
    const mark = marks.withUnit(unit);
    if (mark === null) return;
    if (mark.where === 'inside') {
      const bytes = arena.view(this.#from, this.#to - SYNC_MESSAGE.length);
      connection.write(Buffer.concat([bytes, mark.messages, SYNC_MESSAGE]));
    } else {
      connection.write(Buffer.concat([arena.view(this.#from, this.#to), mark.messages]));
      marks.expect(connection);
    }
    this.#from = -1;
  }

  #write(connection: ServerConnection): void {
    if (this.#from < 0) return;
    connection.write(this.#work.arena.view(this.#from, this.#to));
    this.#from = -1;
  }
}
