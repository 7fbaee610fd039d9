import type { SqlRow, SqlRunner } from '../../../src/pg/sql-runner.ts';
import { SqlError } from '../../../src/pg/sql-runner.ts';

/** Rows, an error, or a promise that a test settles. */
export type ScriptedAnswer = readonly SqlRow[] | Error | Promise<readonly SqlRow[]>;

/** Answers each statement by what `answer` says, and keeps them all. */
export class ScriptedRunner implements SqlRunner {
  readonly statements: { readonly sql: string; readonly parameters: readonly (string | null)[] }[] = [];
  readonly #answer: (sql: string, parameters: readonly (string | null)[]) => ScriptedAnswer;

  constructor(answer: (sql: string, parameters: readonly (string | null)[]) => ScriptedAnswer) {
    this.#answer = answer;
  }

  async run(sql: string, parameters: readonly (string | null)[] = []): Promise<readonly SqlRow[]> {
    this.statements.push({ sql, parameters });
    const answer = await this.#answer(sql, parameters);
    if (answer instanceof Error) throw answer;
    return answer;
  }

  /** How many statements have the word in them. */
  count(word: string): number {
    return this.statements.filter(({ sql }) => sql.includes(word)).length;
  }
}

export function refusal(code: string): SqlError {
  return new SqlError('refused', code, 'ERROR');
}

/** A connection that says nothing any more. */
export async function silence(): Promise<never> {
  return await new Promise<never>(() => undefined);
}
