import type { SessionPin } from './session-snapshot.ts';

/** What is known of one SQL text (which may hold several statements), on the safe side. */
export interface Judgement {
  /** Proved by parser and catalogue to only read: it may run twice, and it assigns no xid (R2). */
  readonly provedRead: boolean;
  /**
   * It runs code that somebody made, and may make anew at any moment: what is proved of it was so when the catalogue was
   * read, and need not have been when it ran.
   */
  readonly restsOnCode: boolean;
  /** Proved to act on nothing outside of this database (A7). */
  readonly staysInside: boolean;
  /** It runs code that nobody sees through. */
  readonly runsUnseenCode: boolean;
  /** Proved to leave the session's state alone (A8). */
  readonly sessionSafe: boolean;
  /** What it may do to the session's state is undone if its transaction is rolled back (SET is, locks are not). */
  readonly undoneByRollback: boolean;
  /** Its result may depend on who comes first: SKIP LOCKED and the like, or code that nobody sees through (B). */
  readonly orderSensitive: boolean;
  /** Behind it, to the end of the transaction at least, names may mean something else: nothing is proved there. */
  readonly changesNames: boolean;
  /** No check can find out what it did to the session's state: code with settings whose names nobody knows. */
  readonly uncheckable: boolean;
  /** The same, because more names of settings were met than are kept. */
  readonly tooManyNames: boolean;
  /** What it did for certain and no check shows: LOAD, setseed. */
  readonly pins: readonly SessionPin[];
  /** Why it may touch session state, in words for the user and without any value. */
  readonly unsafeReason: string;
}

export const NOTHING_PROVED: Judgement = {
  provedRead: false,
  restsOnCode: true,
  staysInside: false,
  runsUnseenCode: true,
  sessionSafe: false,
  undoneByRollback: false,
  orderSensitive: true,
  changesNames: true,
  uncheckable: false,
  tooManyNames: false,
  pins: [],
  unsafeReason: 'a statement that nobody could read',
};

/** What was found out of one text on a new server, after the loss. */
export interface RenewedJudgement {
  /** If its names mean what they mean to the session as it is. */
  readonly byName: Judgement;
  /** If something before it may have changed what they mean. */
  readonly inDoubt: Judgement;
}
