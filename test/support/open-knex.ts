import knex, { type Knex } from 'knex';
import type pg from 'pg';
import { onTestFinished } from 'vitest';
import type { FailoverEvents } from '../../src/events.ts';
import { HoldfastPostgres } from '../../src/knex.ts';

/** A Knex of a test, and what it had to say beside its results. */
export type OpenKnex = Knex & {
  /** Warnings and errors that Knex logged: that a connection is gone, for one. */
  readonly logged: readonly string[];
  readonly failover: FailoverEvents;
};

/** A Knex on our dialect, unless `config` names another; ended after the test. */
export function openKnex(config: Knex.Config): OpenKnex {
  const logged: string[] = [];
  const note = (message: unknown): void => {
    logged.push(String(message));
  };
  const db = knex({
    client: HoldfastPostgres,
    ...config,
    log: { warn: note, error: note, deprecate: note, debug: () => undefined },
  });
  onTestFinished(async () => {
    // Of a test that failed some may still be in use, for which Knex would wait.
    const { pool } = db.client as {
      pool: { release(client: pg.Client): boolean } & {
        readonly used: readonly { readonly resource: pg.Client }[];
      };
    };
    for (const { resource } of [...pool.used]) {
      await resource.end();
      pool.release(resource);
    }
    await db.destroy();
  });
  const { failover } = db.client as HoldfastPostgres;
  return Object.assign(db, { logged, failover: failover! });
}
