import { parseAgain } from './frontend-messages.ts';
import { HiddenAnswer } from './hidden-answer.ts';
import type { NamedStatement, PgUnit } from './pg-unit.ts';
import type { ServerConnection } from './server-connection.ts';

/**
 * The application's named statements of the wire protocol. After a swap they are parsed again at their first use, in
 * the order of the journal and never up front: one may be about a table that the open transaction has created, and the
 * parsing of another may wait for a lock that a replay holds (B, D4).
 */
export class NamedStatements {
  readonly #known: Map<string, NamedStatement>;
  /** Those that the current connection does not have yet. */
  readonly #unparsed = new Set<string>();

  constructor(known: Map<string, NamedStatement>) {
    this.#known = known;
  }

  /** `journal`: what will be replayed may use statements that were closed since. */
  connectionReplaced(journal: readonly PgUnit[]): void {
    this.#unparsed.clear();
    for (const name of this.#known.keys()) this.#unparsed.add(name);
    for (const unit of journal) for (const { name } of unit.nameUses ?? []) this.#unparsed.add(name);
  }

  /** DEALLOCATE ALL or DISCARD ALL: on this connection as on any other, using one is an error from here on. */
  allDropped(): void {
    this.#known.clear();
    this.#unparsed.clear();
  }

  /** True if something must go out in front of this unit. */
  needsParse(unit: PgUnit): boolean {
    return this.#unparsed.size > 0 && unit.nameUses !== null;
  }

  /** Sends what this unit needs, hidden and in front of it. */
  prepare(unit: PgUnit, connection: ServerConnection): void {
    if (unit.nameUses === null || this.#unparsed.size === 0) return;
    for (const { kind, name, statement } of unit.nameUses) {
      if (!this.#unparsed.delete(name)) continue;
      if (kind === 'parse' || statement === undefined) continue;
      connection.ask(
        parseAgain(name, statement.parseMessage),
        new HiddenAnswer((error) => {
          // Kept for its next use: in a failed transaction, say, it can't be parsed now.
          if (error !== null) this.#unparsed.add(name);
        }),
      );
    }
  }
}
