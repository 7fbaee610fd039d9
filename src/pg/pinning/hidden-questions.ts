import type { HostAddress } from '../../topology/host-address.ts';
import { namedStatementMessages } from '../frontend-messages.ts';
import { RowCollector } from '../row-collector.ts';
import type { ServerConnection } from '../server-connection.ts';
import type { SqlRow, SqlRunner } from '../sql-runner.ts';

const NAME = 'holdfast_question';

/** Asks the server over the application's own connection, inside of a transaction as well, and leaves nothing there. */
export class HiddenQuestions implements SqlRunner {
  readonly #connection: ServerConnection;

  constructor(connection: ServerConnection) {
    this.#connection = connection;
  }

  get address(): HostAddress {
    return this.#connection.address;
  }

  run(sql: string, parameters: readonly (string | null)[] = []): Promise<readonly SqlRow[]> {
    return new Promise((resolve, reject) => {
      const messages = namedStatementMessages(NAME, sql, parameters);
      this.#connection.ask(messages, new RowCollector(resolve, reject));
    });
  }
}

/** Makes currval and lastval undefined. */
export function discardDrawn(): Buffer {
  return namedStatementMessages(NAME, 'DISCARD SEQUENCES', []);
}
