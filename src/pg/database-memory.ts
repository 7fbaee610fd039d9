import type { SqlRunner } from './sql-runner.ts';
import { NOTHING_PROVED, type Judgement, type StatementJudge } from './statement-judge.ts';

/** What all sessions of one database share: judged statements, and what is known of the database as a whole. */
export class DatabaseMemory implements StatementJudge {
  known(_text: string, _searchPath: string | null): Judgement | null {
    return NOTHING_PROVED;
  }

  async learn(_texts: readonly string[], _runner: SqlRunner, _searchPath: string | null): Promise<void> {
    await Promise.resolve();
  }

  customNames(): readonly string[] {
    return [];
  }
}
