import { describe, expect, it } from 'vitest';
import type { Books } from '../../../examples/demo/audit.ts';
import { audit } from '../../../examples/demo/audit.ts';
import { ACCOUNTS, OPENING_BALANCE } from '../../../examples/demo/bank.ts';
import { Ledger } from '../../../examples/demo/ledger.ts';
import { OutcomeUnknownError, ReplayDivergedError, ResultLostError } from '../../../src/errors.ts';

type Transfer = Books['transfers'][number];

const transferOf = (id: string): Transfer => ({ id, source: 1, target: 2, amount: 5 });

/** Books in which exactly these transfers were booked. */
function booksWith(...transfers: Transfer[]): Books & { balances: Map<number, number> } {
  const balances = new Map(Array.from({ length: ACCOUNTS }, (_, index) => [index + 1, OPENING_BALANCE]));
  for (const { source, target, amount } of transfers) {
    balances.set(source, balances.get(source)! - amount);
    balances.set(target, balances.get(target)! + amount);
  }
  return { balances, transfers };
}

function ledgerWith(acknowledged: string[], failed: string[] = [], unknown: string[] = []): Ledger {
  const ledger = new Ledger();
  for (const id of acknowledged) ledger.acknowledge(id);
  for (const id of failed) ledger.reject(id, new Error('refused'), false);
  for (const id of unknown) ledger.reject(id, new OutcomeUnknownError('who knows'), true);
  return ledger;
}

const WELL = {
  totalConserved: true,
  wrongBalances: 0,
  lost: 0,
  duplicated: 0,
  unexpected: 0,
  unknownCommitted: 0,
};

describe("the demo's audit", () => {
  it('finds nothing when every acknowledged transfer is there once and no other is', () => {
    const ledger = ledgerWith(['a', 'b'], ['c'], ['d']);
    expect(audit(booksWith(transferOf('a'), transferOf('b')), ledger.told)).toEqual(WELL);
  });

  it('finds an acknowledged transfer that is lost', () => {
    expect(audit(booksWith(transferOf('a')), ledgerWith(['a', 'b']).told)).toEqual({ ...WELL, lost: 1 });
  });

  it('finds a transfer that was booked twice', () => {
    const books = booksWith(transferOf('a'), transferOf('a'));
    expect(audit(books, ledgerWith(['a']).told)).toEqual({ ...WELL, duplicated: 1 });
  });

  it('finds a transfer that the application was told had failed, or never heard of', () => {
    const books = booksWith(transferOf('a'), transferOf('b'));
    expect(audit(books, ledgerWith([], ['a']).told)).toEqual({ ...WELL, unexpected: 2 });
  });

  it('counts those with an unknown outcome apart', () => {
    const books = booksWith(transferOf('a'));
    expect(audit(books, ledgerWith([], [], ['a', 'b']).told)).toEqual({ ...WELL, unknownCommitted: 1 });
  });

  it('finds a transfer of which only one half was booked', () => {
    const books = booksWith(transferOf('a'));
    books.balances.set(2, OPENING_BALANCE);
    expect(audit(books, ledgerWith(['a']).told)).toEqual({
      ...WELL,
      totalConserved: false,
      wrongBalances: 1,
    });
  });

  it('finds an update that was applied twice though the total is right', () => {
    const books = booksWith(transferOf('a'));
    books.balances.set(1, books.balances.get(1)! - 5).set(2, books.balances.get(2)! + 5);
    expect(audit(books, ledgerWith(['a']).told)).toEqual({ ...WELL, wrongBalances: 2 });
  });
});

describe('what the application was told', () => {
  const serverError = (severity: string): Error =>
    Object.assign(new Error('no'), { code: '57P01', severity });
  it.each([
    ['committed, but the result is lost', new ResultLostError('gone'), true, 'acknowledged'],
    ['unknown', new OutcomeUnknownError('who knows'), true, 'unknown'],
    ['rolled back', new ReplayDivergedError('other rows'), true, 'failed'],
    ['lost before COMMIT was sent', new Error('read ECONNRESET'), false, 'failed'],
    ['lost after COMMIT was sent', new Error('read ECONNRESET'), true, 'unknown'],
    ['refused by the server', serverError('ERROR'), true, 'failed'],
    ['ended by the server during COMMIT', serverError('FATAL'), true, 'unknown'],
  ])('%s', (_, error, commitWasSent, told) => {
    const ledger = new Ledger();
    ledger.reject('a', error, commitWasSent);
    expect(ledger.told.get('a')).toBe(told);
  });
});
