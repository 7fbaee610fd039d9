import type { StatementText } from './statement-text.ts';
import type { SqlRunner } from './sql-runner.ts';

/** What is known of one SQL text (which may hold several statements), on the safe side. */
export interface Judgement {
  /** Proved by parser and catalogue to only read: it may run twice, and it assigns no xid (R2). */
  readonly provedRead: boolean;
  /** Proved to act on nothing outside of this database (A7). */
  readonly staysInside: boolean;
  /** Proved to leave the session's state alone (A8). */
  readonly sessionSafe: boolean;
  /** What it may do to the session's state is undone if its transaction is rolled back (SET is, advisory locks aren't). */
  readonly undoneByRollback: boolean;
  /** Why it may touch session state, in words for the user and without any value. */
  readonly unsafeReason: string;
}

/** Judges the application's statements. What nobody proved is a write that may have touched everything. */
export interface StatementJudge {
  /** What is known now, at the cost of a look-up; null if it has to be learned first. */
  known(text: StatementText, searchPath: string | null): Judgement | null;
  /** Parses, and asks the catalogue over a connection that is idle. Afterwards `known` has an answer for each text. */
  learn(texts: readonly StatementText[], runner: SqlRunner, searchPath: string | null): Promise<void>;
}

export const NOTHING_PROVED: Judgement = {
  provedRead: false,
  staysInside: false,
  sessionSafe: false,
  undoneByRollback: false,
  unsafeReason: 'a statement that nobody could read',
};
