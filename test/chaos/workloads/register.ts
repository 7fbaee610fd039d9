import type { SeededRandom } from '../../support/seeded-random.ts';
import { effects } from '../final-state.ts';
import type { TransactionRun } from '../transaction-run.ts';
import type { Body, Workload } from './workload.ts';

const REGISTERS = 4;
const READ = 'SELECT version, value FROM register WHERE key = $1';

/** Registers that change by compare-and-set on their version; who made which version is noted in a table without a key. */
export class Register implements Workload {
  readonly name = 'register';
  readonly weight = 2;
  readonly setUp = `
    CREATE TABLE register (key int PRIMARY KEY, version int NOT NULL, value text NOT NULL);
    INSERT INTO register SELECT key, 0, '' FROM generate_series(0, ${REGISTERS - 1}) AS key;
    CREATE TABLE register_version (key int NOT NULL, version int NOT NULL, value text NOT NULL)`;
  /** What was last seen of each, by anybody. */
  readonly #seen = Array.from({ length: REGISTERS }, () => 0);

  transaction(random: SeededRandom): Body {
    const key = random.integer(0, REGISTERS - 1);
    return async (run) => {
      const before = await this.#read(run, run.hasSnapshot ? READ : `${READ} FOR UPDATE`, key);
      await run.think();
      const version = before + 1;
      run.effect(effects.registerVersion(key, version, run.marker));
      await run.write(`UPDATE register SET version = $2, value = '${run.marker}' WHERE key = $1`, [
        key,
        version,
      ]);
      await run.write(`INSERT INTO register_version VALUES ($1, $2, '${run.marker}')`, [key, version]);
      run.observe({ kind: 'register-set', key, version });
    };
  }

  statement(random: SeededRandom): Body {
    const key = random.integer(0, REGISTERS - 1);
    if (random.chance(0.4))
      return async (run) => {
        await this.#read(run, READ, key);
      };
    return async (run) => {
      const version = this.#seen[key]! + 1;
      run.possibleEffect(effects.registerVersion(key, version, run.marker));
      const rows = await run.write(
        `WITH changed AS (UPDATE register SET version = $2, value = '${run.marker}' WHERE key = $1 AND version = $2 - 1
                          RETURNING key, version, value)
         INSERT INTO register_version SELECT * FROM changed RETURNING version`,
        [key, version],
      );
      run.settlePossible(rows.length > 0);
      if (rows.length > 0) run.observe({ kind: 'register-set', key, version });
    };
  }

  async #read(run: TransactionRun, text: string, key: number): Promise<number> {
    const sentAt = performance.now();
    const rows = await run.read<{ version: number; value: string }>(text, [key]);
    const { version, value } = rows[0]!;
    run.observe({ kind: 'register-read', key, version, value, sentAt, answeredAt: performance.now() });
    this.#seen[key] = version;
    return version;
  }
}
