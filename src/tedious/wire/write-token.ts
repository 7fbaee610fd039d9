import type { ENVIRONMENT } from './token-kind.ts';
import { TOKEN } from './token-kind.ts';
import type { MessageToken } from './read-token.ts';

/** Tokens that the driver itself says to the application's connection. */

function withLength(kind: number, body: Buffer): Buffer {
  const head = Buffer.alloc(3);
  head[0] = kind;
  head.writeUInt16LE(body.length, 1);
  return Buffer.concat([head, body]);
}

function shortText(text: string): Buffer {
  return Buffer.concat([Buffer.from([text.length]), Buffer.from(text, 'utf16le')]);
}

function longText(text: string): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16LE(text.length);
  return Buffer.concat([length, Buffer.from(text, 'utf16le')]);
}

export function doneToken(
  status: number,
  {
    kind = TOKEN.done,
    command = 0,
    rowCount = 0n,
  }: { kind?: number; command?: number; rowCount?: bigint } = {},
): Buffer {
  const bytes = Buffer.alloc(13);
  bytes[0] = kind;
  bytes.writeUInt16LE(status, 1);
  bytes.writeUInt16LE(command, 3);
  bytes.writeBigUInt64LE(rowCount, 5);
  return bytes;
}

export function messageToken(kind: typeof TOKEN.error | typeof TOKEN.info, message: MessageToken): Buffer {
  const head = Buffer.alloc(6);
  head.writeInt32LE(message.number, 0);
  head[4] = message.state;
  head[5] = message.class;
  const line = Buffer.alloc(4);
  line.writeUInt32LE(message.line);
  return withLength(
    kind,
    Buffer.concat([
      head,
      longText(message.message),
      shortText(message.serverName.slice(0, 255)),
      shortText(message.procedure.slice(0, 255)),
      line,
    ]),
  );
}

export function environmentToken(
  type: (typeof ENVIRONMENT)[keyof typeof ENVIRONMENT],
  to: string | Buffer,
  from: string | Buffer,
): Buffer {
  const value = (one: string | Buffer): Buffer =>
    typeof one === 'string' ? shortText(one) : Buffer.concat([Buffer.from([one.length]), one]);
  return withLength(TOKEN.environmentChange, Buffer.concat([Buffer.from([type]), value(to), value(from)]));
}

/** @param tdsVersion as LOGIN7 has it */
export function loginAckToken(tdsVersion: number, program: string, version: readonly number[]): Buffer {
  const head = Buffer.alloc(5);
  head[0] = 1; // T-SQL
  head.writeUInt32BE(tdsVersion, 1);
  return withLength(TOKEN.loginAck, Buffer.concat([head, shortText(program), Buffer.from(version)]));
}
