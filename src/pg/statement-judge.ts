import type { Judgement } from './judgement.ts';
import type { SqlRunner } from './sql-runner.ts';
import type { StatementText } from './statement-text.ts';

/** The part of a session's state that judgements depend on. */
export interface JudgedSession {
  /** The search_path in force; null if it is not known. */
  readonly searchPath: string | null;
  /** The setting standard_conforming_strings: it changes where a string ends. */
  readonly standardStrings: boolean;
  /** The session may have temporary objects, which come before all others and are in no other session. */
  readonly temporaryObjects: boolean;
}

/** What a judgement must rest on after a loss: the new server's own catalogue, asked after it. */
export interface Renewal {
  /** The life of the server that is asked. */
  readonly server: string;
  /** The moment of the loss, in milliseconds of `performance.now()`. */
  readonly notBeforeMillis: number;
  /** False if only what acts outside the database counts: where nothing can, older knowledge will do for the rest. */
  readonly proofs: boolean;
}

/**
 * Triggers that may be put off: none; some; or some, and code that sets settings whose names can't be found out.
 */
export type PutOff = 'nothing' | 'code' | 'uncheckable-code';

/** Judges the application's statements. What nobody proved is a write that may have touched everything. */
export interface StatementJudge {
  /** What is known now, at the cost of a look-up; null if it has to be learned first. */
  known(text: StatementText, session: JudgedSession): Judgement | null;
  /**
   * Parses, and asks the catalogue over a connection that is idle: the judgement of each text, which `known` gives from
   * then on until a definition changes. With `renewal` nothing that was known before decides, nor what somebody else has
   * learned on another server.
   */
  learn(
    texts: readonly StatementText[],
    runner: SqlRunner,
    session: JudgedSession,
    renewal?: Renewal,
  ): Promise<readonly Judgement[]>;
  /** What may run at the end of a transaction, put off to there; null if that is not known yet. */
  readonly putOff: PutOff | null;
  /** A definition was changed: what was learned from the catalogue may be wrong now. */
  definitionsChanged(): void;
}
