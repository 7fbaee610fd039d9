import { InternalError, type HoldfastError } from '../errors.ts';
import { FAILED, IDLE } from '../session/journal.ts';
import type { Doom, Ending, Fate, LossPlan } from '../session/loss-situation.ts';
import { commandComplete } from './backend-messages.ts';
import type { Conversation } from './conversation.ts';
import type { ErrorPassage } from './error-passage.ts';
import { abortedError, doomError, fateError } from './fate-errors.ts';
import { endAnswer, errorAnswer, successAnswer } from './local-answers.ts';
import type { PgUnit } from './pg-unit.ts';
import { endedPrepared, endingOf, isAboutSavepoints } from './unit-facts.ts';

/** What the responder needs of its session. */
export interface ResponderHost {
  readonly doom: Doom | null;
  /** Why the session's state could not be restored, where that is the reason. */
  readonly refusal: string | null;
  /** What the connection was lost to. */
  readonly cause: Error | null;
  unitBytes(unit: PgUnit): Buffer;
  doomEnded(): void;
  /** The driver has answered the unit itself. */
  unitAnswered(unit: PgUnit): void;
  /** The unit was found committed, which is not enough: its answer is to be held back. */
  isToBeHeld(unit: PgUnit): boolean;
  /** Takes the answer for that. Returns what to deliver in its place. */
  holdAnswer(unit: PgUnit, status: number, answer: Buffer): Buffer;
  /** The same, where the session ends before that is known: nobody has found out where it is, or will. */
  wouldBeHeld(unit: PgUnit): boolean;
  /** The reader of a unit that is not closed was given its error: he may never close it. */
  readerIsTold(unit: PgUnit): void;
}

/**
 * Answers the units whose fate is not up to a server: outcomes that were resolved, and everything that a doomed session
 * is asked (design.md section 1, *doomed*; A13).
 */
export class LocalResponder {
  readonly #conversation: Conversation;
  readonly #passage: ErrorPassage;
  readonly #host: ResponderHost;
  readonly #fates = new Map<PgUnit, Fate>();
  #isDoomTold = false;
  /** What the last COMMIT was answered with in place of success, and the first unit that has come since; null if that was another statement. */
  #failedCommit: { readonly error: HoldfastError; readonly next: PgUnit | null } | null = null;
  /** The last unit that the application has begun. */
  #last: PgUnit | null = null;

  constructor(conversation: Conversation, passage: ErrorPassage, host: ResponderHost) {
    this.#conversation = conversation;
    this.#passage = passage;
    this.#host = host;
  }

  /** True if the driver answers this unit itself. */
  owns(unit: PgUnit): boolean {
    return this.#fates.has(unit);
  }

  get isNeeded(): boolean {
    return this.#fates.size > 0;
  }

  decide(unit: PgUnit, fate: Fate): void {
    this.#fates.set(unit, fate);
  }

  /** The session is doomed from here on; `told`: the reason was already given to a statement. */
  doomed(told: boolean): void {
    this.#isDoomTold = told;
  }

  /** The pending units are refused, up to the one whose refusal ends the doom (A13). */
  refuseAll(): void {
    for (const unit of this.#conversation.pending) {
      if (!this.#fates.has(unit)) this.#fates.set(unit, 'refuse');
      if (this.#fates.get(unit) === 'refuse' && endsDoom(endingOf(unit))) return;
    }
  }

  /** The unit was answered with this error and not by a server: if it is a COMMIT, one directly behind it gets the same. */
  failed(unit: PgUnit, error: HoldfastError): void {
    const ending = endingOf(unit);
    if (ending !== 'commit' && ending !== 'prepare') return;
    const { pending } = this.#conversation;
    const at = pending.indexOf(unit);
    // One that was pipelined behind it is known already. Behind an answer that was held back it may be over.
    if (at >= 0) this.#failedCommit = { error, next: pending[at + 1] ?? null };
    else if (this.#last === unit) this.#failedCommit = { error, next: null };
  }

  opened(unit: PgUnit): void {
    this.#last = unit;
    if (this.#failedCommit?.next === null) this.#failedCommit = { ...this.#failedCommit, next: unit };
  }

  /**
   * A COMMIT directly behind one that was answered with an error of ours is refused with the same. Outside of a transaction
   * a server answers it with success and a warning: whoever repeats a statement that got an error, as Slonik does, would be
   * told that his transaction is committed. True if there is one.
   */
  refuseRepeated(): boolean {
    const next = this.#failedCommit?.next ?? null;
    if (next === null) return false;
    const isRepeated = next === this.#conversation.pending[0] && endingOf(next) === 'commit';
    if (isRepeated && next.writtenTo === next.start) this.#fates.set(next, 'refuse');
    else this.#failedCommit = null;
    return this.owns(next);
  }

  clear(): void {
    this.#last = null;
    this.#fates.clear();
  }

  /** Answers to the units at the head whose fate is decided. */
  settle(): readonly Buffer[] {
    const answers: Buffer[] = [];
    for (;;) {
      const unit = this.#conversation.pending[0];
      const fate = unit === undefined ? undefined : this.#fates.get(unit);
      if (unit === undefined || fate === undefined) break;
      if (!unit.closed) {
        // The application waits for an answer of a unit that it has not closed (a cursor): the error now, its end later.
        if (!unit.answeredLocally) {
          unit.answeredLocally = true;
          if (unit.error === null) answers.push(errorAnswer(this.#passage.send(this.#openError(fate)), null));
        }
        this.#host.readerIsTold(unit);
        break;
      }
      const answer = this.#answer(unit, fate, this.#conversation.given);
      const isHeld = fate === 'finish' && this.#host.isToBeHeld(unit);
      answers.push(isHeld ? this.#host.holdAnswer(unit, IDLE, answer) : answer);
      this.#fates.delete(unit);
      this.#conversation.answered();
      this.#host.unitAnswered(unit);
    }
    return answers;
  }

  /**
   * The session ends before its plan is carried out (`plan` null: before all of it was told). Of the units at the head more
   * can be said than that the connection is gone: what became of them. The rest gets the error that the socket is closed with.
   */
  lastWords(plan: LossPlan | null, cause: Error): LastWords {
    const { words, told } = this.#wordsOf(plan, cause);
    const isInDoubt = this.#conversation.pending.some((unit, index) => {
      const fate = index < told ? undefined : this.#fateOf(unit, index, plan);
      return fate === 'unknown' || fate === 'lost' || isFinished(fate);
    });
    return { bytes: words.length === 0 ? null : Buffer.concat(words), isInDoubt };
  }

  /** The same where the server's own last words follow, which are the answer to the next unit. Null if there is nothing. */
  firstWords(plan: LossPlan, cause: Error): Buffer | null {
    const { words, isEndOwed } = this.#wordsOf(plan, cause);
    if (isEndOwed) words.push(endAnswer(IDLE));
    return words.length === 0 ? null : Buffer.concat(words);
  }

  #wordsOf(plan: LossPlan | null, cause: Error): { words: Buffer[]; told: number; isEndOwed: boolean } {
    const words: Buffer[] = [];
    const { pending } = this.#conversation;
    let told = 0;
    let isEndOwed = false;
    for (const [index, unit] of pending.entries()) {
      const known = this.#fateOf(unit, index, plan);
      const fate = known === 'finish' && this.#host.wouldBeHeld(unit) ? 'unknown' : known;
      const isError = fate === 'unknown' || fate === 'lost' || fate === 'undone';
      if (unit.answeredLocally || !(isError || isFinished(fate))) break;
      // pg takes the next answer only behind the end of this one.
      if (isEndOwed) words.push(endAnswer(IDLE));
      isEndOwed = isError;
      if (!isError) words.push(this.#answer(unit, fate, index === 0 ? this.#conversation.given : 0));
      else if (unit.error === null) words.push(errorAnswer(this.#passage.send(fateError(fate, cause)), null));
      told++;
    }
    return { words, told, isEndOwed };
  }

  /** As decided, or as planned; undefined if it never took effect, or never will. */
  #fateOf(unit: PgUnit, index: number, plan: LossPlan | null): Fate | undefined {
    const decided = this.#fates.get(unit);
    if (decided !== undefined || plan === null) return decided;
    if (plan.resolve === null) return plan.fates[index];
    const planned = plan.situation.pending[index];
    return planned?.sent === true && !planned.repeatable ? 'unknown' : undefined;
  }

  #answer(unit: PgUnit, fate: Fate, given: number): Buffer {
    const ending = endingOf(unit);
    const bytes = this.#host.unitBytes(unit);
    const status = this.#host.doom === null ? IDLE : FAILED;
    switch (fate) {
      case 'finish':
        if (unit.token?.position === 'inside') return heldAnswer(unit, IDLE);
        if (unit.token?.position === 'in-string') {
          // All in front of the token had been answered; behind it there is only the COMMIT.
          const isOwed = ending === 'trailing-commit' && !unit.committed;
          return isOwed ? heldAnswer(unit, IDLE, commandComplete('COMMIT')) : heldAnswer(unit, IDLE);
        }
        return successAnswer(bytes, finishedTag(unit, ending), given);
      case 'finish-rollback':
        return successAnswer(bytes, 'ROLLBACK', given);
      case 'finish-failed':
        return heldAnswer(unit, status);
      case 'unknown':
      case 'lost':
      case 'undone':
      case 'withdraw':
        if (unit.answeredLocally) return endAnswer(status);
        return errorAnswer(this.#passage.send(this.#fateError(unit, fate)), status);
      case 'refuse':
        return this.#refuse(unit, ending);
      case 'send':
      case 'again':
        throw new InternalError(`a unit to be sent was to be answered instead (${fate})`);
    }
  }

  #fateError(unit: PgUnit, fate: 'unknown' | 'lost' | 'undone' | 'withdraw'): HoldfastError {
    const error = fateError(fate, this.#host.cause);
    this.failed(unit, error);
    return error;
  }

  #openError(fate: Fate): Error & { readonly code: string } {
    if (fate === 'refuse') return this.#doomOrAborted();
    const isOwn = fate === 'lost' || fate === 'undone' || fate === 'withdraw';
    return fateError(isOwn ? fate : 'unknown', this.#host.cause);
  }

  #refuse(unit: PgUnit, ending: Ending): Buffer {
    if (unit.answeredLocally) return endAnswer(FAILED);
    const { doom, refusal, cause } = this.#host;
    if (ending === 'rollback') {
      this.#endDoom();
      return successAnswer(this.#host.unitBytes(unit), 'ROLLBACK', 0);
    }
    if (endsDoom(ending)) {
      const repeated = this.#failedCommit?.next === unit ? this.#failedCommit : null;
      const error = repeated?.error ?? doomError(doom, refusal, cause);
      this.failed(unit, error);
      this.#endDoom();
      return errorAnswer(this.#passage.send(error), IDLE);
    }
    if (isAboutSavepoints(unit)) this.#isDoomTold = false;
    return errorAnswer(this.#passage.send(this.#doomOrAborted()), FAILED);
  }

  /**
   * The first statement gets the reason, the others what PostgreSQL says in an aborted transaction. But those about savepoints
   * get the reason each time: PostgreSQL would let ROLLBACK TO pass, and what that says is what a nested transaction of a
   * library fails with.
   */
  #doomOrAborted(): Error & { readonly code: string } {
    const error = doomError(this.#host.doom, this.#host.refusal, this.#host.cause);
    if (this.#isDoomTold) return abortedError(error);
    this.#isDoomTold = true;
    return error;
  }

  #endDoom(): void {
    this.#isDoomTold = false;
    this.#host.doomEnded();
  }
}

function finishedTag(unit: PgUnit, ending: Ending): string {
  if (ending === 'prepare') return 'PREPARE TRANSACTION';
  return endedPrepared(unit)?.command ?? 'COMMIT';
}

/** What was kept back of its answer, and the end. */
function heldAnswer(unit: PgUnit, status: number, ...behind: readonly Buffer[]): Buffer {
  return Buffer.concat([...(unit.held === null ? [] : [unit.held.take()]), ...behind, endAnswer(status)]);
}

/** What is still said of pending units when their session ends. */
export interface LastWords {
  readonly bytes: Buffer | null;
  /** Of one of the others as well it is not certain that it has no effect: the closing error must say so. */
  readonly isInDoubt: boolean;
}

type Finished = 'finish' | 'finish-rollback' | 'finish-failed';

/** The word that is still owed is known: it must not be lost with the session. */
function isFinished(fate: Fate | undefined): fate is Finished {
  return fate === 'finish' || fate === 'finish-rollback' || fate === 'finish-failed';
}

/**
 * What the application ends its transaction with. A ROLLBACK is answered with success, the others with the reason. Not
 * with AND CHAIN: what comes behind it would run in autocommit.
 */
function endsDoom(ending: Ending): boolean {
  return ending === 'rollback' || ending === 'commit' || ending === 'prepare';
}
