import type { SeededRandom } from '../../support/seeded-random.ts';
import { effects } from '../final-state.ts';
import type { TransactionRun } from '../transaction-run.ts';
import type { Body, Workload } from './workload.ts';

/** Rows whose ids the database makes and the application is given, and rows that refer to them. */
export class GeneratedIds implements Workload {
  readonly name = 'generated-ids';
  readonly weight = 2;
  readonly setUp = `
    CREATE TABLE parent (id bigserial PRIMARY KEY, marker text NOT NULL, made_at timestamptz NOT NULL DEFAULT now());
    CREATE TABLE child (parent_id bigint NOT NULL REFERENCES parent, marker text NOT NULL)`;

  transaction(random: SeededRandom): Body {
    const reference = random.pick(['given', 'given', 'currval'] as const);
    const returning = random.pick(['id', 'id', 'id, made_at'] as const);
    return async (run) => {
      const id = await insert(run, returning);
      await run.think();
      run.effect(effects.child(run.marker));
      // A replay that gives the parent another id must not bind the child to it in silence (A9).
      if (reference === 'given') await run.write(`INSERT INTO child VALUES ($1, '${run.marker}')`, [id]);
      else await run.write(`INSERT INTO child VALUES (currval('parent_id_seq'), '${run.marker}')`);
    };
  }

  statement(random: SeededRandom): Body {
    const returning = random.pick(['id', 'id, made_at'] as const);
    return async (run) => {
      await insert(run, returning);
    };
  }
}

async function insert(run: TransactionRun, returning: string): Promise<string> {
  run.effect(effects.parent(run.marker));
  const rows = await run.write<{ id: string; made_at?: Date }>(
    `INSERT INTO parent (marker) VALUES ('${run.marker}') RETURNING ${returning}`,
  );
  const { id, made_at: madeAt } = rows[0]!;
  run.observe({ kind: 'generated-id', id, madeAtMillis: madeAt?.getTime() ?? null });
  return id;
}
