import { BackendType, readRow, readSqlError } from './backend-messages.ts';
import type { Responder } from './responder.ts';
import type { ServerConnection } from './server-connection.ts';
import type { SqlRow } from './sql-runner.ts';

/** Takes the answer to a hidden unit: its first error, its first row, and the status behind it. */
export class HiddenAnswer implements Responder {
  readonly #done: (error: Error | null, row: SqlRow | null, status: number) => void;
  #error: Error | null = null;
  #row: SqlRow | null = null;

  /** @param done not called if the connection is lost before: that is told to the connection's owner */
  constructor(done: (error: Error | null, row: SqlRow | null, status: number) => void) {
    this.#done = done;
  }

  message(type: number, bytes: Buffer, start: number, end: number): boolean {
    if (type === BackendType.DataRow) this.#row ??= readRow(bytes, start + 5);
    else if (type === BackendType.ErrorResponse) this.#error ??= readSqlError(bytes, start + 5, end);
    return false;
  }

  ready(status: number): boolean {
    this.#done(this.#error, this.#row, status);
    return false;
  }

  abandoned(): void {
    // See `done`.
  }
}

/** Sends a unit of the driver's own whose answer nobody needs: if it fails, so does what comes behind it. */
export function hide(message: Buffer, connection: ServerConnection): void {
  connection.ask(message, new HiddenAnswer(() => undefined));
}
