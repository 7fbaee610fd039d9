import { waitFor } from '../support/wait-for.ts';
import type { PostgresNode } from '../support/postgres-node.ts';
import type { FinalState } from './history.ts';
import { OPENING_BALANCE } from './workloads/bank.ts';

const WORKING = `SELECT FROM pg_stat_activity WHERE usename = 'app' AND state = 'active'`;
/** Their clients are gone: they commit nothing, and may be in the way of those that do. */
const END_WHO_WAITS = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
  WHERE usename = 'app' AND state LIKE 'idle in transaction%'`;

/** Reads it from the last primary, past the driver. */
export async function readFinalState(node: PostgresNode): Promise<FinalState> {
  // A backend whose client is gone may still be about to commit something, which then would be there once too often.
  const isQuiet = async (): Promise<boolean> => {
    await node.query(END_WHO_WAITS);
    return (await node.query(WORKING)).rowCount === 0;
  };
  await waitFor(isQuiet, { timeoutMillis: 30_000, message: 'the last backends of the workers to be done' });
  return await node.withClient(async (client) => {
    const rowsOf = async <R extends object>(sql: string): Promise<R[]> => (await client.query<R>(sql)).rows;
    const lists = await rowsOf<{ key: number; elements: number[] }>('SELECT key, elements FROM list');
    const balances = await rowsOf<{ balance: number }>('SELECT balance FROM account ORDER BY id');
    return {
      lists: lists.map(({ key, elements }) => [key, elements] as const),
      books: {
        openingBalance: OPENING_BALANCE,
        balances: balances.map(({ balance }) => balance),
        transfers: await rowsOf('SELECT marker, source, target, amount FROM transfer'),
      },
      registers: {
        current: await rowsOf('SELECT key, version, value FROM register'),
        made: await rowsOf('SELECT key, version, value FROM register_version'),
      },
      rows: {
        parents: (
          await rowsOf<{ id: string; marker: string; madeAt: Date }>(
            'SELECT id::text, marker, made_at AS "madeAt" FROM parent',
          )
        ).map(({ id, marker, madeAt }) => ({ id, marker, madeAtMillis: madeAt.getTime() })),
        children: await rowsOf('SELECT parent_id::text AS "parentId", marker FROM child'),
      },
    };
  });
}

/** The names of all effects, as the workloads call them, and how often each is there. */
export const effects = {
  append: (key: number, value: number) => `${value} in list ${key}`,
  transfer: (marker: string) => `transfer ${marker}`,
  registerVersion: (key: number, version: number, value: string) =>
    `version ${version} of register ${key} by ${value}`,
  parent: (marker: string) => `parent ${marker}`,
  child: (marker: string) => `child ${marker}`,
} as const;

export function presentEffects({ lists, books, registers, rows }: FinalState): Map<string, number> {
  const present = new Map<string, number>();
  const add = (effect: string): void => {
    present.set(effect, (present.get(effect) ?? 0) + 1);
  };
  for (const [key, list] of lists) for (const value of list) add(effects.append(key, value));
  for (const { marker } of books.transfers) add(effects.transfer(marker));
  for (const { key, version, value } of registers.made) add(effects.registerVersion(key, version, value));
  for (const { marker } of rows.parents) add(effects.parent(marker));
  for (const { marker } of rows.children) add(effects.child(marker));
  return present;
}
