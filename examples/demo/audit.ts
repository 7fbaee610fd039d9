import type { ClientBase } from 'pg';
import { ACCOUNTS, OPENING_BALANCE } from './bank.ts';
import type { Told } from './ledger.ts';

/** What is in the database. */
export interface Books {
  readonly balances: ReadonlyMap<number, number>;
  readonly transfers: readonly {
    readonly id: string;
    readonly source: number;
    readonly target: number;
    readonly amount: number;
  }[];
}

export interface Audit {
  /** No money came into being or vanished. */
  readonly totalConserved: boolean;
  /** Accounts whose balance is not what the transfers that are there make it. */
  readonly wrongBalances: number;
  /** Acknowledged, and not there. */
  readonly lost: number;
  /** There more than once. */
  readonly duplicated: number;
  /** There, although the application was told that it had failed, or knows nothing of it. */
  readonly unexpected: number;
  /** The application was told that nobody knows, and it is there. */
  readonly unknownCommitted: number;
}

export async function readBooks(client: ClientBase): Promise<Books> {
  await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
  const accounts = await client.query<{ id: number; balance: string }>('SELECT id, balance FROM accounts');
  const transfers = await client.query<{ id: string; source: number; target: number; amount: string }>(
    'SELECT id, source, target, amount FROM transfers',
  );
  await client.query('COMMIT');
  return {
    balances: new Map(accounts.rows.map(({ id, balance }) => [id, Number(balance)])),
    transfers: transfers.rows.map((row) => ({ ...row, amount: Number(row.amount) })),
  };
}

/** Holds what is in the database against what the application was told. */
export function audit(books: Books, told: ReadonlyMap<string, Told>): Audit {
  const times = new Map<string, number>();
  const expected = new Map(Array.from({ length: ACCOUNTS }, (_, index) => [index + 1, OPENING_BALANCE]));
  for (const { id, source, target, amount } of books.transfers) {
    times.set(id, (times.get(id) ?? 0) + 1);
    expected.set(source, (expected.get(source) ?? 0) - amount);
    expected.set(target, (expected.get(target) ?? 0) + amount);
  }
  const there = [...times.keys()];
  const total = [...books.balances.values()].reduce((sum, balance) => sum + balance, 0);
  return {
    totalConserved: total === ACCOUNTS * OPENING_BALANCE,
    wrongBalances: [...expected].filter(([id, balance]) => books.balances.get(id) !== balance).length,
    lost: [...told].filter(([id, answer]) => answer === 'acknowledged' && !times.has(id)).length,
    duplicated: [...times.values()].filter((count) => count > 1).length,
    unexpected: there.filter((id) => (told.get(id) ?? 'failed') === 'failed').length,
    unknownCommitted: there.filter((id) => told.get(id) === 'unknown').length,
  };
}
