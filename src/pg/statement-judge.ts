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

/** Judges the application's statements. What nobody proved is a write that may have touched everything. */
export interface StatementJudge {
  /** What is known now, at the cost of a look-up; null if it has to be learned first. */
  known(text: StatementText, session: JudgedSession): Judgement | null;
  /**
   * Parses, and asks the catalogue over a connection that is idle: the judgement of each text, which `known` gives from
   * then on until a definition changes. What was learned before `notBeforeMillis` of `performance.now()` is asked for
   * again: somebody else may have changed the catalogue since.
   */
  learn(
    texts: readonly StatementText[],
    runner: SqlRunner,
    session: JudgedSession,
    notBeforeMillis?: number,
  ): Promise<readonly Judgement[]>;
  /** A definition was changed: what was learned from the catalogue may be wrong now. */
  definitionsChanged(): void;
}
