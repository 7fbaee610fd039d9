/**
 * The words in which a loss is described and decided about: what is known when the connection is lost, and what becomes
 * of each pending unit. `planLoss` makes the one out of the other.
 */

/** What a pending unit does with the transaction that is open when it runs. */
export type Ending =
  /** Nothing. */
  | 'none'
  /** It is one COMMIT (or END), nothing else. */
  | 'commit'
  /** It is one COMMIT AND CHAIN. */
  | 'commit-and-chain'
  /** It is one PREPARE TRANSACTION. */
  | 'prepare'
  /** It is one ROLLBACK (or ABORT) without AND CHAIN. */
  | 'rollback'
  /** A string of several statements, the last of which is its only COMMIT. */
  | 'trailing-commit'
  /** A string of several statements, of which the first that ends the transaction is a COMMIT, with more behind it. */
  | 'commit-inside'
  /** Anything else that may end the transaction: a string with a ROLLBACK in it, or text nobody could read. */
  | 'unclear';

/** What the wire has proved about a unit whose ReadyForQuery has not come. */
export type Proof =
  | 'nothing'
  /** The tag COMMIT or PREPARE TRANSACTION has come. */
  | 'committed'
  /** Its only statement has completed, in a protocol where that comes after the commit. */
  | 'completed'
  /** It got an ERROR: its (implicit) transaction is rolled back. */
  | 'failed'
  /** A hidden statement of ours has failed, and its transaction with it: nothing of it took effect. */
  | 'rolled-back';

/** What was found out about a unit in doubt. */
export interface Verdict {
  readonly outcome: CommitOutcome;
  /**
   * It holds on every later server as well. A token that is there on one need not be on the next, nor the fence that one of
   * them was given (design review A4; asynchronous replication).
   */
  readonly isFinal: boolean;
  /** It took effect in an earlier attempt than the one whose answer has come. */
  readonly isOfEarlierAttempt?: boolean;
}

/** A unit without ReadyForQuery, in the order in which the application gave it. */
export interface PendingUnit {
  /** False only if none of its bytes was ever written to a socket (R1). */
  readonly sent: boolean;
  readonly ending: Ending;
  /** The application was given part of its answer. */
  readonly given: boolean;
  /** A transaction may be open behind it where none was before, or a new one behind the old one. */
  readonly opens: boolean;
  /** Outside a transaction it may run twice and leave the same behind: a proved read, BEGIN, SET, … (R2). */
  readonly repeatable: boolean;
  /** Why it must not run a second time even if all that it did here was rolled back; null if it may (A7). */
  readonly actsOutside: string | null;
  readonly proof: Proof;
  /** Its outcome can be found out without a mark: it went out with a commit token, say (R3, R6). */
  readonly canBeResolved: boolean;
  /** All of its answer but the end has come, so that nothing is lost if it took effect. */
  readonly isAnswered: boolean;
  /** What was found out about it on the new server; null if that was not asked. */
  readonly verdict: Verdict | null;
  /** The application has given up on it (R15). */
  readonly withdrawn: boolean;
}

/** What is known of the xid of the open transaction (R6). */
export type MarkState =
  /** The mark has arrived: the outcome of a COMMIT can be resolved. */
  | 'known'
  /** Proved: the transaction has only read. Whether its COMMIT arrived makes no difference. */
  | 'only-read'
  /** Proved: no xid was assigned, and nothing acts outside the database. Running it again can't double anything. */
  | 'no-xid'
  | 'unknown';

export interface LossSituation {
  /** A transaction of the application is open, as the last ReadyForQuery said. */
  readonly open: boolean;
  /** It has failed: whatever ends it rolls it back. */
  readonly failed: boolean;
  /** Why it can't be replayed (R7); null if it can. */
  readonly unreplayable: string | null;
  readonly mark: MarkState;
  /** The open transaction was given up since (R5, R7): it must not be replayed on a later server either. */
  readonly givenUp: Doom | null;
  readonly pending: readonly PendingUnit[];
}

export type CommitOutcome = 'committed' | 'not-committed' | 'unknown';

/** What the application will get for a pending unit. */
export type Fate =
  /** It was never sent: send it (R1). */
  | 'send'
  /** Run it again; what was already handed over must come again and is skipped (R2, R4). */
  | 'again'
  /** It took effect: say so (R6). */
  | 'finish'
  /** Its error was handed over; only the end of its answer is missing. */
  | 'finish-failed'
  /** A ROLLBACK whose transaction is gone in any case. */
  | 'finish-rollback'
  /** `OutcomeUnknownError` (R3, R6). */
  | 'unknown'
  /** `ResultLostError`: committed, but the result is lost. */
  | 'lost'
  /** `TransactionNotReplayableError`: it did not take effect, and can't run again behind what was given of its result. */
  | 'undone'
  /** The reason why the transaction is gone, and then like any statement of a doomed session. */
  | 'refuse'
  /** The application has given up on it: never send it (R15). */
  | 'withdraw';

export interface LossPlan {
  readonly situation: LossSituation;
  /** 'replay': the journal is replayed before anything else; 'gone': the open transaction is over. */
  readonly transaction: 'none' | 'replay' | 'gone';
  /** Index of the pending unit whose outcome has to be resolved before `fates` are final; null if none (R6). */
  readonly resolve: number | null;
  readonly fates: readonly Fate[];
  /** Why the session is doomed until the application ends its transaction; null if it isn't. */
  readonly doom: Doom | null;
  /** Where units stand that come later. */
  readonly behind: Mode;
}

export type Doom =
  | { readonly kind: 'not-replayable'; readonly reason: string }
  | { readonly kind: 'diverged'; readonly reason: string }
  | { readonly kind: 'withdrawn' }
  | { readonly kind: 'outcome-unknown' }
  | { readonly kind: 'statement-failed' };

/** Where the pending units stand as one walks through them. */
export type Mode =
  /** No transaction is open, and the application believes none. */
  | 'none'
  /** One will be open on the new server when this unit is sent. */
  | 'inside'
  /** The application believes one open, but no server has it: nothing may run in autocommit. */
  | 'orphaned';
