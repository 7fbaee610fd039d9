import type { Doom } from '../../session/loss-situation.ts';
import { MESSAGE } from '../wire/message-type.ts';
import { DONE_STATUS, ENVIRONMENT, TOKEN } from '../wire/token-kind.ts';
import { doneToken, environmentToken, messageToken } from '../wire/write-token.ts';
import type { TdsUnit } from './tds-unit.ts';

/**
 * Numbers of the driver's own errors, as the application finds them in `error.number`. The first is SQL Server's own for
 * a transaction that it has rolled back, which whoever repeats transactions knows; the others are above 50000, as those
 * of applications are, so that nobody takes them for one of the server's that may be repeated.
 */
export const ERROR_NUMBER = {
  /** R5, R7: the transaction is rolled back and may be run again (as for a deadlock's victim). */
  rolledBack: 1205,
  /** A statement of a transaction that is gone: as where a transaction can only be rolled back. */
  doomed: 3930,
  /** R3, R6: nobody knows whether it took effect. */
  outcomeUnknown: 58007,
  /** R3: it took effect, but its result is lost. */
  resultLost: 58008,
  /** It asks for what an earlier request has left, which is gone: it did not run. */
  gone: 58009,
  /** R7: more than may be held in memory; it was not sent. */
  tooLarge: 58010,
} as const;

const CLASS = { user: 16, deadlock: 13 } as const;
const COMMIT = 0xd5;
const ROLLBACK = 0xd2;
const NO_BYTES = Buffer.alloc(0);
const CANCELLED = doneToken(DONE_STATUS.attention);

export interface LocalError {
  readonly number: number;
  readonly message: string;
}

/** An error of the driver's own. */
export function errorToken({ number, message }: LocalError): Buffer {
  return messageToken(TOKEN.error, {
    number,
    state: 1,
    class: number === ERROR_NUMBER.rolledBack ? CLASS.deadlock : CLASS.user,
    message: `holdfast: ${message}`.slice(0, 2000),
    serverName: '',
    procedure: '',
    line: 0,
  });
}

/** An answer of the driver's own that refuses a request. */
export function errorAnswer(unit: TdsUnit, error: LocalError, ...behind: readonly Buffer[]): Buffer {
  return Buffer.concat([errorToken(error), ...behind, endOf(unit, DONE_STATUS.error)]);
}

/** The end of an answer, as the kind of its request has it. */
export function endOf(unit: TdsUnit, status: number, command = 0): Buffer {
  const isCall = unit.message.type === MESSAGE.rpc;
  return doneToken(status, { kind: isCall ? TOKEN.doneProcedure : TOKEN.done, command });
}

/** The transaction is committed. */
export function committedAnswer(unit: TdsUnit): Buffer {
  return Buffer.concat([transactionChange('commit'), endOf(unit, 0, COMMIT)]);
}

/** The transaction is rolled back. */
export function rolledBackAnswer(unit: TdsUnit): Buffer {
  return Buffer.concat([transactionChange('rollback'), endOf(unit, 0, ROLLBACK)]);
}

/** For the application's own account of its transaction. */
export function transactionChange(change: 'commit' | 'rollback'): Buffer {
  const type = change === 'commit' ? ENVIRONMENT.commitTransaction : ENVIRONMENT.rollbackTransaction;
  return environmentToken(type, NO_BYTES, Buffer.alloc(8));
}

/** sp_unprepare of what no server knows any more. */
export function unpreparedAnswer(): Buffer {
  const status = Buffer.alloc(5);
  status[0] = TOKEN.returnStatus;
  return Buffer.concat([status, doneToken(0, { kind: TOKEN.doneProcedure, command: 0xe0 })]);
}

/** What SQL Server says to an attention behind the cut answer. */
export function attentionAnswer(): Buffer {
  return CANCELLED;
}

/** Why the transaction is gone. */
export function doomMessage(doom: Doom | null): string {
  switch (doom?.kind) {
    case 'diverged':
      return `the transaction was replayed on the new server, but ${doom.reason}: it is rolled back, run it again`;
    case 'not-replayable':
      return `the transaction was lost with its server and can't be replayed: ${doom.reason}; it is rolled back, run it again`;
    case 'withdrawn':
      return 'the transaction was lost with its server: the application had given up on one of its statements';
    case 'statement-failed':
      return 'the transaction was lost with its server behind a failed statement that holds a COMMIT; it is rolled back';
    case 'outcome-unknown':
      return 'the server was lost while a statement was in flight that may have ended one transaction and begun another: look before you repeat it';
    case undefined:
      return 'the transaction is gone';
  }
}
