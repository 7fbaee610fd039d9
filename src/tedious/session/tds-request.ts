import type { RequestMessage } from '../wire/request-message.ts';
import { bodyAt } from '../wire/all-headers.ts';
import { MESSAGE } from '../wire/message-type.ts';
import { integerOf, readRpcRequest, textOf, type RpcParameter } from '../wire/rpc-request.ts';
import { readTransactionRequest, type TransactionRequest } from '../wire/transaction-request.ts';

/** What a message of the application asks for. */
export type TdsRequest =
  | { readonly kind: 'batch'; readonly sql: string }
  /** sp_executesql. `statement`: the parameter that holds the text. */
  | { readonly kind: 'statement'; readonly sql: string; readonly statement: RpcParameter }
  | { readonly kind: 'prepare'; readonly sql: string }
  /** `handleAt`: where in the payload its four bytes stand. */
  | { readonly kind: 'execute' | 'unprepare'; readonly handle: number; readonly handleAt: number }
  | { readonly kind: 'procedure'; readonly name: string }
  | { readonly kind: 'transaction'; readonly transaction: TransactionRequest }
  | { readonly kind: 'bulk' };

export function readRequest({ type, payload }: RequestMessage): TdsRequest {
  switch (type) {
    case MESSAGE.sqlBatch:
      return { kind: 'batch', sql: payload.toString('utf16le', bodyAt(payload)) };
    case MESSAGE.transaction:
      return { kind: 'transaction', transaction: readTransactionRequest(payload) };
    case MESSAGE.rpc:
      return readCall(payload);
    default:
      return { kind: 'bulk' };
  }
}

function readCall(payload: Buffer): TdsRequest {
  const { procedure, parameters, isComplete } = readRpcRequest(payload);
  const other: TdsRequest = { kind: 'procedure', name: procedure };
  switch (procedure) {
    case 'sp_executesql': {
      const [statement] = parameters;
      const sql = statement === undefined ? null : textOf(payload, statement);
      return statement === undefined || sql === null || !isComplete
        ? other
        : { kind: 'statement', sql, statement };
    }
    case 'sp_prepare': {
      // @handle, @params, @stmt
      const text = parameters[2];
      const sql = text === undefined ? null : textOf(payload, text);
      return sql === null || !isComplete ? other : { kind: 'prepare', sql };
    }
    case 'sp_execute':
    case 'sp_unprepare': {
      const [parameter] = parameters;
      const handle = parameter === undefined ? null : integerOf(payload, parameter);
      if (parameter === undefined || handle === null) return other;
      const kind = procedure === 'sp_execute' ? 'execute' : 'unprepare';
      return { kind, handle, handleAt: parameter.end - 4 };
    }
    default:
      return other;
  }
}
