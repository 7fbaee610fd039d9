import type { Ending } from '../../session/loss-situation.ts';
import { batchEnding, type BatchEnding } from '../sql/batch-ending.ts';
import { effectOfProcedure } from '../sql/session-effect.ts';
import { analyse, OPAQUE, PLAIN, type TextAnalysis } from '../sql/text-analysis.ts';
import type { RequestMessage } from '../wire/request-message.ts';
import type { TransactionRequest } from '../wire/transaction-request.ts';
import type { PreparedHandles } from './prepared-handles.ts';
import { readRequest, type TdsRequest } from './tds-request.ts';
import type { TdsUnit } from './tds-unit.ts';

const NOTHING: BatchEnding = { ending: 'none', opens: false };
const UNCLEAR: BatchEnding = { ending: 'unclear', opens: true };

/** Where the next unit begins in the account of the journal's bytes, and what is known when it comes. */
export interface UnitSituation {
  readonly position: number;
  readonly isOpen: boolean;
  readonly handles: PreparedHandles;
  /** The session's database; null if that is not known. */
  readonly database: string | null;
}

export function makeUnit(message: RequestMessage, situation: UnitSituation): TdsUnit {
  const { position, isOpen, handles } = situation;
  const request = readRequest(message);
  const { ending, opens } =
    message.reset === 'reset' && isOpen ? UNCLEAR : endingOfRequest(request, isOpen, handles);
  return {
    start: position,
    end: position + message.payload.length,
    closed: true,
    writtenTo: position,
    dropped: false,
    sentAtMillis: 0,
    sentSequence: 0,
    acknowledgedSequence: 0,
    digest: null,
    committed: false,
    completions: 0,
    error: null,
    withdrawn: false,
    message,
    request,
    analysis: withOpening(analysisOf(request, message, situation), ending === 'none' && opens),
    ending,
    opens,
    form: 'plain',
    keys: [],
    rolledBack: false,
    wasReset: false,
    database: null,
    errors: [],
    isAnswered: false,
    isCancelled: false,
    isAbandoned: false,
    lossesOn: new Set(),
  };
}

/** It may end the transaction, and perhaps something else: its token has to be there before it runs. */
export function isUnclear({ ending }: TdsUnit): boolean {
  return ending === 'unclear' || ending === 'trailing-commit' || ending === 'commit-inside';
}

function endingOfRequest(request: TdsRequest, isOpen: boolean, handles: PreparedHandles): BatchEnding {
  switch (request.kind) {
    case 'batch':
      return batchEnding(request.sql, isOpen);
    case 'statement':
      return ofDynamicText(request.sql, isOpen);
    case 'execute': {
      const sql = handles.sqlOf(request.handle);
      return sql === null ? UNCLEAR : ofDynamicText(sql, isOpen);
    }
    case 'prepare':
    case 'unprepare':
    case 'bulk':
      return NOTHING;
    case 'procedure':
      return UNCLEAR;
    case 'transaction':
      return ofTransactionRequest(request.transaction, isOpen);
  }
}

/** What it does to transactions it should not do there (error 266), but does. */
function ofDynamicText(sql: string, isOpen: boolean): BatchEnding {
  const found = batchEnding(sql, isOpen);
  return found.ending === 'none' && !found.opens ? NOTHING : UNCLEAR;
}

function ofTransactionRequest(request: TransactionRequest, isOpen: boolean): BatchEnding {
  const lone = (ending: Ending): BatchEnding => ({ ending, opens: false });
  switch (request.kind) {
    case 'begin':
      // In an open one it only counts, and the next COMMIT with it.
      return isOpen ? UNCLEAR : { ending: 'none', opens: true };
    case 'commit':
      return request.begins ? UNCLEAR : lone('commit');
    case 'rollback':
      if (request.begins) return UNCLEAR;
      // With a name it goes back to a savepoint, if that is what the name is of.
      return request.name === '' ? lone('rollback') : isOpen ? NOTHING : UNCLEAR;
    case 'save':
      return NOTHING;
    case 'other':
      return UNCLEAR;
  }
}

/** A lone BEGIN may run again: what it had begun is gone with its server. */
function withOpening(analysis: TextAnalysis, beginsOnly: boolean): TextAnalysis {
  return beginsOnly ? { ...analysis, isRepeatable: true } : analysis;
}

function analysisOf(
  request: TdsRequest,
  { payload }: RequestMessage,
  { handles, database }: UnitSituation,
): TextAnalysis {
  switch (request.kind) {
    case 'batch':
      return analyse(request.sql, 'batch', database);
    case 'statement':
      return analyse(request.sql, 'dynamic', database);
    case 'execute': {
      const sql = handles.sqlOf(request.handle);
      return sql === null ? OPAQUE : { ...analyse(sql, 'dynamic', database), isSingleWrite: false };
    }
    case 'prepare':
    case 'unprepare':
      return PLAIN;
    case 'transaction':
      return request.transaction.kind === 'begin' ? PLAIN : { ...PLAIN, isRepeatable: false };
    case 'bulk':
      return OPAQUE;
    case 'procedure':
      return { ...OPAQUE, effect: effectOfProcedure(request.name, payload) };
  }
}
