import type { Transaction, Violation } from '../transaction.ts';

/** One transfer that is in the books. */
export interface Transfer {
  readonly marker: string;
  readonly source: number;
  readonly target: number;
  readonly amount: number;
}

export interface Books {
  readonly openingBalance: number;
  /** In the order of the accounts, which are numbered from 0. */
  readonly balances: readonly number[];
  readonly transfers: readonly Transfer[];
}

/** No money comes or goes: not in what anybody has seen at one time, and not in the end. No account is overdrawn. */
export function checkBank(history: readonly Transaction[], books: Books): Violation[] {
  const { openingBalance, balances, transfers } = books;
  const total = openingBalance * balances.length;
  const violations: Violation[] = [];
  const look = (who: string, seen: readonly number[]): void => {
    const sum = seen.reduce((one, other) => one + other, 0);
    if (sum !== total)
      violations.push({ rule: 'total', text: `${who}: [${seen.join()}] is ${sum} in place of ${total}` });
    if (seen.some((balance) => balance < 0))
      violations.push({ rule: 'overdrawn', text: `${who}: [${seen.join()}]` });
  };
  for (const { marker, isolation, status, observations } of history) {
    if (status !== 'ok') continue;
    for (const step of observations)
      if (step.kind === 'bank-read') look(`${marker} (${isolation})`, step.balances);
  }
  look('the final books', balances);
  const expected = balances.map(() => openingBalance);
  for (const { source, target, amount } of transfers) {
    expected[source]! -= amount;
    expected[target]! += amount;
  }
  expected.forEach((balance, account) => {
    if (balance !== balances[account])
      violations.push({
        rule: 'balance',
        text: `account ${account} has ${balances[account]!}, its transfers make ${balance}`,
      });
  });
  return violations;
}
