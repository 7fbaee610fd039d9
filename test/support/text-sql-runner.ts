import pg from 'pg';
import type { SqlRow, SqlRunner } from '../../src/pg/sql-runner.ts';
import { SqlError } from '../../src/pg/sql-runner.ts';

/** Runs the driver's own SQL over a stock client, and counts the round trips. */
export class TextSqlRunner implements SqlRunner {
  runs = 0;
  readonly #client: pg.Client;

  constructor(client: pg.Client) {
    this.#client = client;
  }

  async run(sql: string, parameters: readonly (string | null)[] = []): Promise<readonly SqlRow[]> {
    this.runs += 1;
    try {
      const { rows } = await this.#client.query<(string | null)[]>({
        text: sql,
        values: [...parameters],
        rowMode: 'array',
        types: { getTypeParser: () => (value: unknown) => value },
      });
      return rows;
    } catch (error) {
      if (error instanceof pg.DatabaseError) {
        throw new SqlError(error.message, error.code ?? '', error.severity ?? '');
      }
      throw error;
    }
  }
}
