import type { SqlRunner } from '../sql-runner.ts';
import { relationCalled, tableFacts, type TableFacts } from './table-facts.ts';

/** What was found out of tables on the new server, until something defines them anew. */
export class KnownTables {
  readonly #questions: SqlRunner;
  readonly #tables = new Map<number, TableFacts>();

  constructor(questions: SqlRunner) {
    this.#questions = questions;
  }

  /** The table that a name means here; null if there is none. */
  async called(relation: string): Promise<TableFacts | null> {
    const oid = await relationCalled(relation, this.#questions);
    if (oid === null) return null;
    await this.learn([oid]);
    return this.withOid(oid);
  }

  /** Null if it was not learned. */
  withOid(oid: number): TableFacts | null {
    return this.#tables.get(oid) ?? null;
  }

  async learn(oids: readonly number[]): Promise<void> {
    const unknown = oids.filter((oid) => !this.#tables.has(oid));
    for (const [oid, facts] of await tableFacts(unknown, this.#questions)) this.#tables.set(oid, facts);
  }

  /** Something was defined that may have changed them. */
  forget(): void {
    this.#tables.clear();
  }
}
