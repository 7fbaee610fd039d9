import type { StatementText } from './statement-text.ts';
import type { SqlRunner } from './sql-runner.ts';
import type { Judgement, StatementJudge } from './statement-judge.ts';

/** TEMPORARY until the catalogue lands. */
export class DatabaseMemory implements StatementJudge {
  known({ text }: StatementText, _searchPath: string | null): Judgement | null {
    const read = /^\s*select/i.test(text) && !/for update|pg_|set_config/i.test(text);
    return {
      provedRead: read,
      staysInside: true,
      sessionSafe: true,
      undoneByRollback: true,
      unsafeReason: '',
    };
  }
  async learn(
    _texts: readonly StatementText[],
    _runner: SqlRunner,
    _searchPath: string | null,
  ): Promise<void> {
    await Promise.resolve();
  }
  customNames(): readonly string[] {
    return [];
  }
}
