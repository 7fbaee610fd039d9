import { serialize } from 'pg-protocol';

/**
 * Frontend messages of the PostgreSQL protocol, version 3: their types, reading names and texts out of the
 * application's, and making the driver's own hidden ones (with pg-protocol, the library that pg itself uses).
 */

/** Message types, as their byte. */
export const FrontendType = {
  Bind: 0x42, // B
  Close: 0x43, // C
  CopyData: 0x64, // d
  CopyDone: 0x63, // c
  CopyFail: 0x66, // f
  Describe: 0x44, // D
  Execute: 0x45, // E
  Flush: 0x48, // H
  FunctionCall: 0x46, // F
  Parse: 0x50, // P
  Query: 0x51, // Q
  Sync: 0x53, // S
  Terminate: 0x58, // X
} as const;

/** Request codes that stand where the startup message has its protocol version. */
export const CANCEL_REQUEST = 80_877_102;
export const SSL_REQUEST = 80_877_103;

/** Name and text of a Parse; `start` is behind the length. */
export function readParse(bytes: Buffer, start: number): { name: string; text: string } {
  const nameEnd = bytes.indexOf(0, start);
  const textEnd = bytes.indexOf(0, nameEnd + 1);
  return {
    name: nameEnd === start ? '' : bytes.toString('utf8', start, nameEnd),
    text: bytes.toString('utf8', nameEnd + 1, textEnd),
  };
}

/** Portal and statement names of a Bind. */
export function readBind(bytes: Buffer, start: number): { portal: string; statement: string } {
  const portalEnd = bytes.indexOf(0, start);
  if (portalEnd === start && bytes[start + 1] === 0) return UNNAMED_BIND;
  const statementEnd = bytes.indexOf(0, portalEnd + 1);
  return {
    portal: bytes.toString('utf8', start, portalEnd),
    statement: bytes.toString('utf8', portalEnd + 1, statementEnd),
  };
}

const UNNAMED_BIND = { portal: '', statement: '' } as const;

/** Kind ('S' statement, 'P' portal) and name of a Describe or Close. */
export function readTarget(bytes: Buffer, start: number): { kind: 'S' | 'P'; name: string } {
  const kind = bytes[start] === 0x53 ? 'S' : 'P';
  const end = bytes.indexOf(0, start + 1);
  return { kind, name: end === start + 1 ? '' : bytes.toString('utf8', start + 1, end) };
}

/** Portal name of an Execute, and whether it wants only so many rows. */
export function readExecute(bytes: Buffer, start: number): { portal: string; isLimited: boolean } {
  const end = bytes.indexOf(0, start);
  const portal = end === start ? '' : bytes.toString('utf8', start, end);
  return { portal, isLimited: bytes.readInt32BE(end + 1) !== 0 };
}

/** Text of a Query; `end` is the end of the message. */
export function readQuery(bytes: Buffer, start: number, end: number): string {
  return bytes.toString('utf8', start, end - 1);
}

/** Name of the driver's own questions: their statement and their portal. */
const QUESTION = 'holdfast_question';

/**
 * One statement of the driver's own with its parameters as text, closed by Sync. It has a name, which is free again behind
 * it: an unnamed portal of the application's may be open, and what the application binds without a name must be what it has
 * parsed so, also where that was on another connection and is gone (26000). Behind an error both names are taken still, the
 * portal's until the transaction is rolled back, which is a question as well: so they are freed first.
 */
export function statementMessages(sql: string, parameters: readonly (string | null)[]): Buffer {
  return Buffer.concat([
    serialize.close({ type: 'P', name: QUESTION }),
    serialize.close({ type: 'S', name: QUESTION }),
    serialize.parse({ name: QUESTION, text: sql }),
    serialize.bind({ portal: QUESTION, statement: QUESTION, values: [...parameters] }),
    serialize.execute({ portal: QUESTION }),
    serialize.close({ type: 'P', name: QUESTION }),
    serialize.close({ type: 'S', name: QUESTION }),
    serialize.sync(),
  ]);
}

/** Name of the hidden mark's statement and portal: named, or a user's suspended unnamed portal would be lost (A6). */
const MARK = 'holdfast_mark';

/**
 * Runs the statement of the mark; with `text` it is prepared first, whether it is there already or not. Without Sync.
 *
 * @param isUnnamed on the unnamed portal, which must be free: binding it destroys a suspended one of the application's
 */
export function markMessages(text: string | null, isUnnamed: boolean): Buffer {
  const run = isUnnamed
    ? [serialize.bind({ statement: MARK }), serialize.execute({})]
    : [
        serialize.bind({ portal: MARK, statement: MARK }),
        serialize.execute({ portal: MARK }),
        serialize.close({ type: 'P', name: MARK }),
      ];
  if (text === null) return Buffer.concat(run);
  // To close one that is not there is no error.
  return Buffer.concat([
    serialize.close({ type: 'S', name: MARK }),
    serialize.parse({ name: MARK, text }),
    ...run,
  ]);
}

/** Prepares a statement again from the application's own Parse message, whoever has taken its name. Closed by Sync. */
export function parseAgain(name: string, parseMessage: Buffer): Buffer {
  return Buffer.concat([serialize.close({ type: 'S', name }), parseMessage, serialize.sync()]);
}

/** Closes statements; of one that is not there that is no error. Closed by Sync. */
export function closeStatements(names: Iterable<string>): Buffer {
  return Buffer.concat([...[...names].map((name) => serialize.close({ type: 'S', name })), serialize.sync()]);
}

export function queryMessage(sql: string): Buffer {
  return serialize.query(sql);
}

/** Cancels whatever this backend is at; sent over a connection of its own. */
export function cancelMessage(processId: number, secretKey: number): Buffer {
  return serialize.cancel(processId, secretKey);
}

export function terminateMessage(): Buffer {
  return serialize.end();
}

/** Sync, which closes a unit of the extended protocol. */
export const SYNC_MESSAGE: Buffer = serialize.sync();
