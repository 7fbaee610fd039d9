import type { SeededRandom } from '../../support/seeded-random.ts';
import type { TransactionRun } from '../transaction-run.ts';

/** What one transaction does between its BEGIN and its COMMIT; in autocommit it is one statement. */
export type Body = (run: TransactionRun) => Promise<void>;

/** A kind of work, and the tables that it has to itself. */
export interface Workload {
  readonly name: string;
  /** How often it is drawn, in proportion to the others. */
  readonly weight: number;
  /** Makes the tables, once. */
  readonly setUp: string;
  /** Draws the next transaction. */
  transaction(random: SeededRandom): Body;
  /** Draws one statement that is a transaction by itself. */
  statement(random: SeededRandom): Body;
}
