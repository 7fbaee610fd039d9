import { serialize } from 'pg-protocol';
import { BackendType, readRow } from '../backend-messages.ts';
import { sqlError, type Responder, type ServerConnection } from '../server-connection.ts';
import type { SqlError, SqlRow, SqlRunner } from '../sql-runner.ts';

const NAME = 'holdfast_question';

/** One statement under names of the driver's own: an unnamed portal of the application's may be open in its transaction. */
function messages(sql: string, parameters: readonly (string | null)[]): Buffer {
  return Buffer.concat([
    serialize.close({ type: 'S', name: NAME }),
    serialize.parse({ name: NAME, text: sql }),
    serialize.bind({ portal: NAME, statement: NAME, values: [...parameters] }),
    serialize.execute({ portal: NAME }),
    serialize.close({ type: 'P', name: NAME }),
    serialize.sync(),
  ]);
}

/** Asks the server inside of the application's transaction, and leaves nothing there. */
export class HiddenQuestions implements SqlRunner {
  readonly #connection: ServerConnection;

  constructor(connection: ServerConnection) {
    this.#connection = connection;
  }

  run(sql: string, parameters: readonly (string | null)[] = []): Promise<readonly SqlRow[]> {
    return new Promise((resolve, reject) => {
      this.#connection.ask(messages(sql, parameters), new RowsOrError(resolve, reject));
    });
  }
}

/** Makes currval and lastval undefined. */
export function discardDrawn(): Buffer {
  return messages('DISCARD SEQUENCES', []);
}

/** Takes the answer to a hidden unit as a whole. */
export class RowsOrError implements Responder {
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
    else if (type === BackendType.ErrorResponse) this.#error ??= sqlError(bytes, start, end);
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
