import type { Pool } from 'pg';

export const ACCOUNTS = 40;
export const OPENING_BALANCE = 10_000;

/** The transfers have no unique key on purpose: one that was booked twice must be seen by the audit. */
export const SCHEMA = `
  CREATE TABLE accounts (id int PRIMARY KEY, balance bigint NOT NULL);
  INSERT INTO accounts SELECT id, ${OPENING_BALANCE} FROM generate_series(1, ${ACCOUNTS}) AS id;
  CREATE TABLE transfers (id uuid NOT NULL, source int NOT NULL, target int NOT NULL, amount bigint NOT NULL);
  CREATE INDEX ON transfers (id);
  GRANT SELECT, UPDATE ON accounts TO app;
  GRANT SELECT, INSERT ON transfers TO app;
`;

export interface Order {
  /** Made by the client, a uuid. */
  readonly id: string;
  readonly source: number;
  readonly target: number;
  readonly amount: number;
}

/**
 * One transfer as an application would write it with plain pg: nothing here knows of failovers, nothing is retried.
 * `beforeCommit` is called right before the COMMIT.
 */
export async function transfer(pool: Pool, order: Order, beforeCommit: () => void): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    const balances = new Map<number, number>();
    // Always in this order, or two transfers could wait for each other.
    for (const account of [order.source, order.target].sort((a, b) => a - b)) {
      const { rows } = await client.query<{ balance: string }>(
        'SELECT balance FROM accounts WHERE id = $1 FOR UPDATE',
        [account],
      );
      balances.set(account, Number(rows[0]!.balance));
    }
    const amount = Math.min(order.amount, balances.get(order.source)!);
    await client.query('UPDATE accounts SET balance = balance - $2 WHERE id = $1', [order.source, amount]);
    await client.query('UPDATE accounts SET balance = balance + $2 WHERE id = $1', [order.target, amount]);
    await client.query('INSERT INTO transfers (id, source, target, amount) VALUES ($1, $2, $3, $4)', [
      order.id,
      order.source,
      order.target,
      amount,
    ]);
    beforeCommit();
    const { command } = await client.query('COMMIT');
    if (command !== 'COMMIT') throw new Error(`the server answered COMMIT with ${command}`);
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    throw error;
  } finally {
    client.release();
  }
}
