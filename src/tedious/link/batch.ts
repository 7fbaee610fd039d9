import { readMessage, type MessageToken } from '../wire/read-token.ts';
import { MESSAGE } from '../wire/message-type.ts';
import type { RequestMessage } from '../wire/request-message.ts';
import { ENVIRONMENT, TOKEN } from '../wire/token-kind.ts';
import type { Receiver, ServerConnection } from './server-connection.ts';

/** What a batch of the driver's own has given. */
export interface BatchResult {
  /** All rows of all results; every column must be nvarchar, not of (max). */
  readonly rows: readonly (readonly (string | null)[])[];
  readonly errors: readonly MessageToken[];
}

/** ALL_HEADERS with a transaction descriptor (MS-TDS 2.2.5.3), which is filled in when the message is sent. */
const HEADERS = Buffer.from([22, 0, 0, 0, 18, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);

/** A message with a batch of the driver's own. */
export function batchMessage(sql: string): RequestMessage {
  return {
    type: MESSAGE.sqlBatch,
    reset: 'none',
    payload: Buffer.concat([HEADERS, Buffer.from(sql, 'utf16le')]),
  };
}

/** The server has refused a batch of the driver's own. */
export class ServerError extends Error {
  readonly detail: MessageToken;

  constructor(detail: MessageToken) {
    super(`error ${detail.number}: ${detail.message}`);
    this.detail = detail;
  }

  get number(): number {
    return this.detail.number;
  }
}

/** Runs a batch of the driver's own. Rejects only if the connection is lost. */
export function runBatch(connection: ServerConnection, sql: string): Promise<BatchResult> {
  return new Promise((resolve, reject) => {
    connection.send(batchMessage(sql), new BatchReceiver(connection, resolve, reject));
  });
}

/** The same; rejects with ServerError if it fails. */
export async function mustRun(connection: ServerConnection, sql: string): Promise<BatchResult['rows']> {
  const { rows, errors } = await runBatch(connection, sql);
  if (errors[0] !== undefined) throw new ServerError(errors[0]);
  return rows;
}

class BatchReceiver implements Receiver {
  readonly #connection: ServerConnection;
  readonly #resolve: (result: BatchResult) => void;
  readonly #reject: (error: Error) => void;
  readonly #rows: (string | null)[][] = [];
  readonly #errors: MessageToken[] = [];

  constructor(
    connection: ServerConnection,
    resolve: (result: BatchResult) => void,
    reject: (error: Error) => void,
  ) {
    this.#connection = connection;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  token(kind: number, bytes: Buffer, start: number): void {
    if (kind === TOKEN.row || kind === TOKEN.nullBitmapRow) {
      this.#rows.push(readRow(kind, bytes, start, this.#connection.shape?.columns ?? 0));
    } else if (kind === TOKEN.error) this.#errors.push(readMessage(bytes, start));
  }

  paused(): void {
    // All is kept until the end.
  }

  ended(): void {
    this.#resolve({ rows: this.#rows, errors: this.#errors });
  }

  abandoned(error: Error): void {
    this.#reject(error);
  }
}

const NULL_LENGTH = 0xffff;

function readRow(kind: number, bytes: Buffer, start: number, columns: number): (string | null)[] {
  const isBitmap = kind === TOKEN.nullBitmapRow;
  let at = start + 1 + (isBitmap ? (columns + 7) >> 3 : 0);
  const values: (string | null)[] = [];
  for (let i = 0; i < columns; i++) {
    if (isBitmap && (bytes[start + 1 + (i >> 3)]! & (1 << (i & 7))) !== 0) {
      values.push(null);
      continue;
    }
    const length = bytes.readUInt16LE(at);
    at += 2;
    if (length === NULL_LENGTH) {
      values.push(null);
      continue;
    }
    values.push(bytes.toString('utf16le', at, at + length));
    at += length;
  }
  return values;
}

/** True for the environment changes that say that a transaction is over. */
export function endsTransaction(type: number | undefined): boolean {
  return (
    type === ENVIRONMENT.commitTransaction ||
    type === ENVIRONMENT.rollbackTransaction ||
    type === ENVIRONMENT.transactionEnded
  );
}
