import {
  cleanSession,
  nextCleanliness,
  stateAfterLoss,
  type CleanlinessEvent,
  type SessionCleanliness,
} from '../session/session-cleanliness.ts';
import type { Principal } from './principal.ts';
import { checkSession } from './session-check.ts';
import { castsDoubt } from './judge-units.ts';
import { NotedTexts, takeJudged } from './noted-texts.ts';
import {
  isInvisible,
  isRebuildable,
  pinReason,
  type SessionPin,
  type SessionSnapshot,
} from './session-snapshot.ts';
import type { SqlRunner } from './sql-runner.ts';
import { SqlError } from './sql-runner.ts';
import type { StatementText } from './statement-text.ts';
import type { JudgedSession, Renewal, StatementJudge } from './statement-judge.ts';
import { NOTHING_PROVED, type Judgement } from './judgement.ts';

/** What a session is to be restored to; `snapshot` null: as it was dialled. */
export type RestoreTarget =
  | {
      readonly kind: 'restore';
      readonly snapshot: SessionSnapshot | null;
      /** The open transaction may have changed the state: why, if it turns out to be committed. Else null. */
      readonly inDoubtIfCommitted: string | null;
      /** The same if it is rolled back: what a ROLLBACK does not undo (session-level locks, SQL PREPARE, …). */
      readonly inDoubtIfRolledBack: string | null;
    }
  | { readonly kind: 'refuse'; readonly reason: string };

export interface SessionMemoryOptions {
  /** Settings with a dot in their names that the session may have. */
  customNames(): readonly string[];
  /** True if the application has named its settings: then none is set whose name can't be found out. */
  readonly namesAreTold: boolean;
  /** True if the application rebuilds what pins a session, see `FailoverOptions.onReconnect`. */
  readonly rebuildsPins: boolean;
}

const PUT_OFF = 'a trigger that was put off to the end of its transaction';
/** What runs the triggers that were put off. */
const COMMITS: ReadonlySet<string> = new Set(['commit', 'commit-and-chain', 'prepare-transaction']);

const AS_DIALLED: Principal = { kind: 'known', snapshot: null, unproved: [] };

const FIRST_PAUSE_MILLIS = 500;
const MAX_PAUSE_MILLIS = 60_000;

const TOO_MANY = 'one of very many different statements';

/**
 * What the driver knows of one session's state, and how it comes to know it: judged statements, and checks while the
 * session is idle (R8, design review A8). A session in which nothing but safe statements ran costs nothing.
 */
export class SessionMemory {
  readonly #judge: StatementJudge;
  readonly #options: SessionMemoryOptions;
  /** A null snapshot is the state in which a connection is dialled: nothing to restore. */
  #state: SessionCleanliness<SessionSnapshot | null> = cleanSession<SessionSnapshot | null>(null);
  /** What nobody has judged. */
  readonly #unjudged = new NotedTexts();
  /** What counts as safe, but rests on code that somebody may have made anew before it ran. */
  readonly #trusted = new NotedTexts();
  #searchPath: string | null = null;
  #standardStrings = true;
  #judged: JudgedSession = { searchPath: null, standardStrings: true, temporaryObjects: false };
  /** Something in the open transaction has changed what names mean to its end: what follows may do anything. */
  #namesChanged = false;
  /** The same, or nobody can say whether it has: then nothing is proved of what follows. */
  #namesInDoubt = false;
  /** A transaction ended while names were in doubt, and it was not known yet whether triggers can be put off to its end. */
  #mayHavePutOff = false;
  /** When the driver's questions may be asked again, if one has failed; each pause is twice as long. */
  #askAgainAt = Number.NEGATIVE_INFINITY;
  #pauseMillis = FIRST_PAUSE_MILLIS;
  /** What no check shows, for the life of the connection. */
  #pins: readonly SessionPin[] = [];
  /** Something ran whose effect on the state no check can find. */
  #uncheckable: string | null = null;
  /** The state in front of the session commands in flight, of which no answer has come and which are all that is in doubt. */
  #beforeCommands: SessionCleanliness<SessionSnapshot | null> | null = null;
  /** Something in the open transaction may have done what its ROLLBACK does not undo. */
  #lastsBeyondRollback = false;

  constructor(judge: StatementJudge, options: SessionMemoryOptions) {
    this.#judge = judge;
    this.#options = options;
  }

  /** Nothing is proved of what is sent now: what ran before in the same transaction may have changed what names mean. */
  get namesInDoubt(): boolean {
    return this.#namesInDoubt;
  }

  /** What judgements depend on behind something that may have changed what names mean. */
  get judgedInDoubt(): JudgedSession {
    return { ...this.judged, temporaryObjects: true };
  }

  /** What judgements of this session's statements depend on. The same object until something changes. */
  get judged(): JudgedSession {
    const { snapshot, kind } = this.#state;
    const temporaryObjects =
      this.#namesChanged ||
      kind !== 'clean' ||
      (snapshot !== null && snapshot.pins.some((pin) => pin.kind === 'temporary-object'));
    const last = this.#judged;
    if (
      last.searchPath !== this.#searchPath ||
      last.standardStrings !== this.#standardStrings ||
      last.temporaryObjects !== temporaryObjects
    ) {
      this.#judged = {
        searchPath: this.#searchPath,
        standardStrings: this.#standardStrings,
        temporaryObjects,
      };
    }
    return this.#judged;
  }

  /**
   * The state in which the open transaction, or else the statement with these texts that has just ended, had begun (A15), as
   * far as it is known without asking anybody.
   */
  principal(own: readonly StatementText[]): Principal {
    if (this.#uncheckable !== null) return { kind: 'unknown', reason: this.knownRefusal ?? '' };
    const after = stateAfterLoss(this.#state);
    if (after.kind === 'refuse' && !after.sinceTransaction) return { kind: 'unknown', reason: after.reason };
    const pinned = this.#pinsThatRefuse(after.snapshot);
    if (pinned !== null) return { kind: 'unknown', reason: pinned };
    const { transactionOpen } = this.#state;
    // What rests on code is proved once more: somebody may have made that anew before it ran.
    const unproved = [...this.#unjudged.before, ...this.#trusted.before].filter(
      (text) => transactionOpen || !own.includes(text),
    );
    if (unproved.length === 0 && after.snapshot === null) return AS_DIALLED;
    return { kind: 'known', snapshot: after.snapshot, unproved };
  }

  /** Channels that the session listens on, as far as known. */
  get channels(): readonly string[] {
    return this.#state.snapshot?.channels ?? [];
  }

  /** Settings with a dot in their names that the session may have. */
  get customNames(): readonly string[] {
    return this.#options.customNames();
  }

  /** A connection was dialled; its search_path comes with the probe. */
  dialled(searchPath: string | null): void {
    this.#searchPath = searchPath;
  }

  /** The server has reported a parameter. */
  parameter(name: string, value: string): void {
    if (name === 'standard_conforming_strings') this.#standardStrings = value === 'on';
    else if (name === 'search_path') this.#pathIs(value); // Reported from PostgreSQL 18 on.
  }

  /** What was trusted found its names along another path: looked at again along this one it would seem to be something else. */
  #pathIs(searchPath: string): void {
    if (searchPath !== this.#searchPath) this.#trusted.clear();
    this.#searchPath = searchPath;
  }

  /**
   * A unit with these texts is sent. Returns false if there was nothing to note; else it is also told that it `ran`.
   *
   * If it only sets up the session, and is lost without an answer, it runs again (R2): then what was known before counts.
   */
  sends(texts: readonly StatementText[]): boolean {
    const before = this.#state;
    const isCertain =
      this.#beforeCommands === null &&
      before.kind === 'clean' &&
      !before.transactionOpen &&
      this.#unjudged.before.size === 0;
    const inFront = isCertain ? before : this.#beforeCommands;
    const isNoted = this.ran(texts);
    if (isNoted && texts.every((text) => text.isSessionCommand)) this.#beforeCommands = inFront;
    return isNoted;
  }

  /** The connection is gone, with the session commands that were in flight: they have not changed the session that is restored. */
  lost(): void {
    const before = this.#beforeCommands;
    this.#beforeCommands = null;
    if (before === null) return;
    this.#state = before;
    this.#unjudged.clear();
  }

  /** A unit with these texts is under way, or was answered: told of both, see `CleanlinessEvent`. */
  ran(texts: readonly StatementText[]): boolean {
    let isNoted = false;
    for (const text of texts) {
      const judgement = this.#judge.known(text, this.judged);
      const isSafe = judgement?.sessionSafe === true && !judgement.changesNames;
      if (isSafe && judgement.restsOnCode) this.#trust(text);
      if (this.#namesInDoubt && text.commands.some((one) => COMMITS.has(one))) this.#committedInDoubt();
      if (isSafe && !this.#namesInDoubt) continue;
      isNoted = true;
      if (isSafe) {
        // What nobody could judge before it may have changed its names: it is looked at again together with that.
        if (!text.isTransactionControl) this.#postpone(text);
        continue;
      }
      this.#namesChanged ||= judgement?.changesNames ?? false;
      this.#namesInDoubt ||= castsDoubt(text, judgement);
      if (judgement?.sessionSafe === true) continue;
      if (judgement === null) this.#postpone(text);
      else this.#touched(judgement);
      if (text.mayDefine) this.#judge.definitionsChanged();
    }
    if (isNoted) this.#beforeCommands = null;
    return isNoted;
  }

  #postpone(text: StatementText): void {
    if (this.#unjudged.add(text, this.#state.transactionOpen)) return;
    this.#lastsBeyondRollback = true;
    this.#next({ kind: 'touched', reason: TOO_MANY });
  }

  /** What was put off to the COMMIT found its names where nobody knows what they mean. */
  #committedInDoubt(): void {
    const { putOff } = this.#judge;
    if (putOff === null) this.#mayHavePutOff = true;
    else if (putOff !== 'nothing') this.#touchedBy(PUT_OFF, putOff === 'uncheckable-code');
  }

  /** It counts as safe by what is known of it now; after a loss it is looked at again. */
  #trust(text: StatementText): void {
    this.#trusted.addRecent(text, this.#state.transactionOpen);
  }

  #touched(judgement: Judgement): void {
    this.#lastsBeyondRollback ||= !judgement.undoneByRollback;
    for (const pin of judgement.pins) {
      if (!this.#pins.some((one) => one.kind === pin.kind)) this.#pins = [...this.#pins, pin];
    }
    if (judgement.tooManyNames) this.#uncheckable ??= judgement.unsafeReason;
    this.#touchedBy(judgement.unsafeReason, judgement.uncheckable);
  }

  #touchedBy(reason: string, uncheckable: boolean): void {
    if (uncheckable && !this.#options.namesAreTold) this.#uncheckable ??= reason;
    this.#next({ kind: 'touched', reason });
  }

  transactionBegan(): void {
    this.#beforeCommands = null;
    this.#lastsBeyondRollback = false;
    this.#next({ kind: 'transaction-began' });
  }

  /** No transaction is open, and nothing is under way: what was set for a transaction only is over. */
  idle(): void {
    this.#beforeCommands = null;
    this.#namesChanged = false;
    this.#namesInDoubt = false;
  }

  transactionEnded(): void {
    this.#unjudged.transactionEnded();
    this.#trusted.transactionEnded();
    this.#next({ kind: 'transaction-ended' });
  }

  /** As last read, the session holds what no other server has: lost now it is refused whatever a check would say. */
  get isPinned(): boolean {
    return this.#pinsThatRefuse(this.#state.snapshot) !== null;
  }

  /** As last read, the session holds what the application rebuilds on another server. */
  get holdsRebuildable(): boolean {
    const { snapshot } = this.#state;
    return snapshot !== null && snapshot.pins.length > 0 && !this.isPinned;
  }

  #pinsThatRefuse(snapshot: SessionSnapshot | null): string | null {
    if (snapshot === null) return null;
    if (!this.#options.rebuildsPins) return pinReason(snapshot);
    return pinReason({ ...snapshot, pins: snapshot.pins.filter((pin) => !isRebuildable(pin)) });
  }

  /** True if there is something to find out while the session is idle. */
  get wantsAttention(): boolean {
    if (this.#unjudged.before.size > 0 && performance.now() >= this.#askAgainAt) return true;
    return this.#unjudged.before.size === 0 && this.#state.kind === 'unchecked';
  }

  /**
   * Judges what has not been judged, over an idle connection, and reads the state back if that is in doubt. Rejects
   * only if the connection is lost.
   */
  async attend(runner: SqlRunner): Promise<void> {
    try {
      await this.#judgeAll(runner);
      this.#pauseMillis = FIRST_PAUSE_MILLIS;
    } catch (error) {
      if (!(error instanceof SqlError)) throw error;
      // A question that this session can't have answered (statement_timeout) must not hold up each of its statements.
      this.#askAgainAt = performance.now() + this.#pauseMillis;
      this.#pauseMillis = Math.min(2 * this.#pauseMillis, MAX_PAUSE_MILLIS);
      return;
    }
    if (this.#state.kind !== 'unchecked' || this.#state.transactionOpen) return;
    const asOf = this.#state.touches;
    this.#next({ kind: 'check-began' });
    try {
      const snapshot = await checkSession(runner, this.customNames, {
        extraPins: this.#pins,
        withAllPins: this.#options.rebuildsPins,
      });
      this.#pathIs(snapshot.searchPath);
      this.#next({ kind: 'check-finished', asOf, snapshot });
    } catch (error) {
      const reason =
        error instanceof SqlError ? `SQLSTATE ${error.code}` : error instanceof Error ? error.name : 'error';
      this.#next({ kind: 'check-failed', asOf, reason });
      if (!(error instanceof SqlError) && !(error instanceof Error && error.name === 'SessionStateError'))
        throw error;
    }
  }

  /**
   * What to restore after a loss. Unjudged texts are judged on the new connection, and those that rest on code again:
   * somebody may have made it anew since it was looked at.
   */
  async target(runner: SqlRunner, renewal: Renewal): Promise<RestoreTarget> {
    await this.#judgeAll(runner, renewal);
    const refusal = this.knownRefusal;
    if (refusal !== null) return { kind: 'refuse', reason: refusal };
    const after = stateAfterLoss(this.#state);
    return {
      kind: 'restore',
      snapshot: after.snapshot,
      inDoubtIfCommitted: after.kind === 'refuse' ? after.reason : null,
      inDoubtIfRolledBack: after.kind === 'refuse' && this.#lastsBeyondRollback ? after.reason : null,
    };
  }

  /** What is known without asking anybody: null if the session could be restored as far as anyone knows. */
  get knownRefusal(): string | null {
    if (this.#uncheckable !== null) {
      return `session state unknown: ${this.#uncheckable} may have set settings whose names can't be found out`;
    }
    const after = stateAfterLoss(this.#state);
    const pinned = this.#pinsThatRefuse(after.snapshot);
    return pinned ?? (after.kind === 'refuse' && !after.sinceTransaction ? after.reason : null);
  }

  /** The new connection has this state. */
  restored(snapshot: SessionSnapshot | null): void {
    this.#unjudged.clear();
    this.#trusted.clear();
    this.#mayHavePutOff = false;
    this.#pins = snapshot?.pins.filter(isInvisible) ?? [];
    this.#namesChanged = false;
    this.#namesInDoubt = false;
    this.#next({ kind: 'restored', snapshot });
    // Of itself it is what the new connection came with, which need not be what the old one had.
    if (snapshot?.settings.has('search_path') === true) this.#searchPath = snapshot.searchPath;
  }

  async #judgeAll(runner: SqlRunner, renewal?: Renewal): Promise<void> {
    const trusted = renewal === undefined ? [] : this.#trusted.all();
    const texts = [...new Set([...this.#unjudged.all(), ...trusted])];
    if (texts.length === 0) return;
    const asked = renewal === undefined || trusted.length === 0 ? renewal : { ...renewal, proofs: true };
    const judgements = await this.#judge.learn(texts, runner, this.judged, asked);
    // Behind one that changed what names mean the others were something else, and nobody knows which came first.
    const areInDoubt = texts.length > 1 && judgements.some(({ changesNames }) => changesNames);
    const learned = new Map(
      texts.map((text, index) => [
        text,
        areInDoubt && !text.isTransactionControl
          ? (this.#judge.known(text, this.judgedInDoubt) ?? NOTHING_PROVED)
          : judgements[index]!,
      ]),
    );
    if (renewal === undefined) this.#trustAll(learned);
    else this.#trusted.moveTo(this.#unjudged);
    const before = takeJudged(this.#unjudged.before, learned);
    const hadPutOff = this.#mayHavePutOff && this.#judge.putOff !== 'nothing';
    this.#mayHavePutOff = false;
    if (before.length > 0 || hadPutOff) {
      const { transactionOpen } = this.#state;
      // The doubt is older than the open transaction, and so is from now on every doubt there is: the safe side.
      if (transactionOpen) this.#next({ kind: 'transaction-ended' });
      for (const judgement of before) this.#touched(judgement);
      if (hadPutOff) this.#touchedBy(PUT_OFF, this.#judge.putOff !== 'code');
      if (transactionOpen) this.#next({ kind: 'transaction-began' });
    }
    for (const judgement of takeJudged(this.#unjudged.inside, learned)) this.#touched(judgement);
  }

  #trustAll(learned: ReadonlyMap<StatementText, Judgement>): void {
    const isTrusted = (text: StatementText): boolean => {
      const judgement = learned.get(text);
      return judgement?.sessionSafe === true && judgement.restsOnCode;
    };
    for (const text of this.#unjudged.before) if (isTrusted(text)) this.#trusted.addRecent(text, false);
    for (const text of this.#unjudged.inside) if (isTrusted(text)) this.#trusted.addRecent(text, true);
  }

  #next(event: CleanlinessEvent<SessionSnapshot | null>): void {
    this.#state = nextCleanliness(this.#state, event);
  }
}
