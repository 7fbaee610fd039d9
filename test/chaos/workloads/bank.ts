import type { SeededRandom } from '../../support/seeded-random.ts';
import { effects } from '../final-state.ts';
import type { TransactionRun } from '../transaction-run.ts';
import type { Body, Workload } from './workload.ts';

const ACCOUNTS = 8;
export const OPENING_BALANCE = 100;
const LARGEST_AMOUNT = 30;
const ONE = 'SELECT balance FROM account WHERE id = $1';

interface Transfer {
  readonly source: number;
  readonly target: number;
  readonly amount: number;
}

/** Accounts between which money is moved, and each transfer in a table without a key: booked twice, it is there twice. */
export class Bank implements Workload {
  readonly name = 'bank';
  readonly weight = 3;
  readonly setUp = `
    CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL CHECK (balance >= 0));
    INSERT INTO account SELECT id, ${OPENING_BALANCE} FROM generate_series(0, ${ACCOUNTS - 1}) AS id;
    CREATE TABLE transfer (marker text NOT NULL, source int NOT NULL, target int NOT NULL, amount int NOT NULL)`;

  transaction(random: SeededRandom): Body {
    if (random.chance(0.3)) return audit;
    const transfer = drawTransfer(random);
    return async (run) => {
      await move(run, transfer);
    };
  }

  statement(random: SeededRandom): Body {
    if (random.chance(0.4)) return audit;
    const { source, target, amount } = drawTransfer(random);
    const [low, high] = [Math.min(source, target), Math.max(source, target)];
    return async (run) => {
      // Whether there is enough money nobody knows before the answer.
      run.possibleEffect(effects.transfer(run.marker));
      // The lower account first, as everywhere.
      const rows = await run.write(
        `WITH taken AS (UPDATE account SET balance = balance - $3 WHERE id = $1 AND balance >= $3 RETURNING id),
              given AS (UPDATE account SET balance = balance + $3 WHERE id = $2 AND EXISTS (SELECT FROM taken) RETURNING id)
         INSERT INTO transfer SELECT '${run.marker}', $1, $2, $3 FROM given RETURNING amount`,
        [low, high, amount],
      );
      run.settlePossible(rows.length > 0);
    };
  }
}

function drawTransfer(random: SeededRandom): Transfer {
  const source = random.integer(0, ACCOUNTS - 1);
  const target = (source + random.integer(1, ACCOUNTS - 1)) % ACCOUNTS;
  return { source, target, amount: random.integer(1, LARGEST_AMOUNT) };
}

/** Statement by statement where the snapshot must hold it together. */
async function audit(run: TransactionRun): Promise<void> {
  if (!run.hasSnapshot) {
    const rows = await run.read<{ balances: number[] }>(
      'SELECT array_agg(balance ORDER BY id) AS balances FROM account',
    );
    run.observe({ kind: 'bank-read', balances: rows[0]!.balances });
    return;
  }
  const balances: number[] = [];
  for (let id = 0; id < ACCOUNTS; id++) balances.push(await balanceOf(run, ONE, id));
  run.observe({ kind: 'bank-read', balances });
}

async function move(run: TransactionRun, { source, target, amount }: Transfer): Promise<void> {
  const ids = [source, target].sort((one, other) => one - other);
  const balances = new Map<number, number>();
  for (const id of ids)
    balances.set(id, await balanceOf(run, run.hasSnapshot ? ONE : `${ONE} FOR UPDATE`, id));
  await run.think();
  // Now and then without looking: the server has to refuse it then.
  if (balances.get(source)! < amount && run.random.chance(0.7)) return;
  const isRelative = !run.hasSnapshot && run.random.chance(0.5);
  run.effect(effects.transfer(run.marker));
  for (const id of ids) {
    const change = id === source ? -amount : amount;
    if (isRelative) await run.write('UPDATE account SET balance = balance + $2 WHERE id = $1', [id, change]);
    else await run.write('UPDATE account SET balance = $2 WHERE id = $1', [id, balances.get(id)! + change]);
  }
  await run.write(`INSERT INTO transfer VALUES ('${run.marker}', $1, $2, $3)`, [source, target, amount]);
}

async function balanceOf(run: TransactionRun, text: string, id: number): Promise<number> {
  const rows = await run.read<{ balance: number }>(text, [id]);
  return rows[0]!.balance;
}
