import { describe, expect, it } from 'vitest';
import { checkBank } from '../../chaos/checks/bank.ts';
import { checkGeneratedIds } from '../../chaos/checks/generated-ids.ts';
import type { Registers } from '../../chaos/checks/registers.ts';
import { checkRegisters } from '../../chaos/checks/registers.ts';
import { checkUnknownOutcomes } from '../../chaos/checks/unknown-outcomes.ts';
import type { Observation, Transaction, Violation } from '../../chaos/transaction.ts';
import { transaction } from './history-of.ts';

const rules = (violations: readonly Violation[]): string[] => violations.map(({ rule }) => rule);

describe('the bank', () => {
  const transfer = { marker: 'a', source: 0, target: 1, amount: 5 };
  const seen = (...balances: number[]): Transaction =>
    transaction({ marker: 'r', observations: [{ kind: 'bank-read', balances }] });
  const books = { openingBalance: 10, balances: [5, 15], transfers: [transfer] };

  it('is right if the total is the same at all times', () => {
    expect(checkBank([seen(10, 10), seen(5, 15)], books)).toEqual([]);
  });

  it('shows money that comes or goes', () => {
    expect(rules(checkBank([seen(5, 10)], books))).toEqual(['total']);
    expect(rules(checkBank([], { ...books, balances: [5, 16] }))).toEqual(['total', 'balance']);
  });

  it('shows an overdrawn account', () => {
    expect(rules(checkBank([seen(-1, 21)], books))).toEqual(['overdrawn']);
  });

  it('shows a transfer that was booked without its money, or twice', () => {
    expect(rules(checkBank([], { ...books, transfers: [] }))).toEqual(['balance', 'balance']);
    expect(rules(checkBank([], { ...books, balances: [0, 20] }))).toEqual(['balance', 'balance']);
  });
});

describe('registers', () => {
  const registers: Registers = {
    current: [{ key: 1, version: 2, value: 'b' }],
    made: [
      { key: 1, version: 1, value: 'a' },
      { key: 1, version: 2, value: 'b' },
    ],
  };
  const set = (marker: string, version: number, endedAt: number): Transaction =>
    transaction({
      marker,
      beganAt: endedAt - 1,
      endedAt,
      observations: [{ kind: 'register-set', key: 1, version }],
    });
  const seen = (version: number, value: string, sentAt: number): Transaction => {
    const read: Observation = {
      kind: 'register-read',
      key: 1,
      version,
      value,
      sentAt,
      answeredAt: sentAt + 1,
    };
    return transaction({ marker: 'r', beganAt: sentAt, endedAt: sentAt + 2, observations: [read] });
  };

  it('are right if each version was made once and read as it was made', () => {
    const history = [set('a', 1, 10), seen(1, 'a', 11), set('b', 2, 20), seen(2, 'b', 21), seen(0, '', 5)];
    expect(checkRegisters(history, registers)).toEqual([]);
  });

  it('show a version that was made twice, or skipped', () => {
    const twice = [...registers.made, { key: 1, version: 2, value: 'c' }];
    expect(rules(checkRegisters([], { ...registers, made: twice }))).toContain('version');
    expect(rules(checkRegisters([], { ...registers, made: registers.made.slice(1) }))).toEqual(['version']);
  });

  it('show a register that is not what was made last', () => {
    const current = [{ key: 1, version: 1, value: 'a' }];
    expect(rules(checkRegisters([], { ...registers, current }))).toEqual(['register']);
  });

  it('show a read that nobody wrote, unless it was lost', () => {
    expect(rules(checkRegisters([seen(2, 'x', 30)], registers))).toEqual(['register read']);
    expect(
      checkRegisters([seen(2, 'x', 30)], registers, [{ begunAt: 20, overAt: 40, failovers: 1 }]),
    ).toEqual([]);
  });

  it('show a read of what was over', () => {
    expect(rules(checkRegisters([set('b', 2, 20), seen(1, 'a', 21)], registers))).toEqual(['stale register']);
    expect(checkRegisters([set('b', 2, 20), seen(1, 'a', 19)], registers)).toEqual([]);
    expect(rules(checkRegisters([seen(2, 'b', 20), seen(1, 'a', 22)], registers))).toEqual([
      'stale register',
    ]);
  });
});

describe('generated ids', () => {
  const given = (marker: string, id: string, madeAtMillis: number | null = null): Transaction =>
    transaction({ marker, observations: [{ kind: 'generated-id', id, madeAtMillis }] });
  const rows = {
    parents: [{ id: '7', marker: 'a', madeAtMillis: 9 }],
    children: [{ parentId: '7', marker: 'a' }],
  };

  it('are those that the application was given', () => {
    expect(checkGeneratedIds([given('a', '7')], rows)).toEqual([]);
    expect(rules(checkGeneratedIds([given('a', '8')], rows))).toEqual(['generated id']);
    const unknown: Transaction = { ...given('a', '8'), status: 'info' };
    expect(rules(checkGeneratedIds([unknown], rows))).toEqual(['generated id']);
  });

  it('come with the time that the application was given', () => {
    expect(checkGeneratedIds([given('a', '7', 9)], rows)).toEqual([]);
    expect(rules(checkGeneratedIds([given('a', '7', 8)], rows))).toEqual(['generated time']);
  });

  it('bind a child to the parent of its own transaction', () => {
    const children = [{ parentId: '7', marker: 'b' }];
    expect(rules(checkGeneratedIds([], { ...rows, children }))).toEqual(['child']);
  });
});

describe('unknown outcomes', () => {
  const error = {
    name: 'OutcomeUnknownError',
    message: '',
    code: '08007',
    kind: 'outcome-unknown',
    outcome: 'unknown',
  };
  const unknown = transaction({ marker: 'u', status: 'info', endSentAt: 10, endedAt: 20, error });
  const check = (one: Transaction, reason?: string, allowed = true): string[] => {
    const resolutions = reason === undefined ? [] : [{ at: 15, reason }];
    return rules(checkUnknownOutcomes([one], { allowed, resolutions }));
  };

  it('are right for a documented reason, and for writes outside of transactions', () => {
    expect(check(unknown, 'lineage-unproved')).toEqual([]);
    expect(check({ ...unknown, autocommit: true })).toEqual([]);
    expect(check({ ...unknown, status: 'ok', error: null })).toEqual([]);
    expect(check({ ...unknown, end: 'SELECT 1; COMMIT' })).toEqual([]);
    expect(check({ ...unknown, end: 'SELECT 1; COMMIT', effects: ['x'] })).toEqual(['unknown']);
  });

  it('are wrong for any other reason, and for an error that is not about it', () => {
    expect(check(unknown)).toEqual(['unknown']);
    expect(check(unknown, 'no-mark')).toEqual(['unknown']);
    expect(check({ ...unknown, error: { ...error, kind: null, code: '57P01' } })).toEqual(['unknown']);
    expect(check({ ...unknown, autocommit: true, error: null })).toEqual(['unknown']);
  });

  it('are wrong with tokens', () => {
    expect(check(unknown, 'lineage-unproved', false)).toEqual(['unknown']);
    expect(check({ ...unknown, autocommit: true }, undefined, false)).toEqual(['unknown']);
  });
});
