import { readRpcRequest, textOf, type RpcParameter } from '../wire/rpc-request.ts';
import { NO_EFFECT, type SessionEffect } from './effect-builder.ts';

/** An argument of a call, as far as it can be read. */
export interface Argument {
  /** With its @, in upper case; empty if it goes by its place. */
  readonly name: string;
  /** Null: a variable, or of another type than text. */
  readonly text: string | null;
}

/** Procedures that leave something in the session. In procedures of the application they can't be seen. */
const REASONS: Readonly<Record<string, string>> = {
  SP_SET_SESSION_CONTEXT: 'it has a session context (sp_set_session_context)',
  SP_SETAPPROLE: 'it has taken an application role (sp_setapprole)',
  SP_BINDSESSION: 'it shares the transaction of another session (sp_bindsession)',
  SP_CURSOR: 'it has a server cursor',
  SP_CURSOROPEN: 'it has a server cursor',
  SP_CURSORPREPARE: 'it has a server cursor',
  SP_CURSOREXECUTE: 'it has a server cursor',
  SP_CURSORPREPEXEC: 'it has a server cursor',
  SP_PREPARE: 'it has a statement prepared by a text (sp_prepare)',
  SP_PREPEXEC: 'it has a statement prepared by sp_prepexec',
  SP_PREPEXECRPC: 'it has a statement prepared by sp_prepexecrpc',
};
const XML_DOCUMENT = 'xml_document';

/** What a call of one of the server's own procedures does to its session. @param name without schema, in upper case */
export function effectOfCall(name: string, given: readonly Argument[]): SessionEffect {
  const reason = REASONS[name];
  if (reason !== undefined) return pinned(name.toLowerCase(), reason, false);
  switch (name) {
    case 'SP_UNSETAPPROLE':
      return { ...NO_EFFECT, undone: ['sp_setapprole'] };
    case 'SP_XML_PREPAREDOCUMENT':
      return pinned(XML_DOCUMENT, 'it has an open document (sp_xml_preparedocument)', true);
    case 'SP_XML_REMOVEDOCUMENT':
      return { ...NO_EFFECT, undone: [XML_DOCUMENT] };
    case 'SP_GETAPPLOCK': {
      const owner = argument(given, '@LOCKOWNER', 2);
      // The transaction's, if nothing is said.
      const isOfTransaction = owner === undefined || owner.text?.toUpperCase() === 'TRANSACTION';
      if (isOfTransaction) return NO_EFFECT;
      return pinned(lockName(given, 0), 'it has an application lock of its own (sp_getapplock)', true);
    }
    case 'SP_RELEASEAPPLOCK': {
      const owner = argument(given, '@LOCKOWNER', 1);
      return owner?.text?.toUpperCase() === 'SESSION'
        ? { ...NO_EFFECT, undone: [lockName(given, 0)] }
        : NO_EFFECT;
    }
    default:
      return NO_EFFECT;
  }
}

/** The same for a call by the protocol itself (RPC). */
export function effectOfProcedure(name: string, payload: Buffer): SessionEffect {
  const plain = name
    .replace(/^.*\./s, '')
    .replaceAll(/[[\]"]/g, '')
    .toUpperCase();
  if (plain !== 'SP_GETAPPLOCK' && plain !== 'SP_RELEASEAPPLOCK') return effectOfCall(plain, []);
  const { parameters, isComplete } = readRpcRequest(payload);
  const given = parameters.map((parameter) => ({
    name: parameter.name.toUpperCase(),
    text: textOf(payload, parameter) ?? narrowText(payload, parameter),
  }));
  // What could not be read may be who owns the lock.
  return effectOfCall(plain, isComplete ? given : [...given, { name: '@LOCKOWNER', text: null }]);
}

/** Of varchar and char, as far as it is ASCII. */
function narrowText(payload: Buffer, { type, length, start, end }: RpcParameter): string | null {
  if ((type !== 0xa7 && type !== 0xaf) || length.kind !== 'short') return null;
  return payload.toString('latin1', start + 2, end);
}

function pinned(name: string, reason: string, nests: boolean): SessionEffect {
  return { ...NO_EFFECT, pins: [{ name, reason, nests }] };
}

/** By its name, or by its place among those without one. */
function argument(given: readonly Argument[], name: string, place: number): Argument | undefined {
  return given.find((one) => one.name === name) ?? (given[place]?.name === '' ? given[place] : undefined);
}

function lockName(given: readonly Argument[], place: number): string {
  return `applock ${argument(given, '@RESOURCE', place)?.text ?? '?'}`;
}
