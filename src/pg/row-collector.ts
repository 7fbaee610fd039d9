import { BackendType, readRow, readSqlError } from './backend-messages.ts';
import type { Responder } from './responder.ts';
import type { SqlError, SqlRow } from './sql-runner.ts';

/** Takes the answer to a hidden unit as a whole: its rows, or its first error. */
export class RowCollector implements Responder {
  readonly #resolve: (rows: readonly SqlRow[]) => void;
  readonly #reject: (error: Error) => void;
  readonly #rows: SqlRow[] = [];
  #error: SqlError | null = null;

  constructor(resolve: (rows: readonly SqlRow[]) => void, reject: (error: Error) => void) {
    this.#resolve = resolve;
    this.#reject = reject;
  }

  message(type: number, bytes: Buffer, start: number, end: number): boolean {
    if (type === BackendType.DataRow) this.#rows.push(readRow(bytes, start + 5));
    else if (type === BackendType.ErrorResponse) this.#error ??= readSqlError(bytes, start + 5, end);
    return false;
  }

  ready(): boolean {
    if (this.#error === null) this.#resolve(this.#rows);
    else this.#reject(this.#error);
    return false;
  }

  abandoned(error: Error): void {
    this.#reject(error);
  }
}
