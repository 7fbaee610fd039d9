import { MESSAGE } from '../wire/message-type.ts';
import { readRpcRequest, textOf } from '../wire/rpc-request.ts';
import type { TdsUnit } from '../session/tds-unit.ts';

/** What a transaction has done, as a report of its loss tells it. */
export interface CommittedWork {
  readonly statements: readonly string[];
  readonly bytes: number;
  parameters(): readonly (readonly (string | Buffer | null)[])[];
}

const ROOM_FOR_ITSELF = 300;

/** @param maxBytes above it the statements are left out, and only that there was a transaction is kept */
export function committedWork(
  units: readonly TdsUnit[],
  sqlOf: (handle: number) => string | null,
  maxBytes: number,
): CommittedWork {
  const work = units.filter(({ request }) => TEXTS.has(request.kind));
  const bytes = work.reduce((sum, { message }) => sum + message.payload.length, ROOM_FOR_ITSELF);
  if (bytes > maxBytes) return { statements: [], bytes: ROOM_FOR_ITSELF, parameters: () => [] };
  const statements = work.map(({ request }) => {
    switch (request.kind) {
      case 'batch':
      case 'statement':
        return request.sql;
      case 'execute':
        return sqlOf(request.handle) ?? '';
      case 'procedure':
        return request.name;
      default:
        return '';
    }
  });
  return { statements, bytes, parameters: () => work.map(parametersOf) };
}

const TEXTS: ReadonlySet<string> = new Set(['batch', 'statement', 'execute', 'procedure']);

function parametersOf({ message, request }: TdsUnit): readonly (string | Buffer | null)[] {
  if (message.type !== MESSAGE.rpc) return [];
  const { payload } = message;
  const own = request.kind === 'statement' ? 2 : request.kind === 'execute' ? 1 : 0;
  return readRpcRequest(payload)
    .parameters.slice(own)
    .map((parameter) => textOf(payload, parameter) ?? payload.subarray(parameter.start, parameter.end));
}
