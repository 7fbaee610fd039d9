import type { Ending } from '../session/loss-situation.ts';
import { endingOfCommands, mayOpenTransaction, type Command } from './command-facts.ts';
import { statementHeads } from './sql/leading-keywords.ts';
import { endsTransaction, mayCopy, transactionCommands } from './sql/transaction-command.ts';
import { mayCarryToken, tokenPlace, type TokenPlace } from './sql/token-place.ts';
import { acknowledgeSettings, type AcknowledgeSetting } from './sql/acknowledge-setting.ts';
import type { Judgement } from './judgement.ts';

/** How many texts are kept. One that fell out is read again at its next use. */
const MAX_TEXTS = 5_000;
/** Longer texts are not kept: they are rarely repeated, and would fill the memory. */
const MAX_KEPT_LENGTH = 20_000;

/** First words of commands that change what a statement means. */
const DEFINITIONS: ReadonlySet<string> = new Set([
  'ALTER',
  'CREATE',
  'DROP',
  'COMMENT',
  'SECURITY',
  'IMPORT',
  'DO',
  'CALL',
]);

/** First words of commands that change rows. */
const CHANGES: ReadonlySet<string> = new Set(['INSERT', 'UPDATE', 'DELETE', 'MERGE']);

/** First words of commands that take literals and names, run no code of the database, and leave only their session changed. */
const SESSION_COMMANDS: ReadonlySet<string> = new Set([
  'SET',
  'RESET',
  'DISCARD',
  'LISTEN',
  'UNLISTEN',
  'DEALLOCATE',
]);

/**
 * One SQL text of the application, which may hold several statements, with what was found out about it. The same text
 * is the same object, so that on the hot path a unit costs one look-up.
 */
export class StatementText {
  readonly text: string;
  #commands: readonly Command[] | null = null;
  #copies: boolean | null = null;
  #defines: boolean | null = null;
  #ends: boolean | null = null;
  #ending: Ending | null = null;
  #opens: boolean | null = null;
  #setsUp: boolean | null = null;
  #tokenPlace: TokenPlace | null = null;
  #carriesToken: boolean | null = null;
  #changes: boolean | null = null;
  #acknowledges: readonly AcknowledgeSetting[] | null = null;
  #keeps: 'all' | 'beginning' | 'nothing' | null = null;
  /** Last judgement, and for whom it holds. */
  #judged: {
    readonly by: object;
    readonly session: string;
    readonly until: number;
    readonly judgement: Judgement;
  } | null = null;

  constructor(text: string) {
    this.text = text;
  }

  /** Its statements' part in transactions, by the lexer alone. */
  get commands(): readonly Command[] {
    this.#commands ??= commandsOf(this.text);
    return this.#commands;
  }

  /** True if it is only transaction control, savepoints included. */
  get isTransactionControl(): boolean {
    return this.commands.length > 0 && this.commands.every((one) => one !== 'other' && one !== 'unknown');
  }

  /** True if it may end the transaction, so that one with another xid is open behind it. In a failed one COMMIT rolls back. */
  get mayEnd(): boolean {
    this.#ends ??= this.commands.some((command) => command === 'unknown' || endsTransaction(command));
    return this.#ends;
  }

  /** What it does with the open transaction if it is sent by itself (R6, R11). */
  get ending(): Ending {
    this.#ending ??= endingOfCommands(this.commands);
    return this.#ending;
  }

  /** True if a transaction may be open behind it that it began. */
  get opensTransaction(): boolean {
    this.#opens ??= this.commands.some(mayOpenTransaction);
    return this.#opens;
  }

  /** True if it is one COMMIT AND CHAIN: the transaction that it opens has no BEGIN of its own (A1). */
  get isCommitAndChain(): boolean {
    const { commands } = this;
    return commands.length === 1 && commands[0] === 'commit-and-chain';
  }

  /**
   * True if all that it does is to set up its session (SET, LISTEN, DISCARD, …): run twice it leaves the same behind. Read
   * by the lexer alone, so a text with a backslash, which reads in two ways, is none.
   */
  get isSessionCommand(): boolean {
    this.#setsUp ??= !this.text.includes('\\') && isSessionCommand(this.text);
    return this.#setsUp;
  }

  /** True if it may put the connection into copy mode, where hidden extended messages would kill the COPY. */
  get mayCopy(): boolean {
    this.#copies ??=
      this.text === '' ||
      mayCopy(this.text) ||
      (this.text.includes('\\') && mayCopy(this.text, { standardConformingStrings: false }));
    return this.#copies;
  }

  /** True if it may change definitions, so that what was learned from the catalogue may be wrong behind it. */
  get mayDefine(): boolean {
    this.#defines ??= statementHeads(this.text).some(({ words }) => DEFINITIONS.has(words[0] ?? ''));
    return this.#defines;
  }

  /** How a commit token goes with it if it is sent as one Query outside of a transaction. */
  get tokenPlace(): TokenPlace {
    this.#tokenPlace ??= tokenPlace(this.text);
    return this.#tokenPlace;
  }

  /** True if a commit token may follow it by the extended protocol, outside of a transaction. */
  get mayCarryToken(): boolean {
    this.#carriesToken ??= this.text !== '' && mayCarryToken(this.text);
    return this.#carriesToken;
  }

  /** True if it is one INSERT, UPDATE, DELETE or MERGE: where it was done, the transaction was not READ ONLY. */
  get changesRows(): boolean {
    this.#changes ??= !this.text.includes('\\') && changesRows(this.text);
    return this.#changes;
  }

  /**
   * How much of its answer is kept, because it may show values that differ when it runs again: of rows that it writes all
   * of it, of others enough to see what is the same in all of them.
   */
  get keepsAnswer(): 'all' | 'beginning' | 'nothing' {
    this.#keeps ??= keptAnswer(this.text);
    return this.#keeps;
  }

  /** What it sets for its transaction by `SET LOCAL holdfast.acknowledge`. */
  get acknowledgeSettings(): readonly AcknowledgeSetting[] {
    this.#acknowledges ??= acknowledgeSettings(this.text);
    return this.#acknowledges;
  }

  /** What was judged before by this judge (or in this era of it) in a session like this, if that still holds. */
  judgement(by: object, session: string, now: number): Judgement | null {
    const judged = this.#judged;
    return judged !== null && judged.by === by && judged.session === session && now < judged.until
      ? judged.judgement
      : null;
  }

  remember(by: object, session: string, until: number, judgement: Judgement): void {
    this.#judged = { by, session, until, judgement };
  }
}

const RETURNS = /\breturning\b/i;
/** Functions and words of `pinning/made-values.ts`. */
const MAKES_VALUES =
  /\b(?:nextval|currval|lastval|now|(?:transaction|statement|clock)_timestamp|timeofday|random|random_normal|gen_random_uuid|gen_random_bytes|uuidv[47]|uuid_generate_\w+|txid_current|pg_current_xact_id|pg_backend_pid)"?\s*\(|\bcurrent_(?:date|time|timestamp)\b|\blocaltime(?:stamp)?\b/i;

function keptAnswer(text: string): 'all' | 'beginning' | 'nothing' {
  if (RETURNS.test(text)) return 'all';
  return MAKES_VALUES.test(text) ? 'beginning' : 'nothing';
}

function isSessionCommand(text: string): boolean {
  const heads = statementHeads(text).filter(({ isEmpty }) => !isEmpty);
  return heads.length > 0 && heads.every(({ words }) => SESSION_COMMANDS.has(words[0] ?? ''));
}

function changesRows(text: string): boolean {
  const heads = statementHeads(text).filter(({ isEmpty }) => !isEmpty);
  return heads.length === 1 && CHANGES.has(heads[0]!.words[0] ?? '');
}

const texts = new Map<string, StatementText>();

/** The one object for this text. */
export function statementText(text: string): StatementText {
  const known = texts.get(text);
  if (known !== undefined) return known;
  const made = new StatementText(text);
  if (text.length > MAX_KEPT_LENGTH) return made;
  if (texts.size >= MAX_TEXTS) {
    // The oldest go first. Maps keep the order of insertion.
    let excess = MAX_TEXTS / 10;
    for (const old of texts.keys()) {
      if (excess-- <= 0) break;
      texts.delete(old);
    }
  }
  texts.set(text, made);
  return made;
}

/** A text that nobody knows, or that reads differently by standard_conforming_strings, may be anything. */
function commandsOf(text: string): readonly Command[] {
  if (text === '') return ['unknown'];
  const commands = transactionCommands(text);
  if (!text.includes('\\')) return commands;
  const otherwise = transactionCommands(text, { standardConformingStrings: false });
  const same =
    commands.length === otherwise.length && commands.every((command, i) => command === otherwise[i]);
  return same ? commands : ['unknown'];
}
