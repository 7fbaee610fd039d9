import type { Journal } from '../session/journal.ts';
import { queryMessage, statementMessages } from './frontend-messages.ts';
import { HiddenAnswer } from './hidden-answer.ts';
import { makeUnit, type PgUnit } from './pg-unit.ts';
import type { ServerConnection } from './server-connection.ts';
import type { SqlRow } from './sql-runner.ts';

const MODE_SQL = `SELECT pg_catalog.current_setting('transaction_isolation'),
  pg_catalog.current_setting('transaction_read_only'), pg_catalog.current_setting('transaction_deferrable')`;

/**
 * COMMIT AND CHAIN opens a transaction that has no BEGIN of its own, with the mode of the one before (design review A1):
 * for its journal one is made here.
 */
export class ChainedTransaction {
  /** Isolation, access mode and deferrability of the transaction that a COMMIT AND CHAIN under way ends. */
  #mode: SqlRow | null = null;

  /** The COMMIT AND CHAIN is about to be written: asks for the mode in front of it, in the same write. */
  ask(connection: ServerConnection): void {
    this.#mode = null;
    connection.ask(
      statementMessages(MODE_SQL, []),
      new HiddenAnswer((_error, row) => {
        this.#mode = row;
      }),
    );
  }

  /** The transaction has begun: puts a BEGIN in front of its journal. */
  begin(journal: Journal<PgUnit>): void {
    const begin = this.#mode === null ? null : beginOf(this.#mode);
    if (begin === null) {
      journal.makeUnreplayable('it was begun by COMMIT AND CHAIN, and the server would not tell its mode');
      return;
    }
    const unit = makeUnit(true, 0, queryMessage(begin));
    unit.closed = true;
    journal.beginChained(unit);
  }
}

function beginOf([isolation, readOnly, deferrable]: SqlRow): string | null {
  const level = /^(serializable|repeatable read|read committed|read uncommitted)$/.exec(isolation ?? '')?.[0];
  if (level === undefined) return null;
  const access = readOnly === 'on' ? 'READ ONLY' : 'READ WRITE';
  return `BEGIN ISOLATION LEVEL ${level}, ${access}, ${deferrable === 'on' ? '' : 'NOT '}DEFERRABLE`;
}
