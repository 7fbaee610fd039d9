import type { SqlMessage } from '../engine.ts';

/** SQLSTATE → SQL Server's number, and whether the transaction is over with it. */
const NUMBERS: Readonly<Record<string, number>> = {
  '23505': 2627,
  '25006': 3906,
  '55P03': 1222,
  '40P01': 1205,
  '40001': 3960,
  '23503': 547,
  '23502': 515,
  '23514': 547,
  '42P01': 208,
  '42703': 207,
  '22001': 2628,
  '42P07': 2714,
  '22012': 8134,
  '42501': 229,
  '3F000': 2760,
  '22P02': 245,
};
const ENDS_TRANSACTION = new Set([1205, 3960]);
/** The rest of the batch does not run, whatever XACT_ABORT says. */
const ENDS_BATCH = new Set([102, 137, 207, 208, 1205, 3960, 3906]);

export interface StatementFault {
  readonly message: SqlMessage;
  readonly endsTransaction: boolean;
  readonly endsBatch: boolean;
}

export function sqlMessage(number: number, message: string, severity = 16, state = 1): SqlMessage {
  return { number, state, class: severity, message, line: 1, procedure: '' };
}

export function faultOf(number: number, text: string, severity?: number): StatementFault {
  return {
    message: sqlMessage(number, text, severity ?? (number === 1205 ? 13 : number === 2627 ? 14 : 16)),
    endsTransaction: ENDS_TRANSACTION.has(number),
    endsBatch: ENDS_BATCH.has(number),
  };
}

/** What SQL Server would say for an error of PostgreSQL's. */
export function faultOfPostgres(error: {
  readonly code?: string | undefined;
  readonly message: string;
}): StatementFault {
  const number = NUMBERS[error.code ?? ''] ?? 102;
  return faultOf(number, number === 102 ? `${error.message} (SQLSTATE ${error.code ?? ''})` : error.message);
}
