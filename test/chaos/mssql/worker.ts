import { randomUUID } from 'node:crypto';
import type { FailoverConfiguration } from '../../../src/tedious.ts';
import { Connection } from '../../../src/tedious.ts';
import type { SeededRandom } from '../../support/seeded-random.ts';
import { begin, commit, connected, rollback, run } from '../../support/sqlserver/run-stock.ts';
import type { Outcome, Work } from './history.ts';

export const ACCOUNTS = 12;
const UNKNOWN = 58007;
const RESULT_LOST = 58008;

export interface WorkerOptions {
  readonly config: FailoverConfiguration;
  readonly random: SeededRandom;
  readonly work: Work[];
  readonly onConnection: (connection: Connection) => void;
  isOver(): boolean;
}

/** Moves money and writes notes until it is told to stop, and writes down what it was told. */
export async function work(options: WorkerOptions): Promise<void> {
  const { random } = options;
  let connection: Connection | null = null;
  while (!options.isOver()) {
    try {
      if (connection === null) {
        connection = new Connection(options.config);
        const made = connection;
        connection.on('error', () => undefined);
        options.onConnection(connection);
        await connected(connection);
        connection.on('end', () => {
          if (connection === made) connection = null;
        });
      }
      if (random.chance(0.3)) await note(connection, options);
      else await transfer(connection, options);
    } catch {
      connection?.close();
      connection = null;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  connection?.close();
}

async function note(connection: Connection, { random, work: done }: WorkerOptions): Promise<void> {
  const how = random.chance(0.5) ? 'statement' : 'batch';
  const isBatch = random.chance(0.2);
  const one: Work = {
    id: randomUUID(),
    transfer: null,
    hasNoToken: isBatch,
    form: isBatch ? 'own transaction' : `note as ${how}`,
    outcome: 'unknown',
    error: null,
  };
  done.push(one);
  const text = `INSERT INTO note (id) VALUES (N'${one.id}')`;
  try {
    await run(connection, isBatch ? `BEGIN TRAN; ${text}; COMMIT TRAN` : text, isBatch ? 'batch' : how);
    one.outcome = 'acknowledged';
  } catch (error) {
    settle(one, error, 'failed');
    if (isGone(error)) throw error;
  }
}

async function transfer(connection: Connection, { random, work: done }: WorkerOptions): Promise<void> {
  const from = random.integer(0, ACCOUNTS - 1);
  const to = (from + random.integer(1, ACCOUNTS - 1)) % ACCOUNTS;
  const amount = random.integer(1, 9);
  const rollsBack = random.chance(0.1);
  const endsInBatch = random.chance(0.1);
  const one: Work = {
    id: randomUUID(),
    transfer: { from, to, amount },
    hasNoToken: false,
    form: endsInBatch ? 'transfer that ends in a batch' : 'transfer',
    outcome: 'unknown',
    error: null,
  };
  done.push(one);
  try {
    await begin(connection);
    // In one order, so that there are few deadlocks.
    for (const id of [from, to].sort((a, b) => a - b)) {
      await run(connection, `SELECT balance FROM account WITH (UPDLOCK) WHERE id = ${id}`);
    }
    await run(connection, `UPDATE account SET balance = balance - ${amount} WHERE id = ${from}`);
    await run(connection, `UPDATE account SET balance = balance + ${amount} WHERE id = ${to}`);
    const insert = `INSERT INTO entry (id, sender, receiver, amount) VALUES (N'${one.id}', ${from}, ${to}, ${amount})`;
    if (endsInBatch && !rollsBack) {
      await run(connection, `${insert}; COMMIT TRAN`, 'batch');
      one.outcome = 'acknowledged';
      return;
    }
    await run(connection, insert);
  } catch (error) {
    settle(one, error, 'failed');
    if (isGone(error)) throw error;
    await rollback(connection).catch((failure: unknown) => {
      // The server has rolled it back already.
      if ((failure as { number?: number }).number !== 3903) throw failure;
    });
    return;
  }
  if (rollsBack) {
    one.outcome = 'rolled-back';
    await rollback(connection);
    return;
  }
  try {
    await commit(connection);
    one.outcome = 'acknowledged';
  } catch (error) {
    settle(one, error, 'failed');
    if (isGone(error)) throw error;
  }
}

function settle(one: Work, error: unknown, otherwise: Outcome): void {
  const { number, code, message } = error as { number?: number; code?: string; message?: string };
  one.error = `${number ?? code ?? ''} ${message ?? ''}`;
  if (number === UNKNOWN) one.outcome = 'unknown';
  else if (number === RESULT_LOST) one.outcome = 'result-lost';
  else one.outcome = otherwise;
}

/** The connection is over, not only the request. */
function isGone(error: unknown): boolean {
  const { code } = error as { code?: string };
  return code !== 'EREQUEST';
}
