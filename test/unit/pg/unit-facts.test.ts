import { describe, expect, it } from 'vitest';
import type { Ending } from '../../../src/session/loss-situation.ts';
import { makeUnit, type PgUnit } from '../../../src/pg/pg-unit.ts';
import { HeldAnswer } from '../../../src/pg/token/held-answer.ts';
import { UnitToken } from '../../../src/pg/token/unit-token.ts';
import { statementText } from '../../../src/pg/statement-text.ts';
import {
  controlsTransaction,
  endingOf,
  isOrderSensitive,
  isTransactionControl,
  onlyOpens,
  opensTransaction,
  proofOf,
  savepointOf,
} from '../../../src/pg/unit-facts.ts';

function unit(...texts: readonly string[]): PgUnit {
  const made = makeUnit(texts.length === 1, 0);
  made.texts.push(...texts.map((text) => statementText(text)));
  return made;
}

describe('what a unit does with the open transaction', () => {
  it.each<[string, Ending, boolean]>([
    ['SELECT 1', 'none', false],
    ['BEGIN', 'none', true],
    ['START TRANSACTION READ ONLY', 'none', true],
    ['INSERT INTO t; BEGIN', 'none', true],
    ['SAVEPOINT a', 'none', false],
    ['ROLLBACK TO SAVEPOINT a', 'none', false],
    ['ROLLBACK AND CHAIN', 'none', true],
    ['COMMIT', 'commit', false],
    ['/* tx */ end -- done', 'commit', false],
    ['COMMIT AND NO CHAIN', 'commit', false],
    ['COMMIT AND CHAIN', 'commit-and-chain', true],
    ["PREPARE TRANSACTION 'x'", 'prepare', false],
    ['ROLLBACK', 'rollback', false],
    ['ABORT', 'rollback', false],
    ['INSERT INTO t; COMMIT', 'trailing-commit', false],
    ['COMMIT; INSERT INTO t', 'commit-inside', false],
    ['COMMIT; BEGIN', 'commit-inside', true],
    ['ROLLBACK; INSERT INTO t', 'unclear', false],
    ['ROLLBACK; BEGIN', 'unclear', true],
    ['', 'unclear', true],
    ["SELECT 'COMMIT; BEGIN'", 'none', false],
    ["SELECT E'\\''; COMMIT; --'", 'trailing-commit', false],
    ["SELECT '\\'; COMMIT; --'", 'unclear', true],
  ])('%s', (text, ending, opens) => {
    expect(endingOf(unit(text))).toBe(ending);
    expect(opensTransaction(unit(text))).toBe(opens);
  });

  it('is told of a whole unit of the extended protocol', () => {
    expect(endingOf(unit('INSERT INTO t', 'COMMIT'))).toBe('trailing-commit');
    expect(endingOf(unit('COMMIT', 'INSERT INTO t'))).toBe('commit-inside');
  });
});

describe('a unit that leaves nothing behind when its connection is lost', () => {
  it('begins a transaction and ends none', () => {
    for (const text of ['BEGIN', 'BEGIN; INSERT INTO t', 'INSERT INTO t; BEGIN'])
      expect(onlyOpens(unit(text))).toBe(true);
    for (const text of ['BEGIN; COMMIT', 'COMMIT AND CHAIN', 'ROLLBACK AND CHAIN', 'SELECT 1', '']) {
      expect(onlyOpens(unit(text))).toBe(false);
    }
  });
});

describe('what the wire has proved', () => {
  const answered = (made: PgUnit, fields: Partial<PgUnit>): PgUnit => Object.assign(made, fields);

  it('is a COMMIT by its tag', () => {
    expect(proofOf(answered(unit('COMMIT'), { completions: 1, committed: true }))).toBe('committed');
  });

  it('is a failure by its error', () => {
    expect(proofOf(answered(unit('INSERT'), { error: '23505' }))).toBe('failed');
  });

  it('is nothing of an earlier attempt if the last one failed, be it by its token (A4)', () => {
    const token = new UnitToken(Buffer.alloc(16), { position: 'inside', visible: 1 });
    token.refused({ code: '40001', message: Buffer.alloc(0) });
    const keys = [Buffer.alloc(16), token.key];
    const held = new HeldAnswer();
    expect(proofOf(answered(unit('INSERT'), { token, tokenKeys: [token.key], held }))).toBe('rolled-back');
    expect(proofOf(answered(unit('INSERT'), { token, tokenKeys: keys, held }))).toBe('nothing');
    expect(proofOf(answered(unit('INSERT'), { tokenKeys: [token.key], held, error: '23505' }))).toBe(
      'failed',
    );
    expect(proofOf(answered(unit('INSERT'), { tokenKeys: keys, held, error: '23505' }))).toBe('nothing');
    // The application has its error.
    expect(proofOf(answered(unit('INSERT'), { tokenKeys: keys, held: null, error: '23505' }))).toBe('failed');
  });

  it('is a write only where the tag comes behind its commit', () => {
    expect(proofOf(answered(unit('INSERT'), { completions: 1 }))).toBe('completed');
    expect(proofOf(answered(unit('INSERT; INSERT'), { completions: 1 }))).toBe('nothing');
    const extended = makeUnit(false, 0);
    extended.texts.push(statementText('INSERT'));
    expect(proofOf(answered(extended, { completions: 1 }))).toBe('nothing');
  });
});

describe('what depends on the moment', () => {
  it.each([
    'SELECT 1 FOR UPDATE SKIP LOCKED', 'select * from t for update nowait', 'SELECT pg_try_advisory_xact_lock(1)',
    'ROLLBACK TO a', 'ALTER TABLE t ADD c int', 'lock table t', 'BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE',
  ])('%s', (text) => {
    expect(isOrderSensitive(unit(text))).toBe(true);
  }); // prettier-ignore

  it('is also what failed', () => {
    expect(isOrderSensitive(Object.assign(unit('SELECT 1'), { error: '55P03' }))).toBe(true);
  });

  it('is not an ordinary statement', () => {
    for (const text of ['SELECT 1 FOR UPDATE', 'INSERT INTO t', 'BEGIN', 'SAVEPOINT a']) {
      expect(isOrderSensitive(unit(text))).toBe(false);
    }
  });
});

describe('transaction control', () => {
  it('is told apart from work', () => {
    for (const text of ['BEGIN', 'COMMIT', 'SAVEPOINT a', 'BEGIN; COMMIT'])
      expect(isTransactionControl(unit(text))).toBe(true);
    for (const text of ['BEGIN; INSERT', 'SELECT 1', ''])
      expect(isTransactionControl(unit(text))).toBe(false);
    for (const text of ['ROLLBACK TO a', 'COMMIT AND CHAIN', ''])
      expect(controlsTransaction(unit(text))).toBe(true);
    for (const text of ['SAVEPOINT a', 'RELEASE a', 'SELECT 1'])
      expect(controlsTransaction(unit(text))).toBe(false);
  });

  it('knows the names of savepoints', () => {
    expect(savepointOf(unit('SAVEPOINT A'))).toEqual({ kind: 'savepoint', name: 'a' });
    expect(savepointOf(unit('rollback to savepoint a ;'))).toEqual({ kind: 'rollback-to', name: 'a' });
    expect(savepointOf(unit('ROLLBACK TO "A b"'))).toEqual({ kind: 'rollback-to', name: '"A b"' });
    expect(savepointOf(unit('RELEASE a'))).toBeNull();
    expect(savepointOf(unit('SAVEPOINT a; SELECT 1'))).toBeNull();
  });
});
