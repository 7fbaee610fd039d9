import type { SessionPin } from './session-snapshot.ts';
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

/** What is known of one SQL text (which may hold several statements), on the safe side. */
export interface Judgement {
  /** Proved by parser and catalogue to only read: it may run twice, and it assigns no xid (R2). */
  readonly provedRead: boolean;
  /** Proved to act on nothing outside of this database (A7). */
  readonly staysInside: boolean;
  /** Proved to leave the session's state alone (A8). */
  readonly sessionSafe: boolean;
  /** What it may do to the session's state is undone if its transaction is rolled back (SET is, locks are not). */
  readonly undoneByRollback: boolean;
  /** No check can find out what it did to the session's state: code with settings whose names nobody knows. */
  readonly uncheckable: boolean;
  /** What it did for certain and no check shows: LOAD, setseed. */
  readonly pins: readonly SessionPin[];
  /** Why it may touch session state, in words for the user and without any value. */
  readonly unsafeReason: string;
}

/** Judges the application's statements. What nobody proved is a write that may have touched everything. */
export interface StatementJudge {
  /** What is known now, at the cost of a look-up; null if it has to be learned first. */
  known(text: StatementText, session: JudgedSession): Judgement | null;
  /** Parses, and asks the catalogue over a connection that is idle. Afterwards `known` has an answer for each text. */
  learn(texts: readonly StatementText[], runner: SqlRunner, session: JudgedSession): Promise<void>;
  /** A definition was changed: what was learned from the catalogue may be wrong now. */
  definitionsChanged(): void;
}

export const NOTHING_PROVED: Judgement = {
  provedRead: false,
  staysInside: false,
  sessionSafe: false,
  undoneByRollback: false,
  uncheckable: false,
  pins: [],
  unsafeReason: 'a statement that nobody could read',
};
