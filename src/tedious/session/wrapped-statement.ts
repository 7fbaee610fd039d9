import { bodyAt } from '../wire/all-headers.ts';
import type { RequestMessage } from '../wire/request-message.ts';
import { readRpcRequest, textOf } from '../wire/rpc-request.ts';
import { MESSAGE } from '../wire/message-type.ts';
import { tokenInsertOf } from '../token/token-batches.ts';
import type { TdsUnit } from './tds-unit.ts';

const KEY_PARAMETER = '@holdfast_key';
const KEY_DECLARATION = `${KEY_PARAMETER} binary(16)`;

/**
 * An autocommit write with its token, in a transaction of its own (decision 0014). The token comes first, since an INSERT
 * changes @@IDENTITY, SCOPE_IDENTITY() and @@ROWCOUNT, which the text may read behind its write. With XACT_ABORT nothing
 * is committed without everything. The answer to the text stands between two informational messages.
 */
export function wrappedMessage(unit: TdsUnit, schema: string, key: string, mark: string): RequestMessage {
  const { request, message } = unit;
  switch (request.kind) {
    case 'batch': {
      // As a call: so that SET ends with it, whatever happens, and the plan of the text can be found again.
      const text = wrap(request.sql, tokenInsertOf(schema, KEY_PARAMETER), mark);
      return { type: MESSAGE.rpc, reset: message.reset, payload: callOf(message.payload, text, key) };
    }
    case 'statement': {
      const text = wrap(request.sql, tokenInsertOf(schema, KEY_PARAMETER), mark);
      return { ...message, payload: withKey(message.payload, text, key) };
    }
    default:
      throw new Error(`a request of kind ${request.kind} can't have a token of its own`);
  }
}

function wrap(text: string, insert: string, mark: string): string {
  const tell = `RAISERROR(N'${mark}', 0, 1)`;
  // On a line of its own: the text may end in a comment.
  return `SET XACT_ABORT ON;BEGIN TRAN;${insert};${tell};${text}\n;${tell};COMMIT TRAN`;
}

const SP_EXECUTESQL = 10;

/** sp_executesql with the headers of a batch. */
function callOf(payload: Buffer, text: string, key: string): Buffer {
  const procedure = Buffer.from([0xff, 0xff, SP_EXECUTESQL, 0, 0, 0]);
  return Buffer.concat([
    payload.subarray(0, bodyAt(payload)),
    procedure,
    textParameter('', text),
    textParameter('', KEY_DECLARATION),
    binaryParameter(KEY_PARAMETER, Buffer.from(key, 'hex')),
  ]);
}

/** sp_executesql with another text and one more parameter. */
function withKey(payload: Buffer, text: string, key: string): Buffer {
  const { parameters } = readRpcRequest(payload);
  const [, declaration] = parameters;
  const value = binaryParameter(KEY_PARAMETER, Buffer.from(key, 'hex'));
  const head = payload.subarray(0, startOfParameters(payload));
  const parts = [head, textParameter('', text)];
  if (declaration === undefined) parts.push(textParameter('', KEY_DECLARATION));
  else {
    const declared = textOf(payload, declaration) ?? '';
    parts.push(
      textParameter('', declared.trim() === '' ? KEY_DECLARATION : `${declared}, ${KEY_DECLARATION}`),
    );
    parts.push(payload.subarray(declaration.end));
  }
  return Buffer.concat([...parts, value]);
}

/** Behind the name or number of the procedure and its flags. */
function startOfParameters(payload: Buffer): number {
  const at = bodyAt(payload);
  const length = payload.readUInt16LE(at);
  return at + (length === 0xffff ? 4 : 2 + length * 2) + 2;
}

function nameOf(name: string): Buffer {
  return Buffer.concat([Buffer.from([name.length]), Buffer.from(name, 'utf16le'), Buffer.from([0])]);
}

/** nvarchar(max), with a collation that means nothing for a text. */
function textParameter(name: string, text: string): Buffer {
  const bytes = Buffer.from(text, 'utf16le');
  const lengths = Buffer.alloc(12);
  lengths.writeBigUInt64LE(BigInt(bytes.length), 0);
  lengths.writeUInt32LE(bytes.length, 8);
  return Buffer.concat([
    nameOf(name),
    Buffer.from([0xe7, 0xff, 0xff, 0x09, 0x04, 0xd0, 0x00, 0x34]),
    lengths,
    bytes,
    Buffer.alloc(4),
  ]);
}

/** binary(16) */
function binaryParameter(name: string, value: Buffer): Buffer {
  const type = Buffer.from([0xad, value.length, 0, value.length, 0]);
  return Buffer.concat([nameOf(name), type, value]);
}
