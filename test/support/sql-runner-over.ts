import pg from 'pg';
import type { SqlRow, SqlRunner } from '../../src/pg/sql-runner.ts';
import { SqlError } from '../../src/pg/sql-runner.ts';

/** A `SqlRunner` over a stock client; `statements` counts what was run. */
export interface CountingRunner extends SqlRunner {
  readonly statements: readonly string[];
}

export function sqlRunnerOver(client: pg.Client): CountingRunner {
  const statements: string[] = [];
  let last: Promise<unknown> = Promise.resolve();
  const run = async (
    sql: string,
    parameters: readonly (string | null)[] = [],
  ): Promise<readonly SqlRow[]> => {
    statements.push(sql);
    const answer = last.then(async () => await runOne(client, sql, parameters));
    last = answer.catch(() => undefined);
    return await answer;
  };
  return { statements, run };
}

async function runOne(
  client: pg.Client,
  sql: string,
  parameters: readonly (string | null)[],
): Promise<readonly SqlRow[]> {
  try {
    const { rows } = await client.query<(string | null)[]>({
      text: sql,
      values: [...parameters],
      rowMode: 'array',
      // As the driver does, so that a string of several statements is an error. Missing in @types/pg.
      ...{ queryMode: 'extended' },
      types: { getTypeParser: () => (text: string) => text },
    });
    return rows;
  } catch (error) {
    if (error instanceof pg.DatabaseError) {
      throw new SqlError(error.message, error.code ?? 'XX000', error.severity ?? 'ERROR');
    }
    throw error;
  }
}
