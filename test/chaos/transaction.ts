/** The isolation levels that PostgreSQL has, in the words of its BEGIN. */
export const ISOLATION_LEVELS = ['READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE'] as const;
export type Isolation = (typeof ISOLATION_LEVELS)[number];

/**
 * What the application was told, in Jepsen's words: `ok` it is committed, `fail` it surely has no effect, `info` nobody
 * can say.
 */
export type Status = 'ok' | 'fail' | 'info';

/** Appends a value that is used once in the whole history. */
export interface Append {
  readonly kind: 'append';
  readonly key: number;
  readonly value: number;
}

/** The list that a read gave; an absent one is empty. */
export interface ListRead {
  readonly kind: 'list-read';
  readonly key: number;
  readonly list: readonly number[];
  /** With FOR UPDATE: nobody else may change the list before the transaction ends. */
  readonly locked: boolean;
  /** When the statement was sent, in milliseconds. */
  readonly sentAt: number;
}

/** All balances of the bank, as one transaction saw them. */
export interface BankRead {
  readonly kind: 'bank-read';
  readonly balances: readonly number[];
}

/** A version of a register, and who had written it. */
export interface RegisterRead {
  readonly kind: 'register-read';
  readonly key: number;
  readonly version: number;
  readonly value: string;
  readonly sentAt: number;
  /** When its answer was there. */
  readonly answeredAt: number;
}

/** A compare-and-set that hit: it has made this version. */
export interface RegisterSet {
  readonly kind: 'register-set';
  readonly key: number;
  readonly version: number;
}

/** An id that the database has made, and the application was given. */
export interface GeneratedId {
  readonly kind: 'generated-id';
  readonly id: string;
  /** When the row was made, by the clock of the server, in milliseconds since 1970; null if that was not asked for. */
  readonly madeAtMillis: number | null;
}

export type Observation = Append | ListRead | BankRead | RegisterRead | RegisterSet | GeneratedId;

/** What an error said. */
export interface ErrorWords {
  readonly name: string;
  readonly message: string;
  readonly code: string | null;
  /** The driver's own errors only. */
  readonly kind: string | null;
  readonly outcome: string | null;
}

/** One transaction, or one statement in autocommit, as the application has seen it. */
export interface Transaction {
  /** Is in the text of its statements, so that it can be recognised wherever these turn up. */
  readonly marker: string;
  readonly process: number;
  readonly workload: string;
  readonly isolation: Isolation;
  readonly autocommit: boolean;
  readonly status: Status;
  readonly beganAt: number;
  /** When what ends it was sent; null if that never happened. */
  readonly endSentAt: number | null;
  /** What ends it, in the application's words; null in autocommit. With autocommit: the whole transaction in a string. */
  readonly end: string | null;
  readonly endedAt: number;
  /** In their order. */
  readonly observations: readonly Observation[];
  /** What is in the database if it is committed, each once. */
  readonly effects: readonly string[];
  /** What may be there if it is committed: the answer that would say so was lost. */
  readonly possibleEffects: readonly string[];
  readonly error: ErrorWords | null;
}

/** What a `lostCommit` event says of a transaction. */
export interface LossReport {
  readonly marker: string;
  /** `unknown`: it may be there all the same. `reapplied`: it is there again. */
  readonly outcome: 'lost' | 'unknown' | 'reapplied';
}

/** A wrong answer, or a database that is not as it must be. */
export interface Violation {
  /** Which check found it. */
  readonly rule: string;
  readonly text: string;
}

/** While a server is lost, in milliseconds: what it alone has acknowledged meanwhile may be gone. */
export interface LossWindow {
  readonly begunAt: number;
  /** The next server took writes. */
  readonly overAt: number;
  /** How many servers were lost, one after the other. */
  readonly failovers: number;
}

export function isSnapshotIsolated({ isolation }: Pick<Transaction, 'isolation'>): boolean {
  return isolation !== 'READ COMMITTED';
}
