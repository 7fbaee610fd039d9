import type { Ending } from '../../session/loss-situation.ts';
import type { Unit } from '../../session/journal.ts';
import type { TextAnalysis } from '../sql/text-analysis.ts';
import type { RequestMessage } from '../wire/request-message.ts';
import type { TdsRequest } from './tds-request.ts';

/** How a unit's answer is to be read. */
export type UnitForm =
  /** It went out as the application gave it. */
  | 'plain'
  /** A COMMIT, in whose place a batch went out that writes the commit token first. */
  | 'commit-batch'
  /** An autocommit write in a transaction of its own with its token; its own answer stands between two marks. */
  | 'wrapped';

/** One message of the application. There is at most one without an answer, but for those that it has given up. */
export interface TdsUnit extends Unit {
  readonly message: RequestMessage;
  readonly request: TdsRequest;
  readonly analysis: TextAnalysis;
  readonly ending: Ending;
  /** A transaction may be open behind it where none was before. */
  readonly opens: boolean;
  /** Milliseconds since 1970. */
  sentAtMillis: number;
  form: UnitForm;
  /** Keys of the commit tokens of its attempts so far. */
  keys: string[];
  /** ENVCHANGE 10 came: the server has rolled back the transaction. */
  rolledBack: boolean;
  /** ENVCHANGE 18 came. */
  wasReset: boolean;
  /** The server says that this is the session's database now; null if it said nothing. */
  database: string | null;
  /** Numbers of the errors of its answer. */
  errors: number[];
  /** All of its answer but the end has come. */
  isAnswered: boolean;
  /** The application wanted it stopped while it ran. */
  isCancelled: boolean;
  /** The same while the session recovered: it has its answer, and nobody waits any more. */
  isAbandoned: boolean;
  /** Lives of servers that have answered it with an error that says that the server goes away. */
  readonly lossesOn: Set<string>;
}

/** True if some of it may have reached a server. */
export function wasSent(unit: TdsUnit): boolean {
  return unit.writtenTo > unit.start;
}

/** It goes out anew: nothing of an earlier answer counts. */
export function sendAgain(unit: TdsUnit): void {
  unit.form = 'plain';
  unit.committed = false;
  unit.rolledBack = false;
  unit.wasReset = false;
  unit.database = null;
  unit.errors = [];
  unit.completions = 0;
  unit.error = null;
  unit.isAnswered = false;
}
