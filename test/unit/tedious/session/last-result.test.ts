import { describe, expect, it } from 'vitest';
import { LastResult } from '../../../../src/tedious/session/last-result.ts';
import type { TdsUnit } from '../../../../src/tedious/session/tds-unit.ts';
import { analyse } from '../../../../src/tedious/sql/text-analysis.ts';

type Form = TdsUnit['form'];

function unit(sql: string, form: Form = 'plain', kind: 'batch' | 'statement' = 'batch'): TdsUnit {
  const analysis = analyse(sql, kind === 'batch' ? 'batch' : 'dynamic');
  return { form, analysis, request: { kind, sql }, errors: [], isCancelled: false } as unknown as TdsUnit;
}

function failed(sql: string): TdsUnit {
  return { ...unit(sql), errors: [2627] };
}

const SESSION = unit('SELECT @@IDENTITY');
const SCOPE = unit('SELECT SCOPE_IDENTITY()');
const INTO_VARIABLE = 'DECLARE @t TABLE (a int); INSERT INTO @t VALUES (1)';
const ROWS = unit('SELECT @@ROWCOUNT');
const INSERT = 'INSERT INTO t (a) VALUES (1)';

/** Which of the questions are refused. */
function refused(last: LastResult): string {
  const asked = { session: SESSION, scope: SCOPE, rows: ROWS };
  return Object.entries(asked)
    .flatMap(([name, question]) => (last.refusal(question) === null ? [] : name))
    .join(' ');
}

function after(...units: readonly TdsUnit[]): LastResult {
  const last = new LastResult();
  for (const one of units) last.ran(one);
  return last;
}

describe('what an earlier request has left', () => {
  it.each<[string, readonly TdsUnit[], string]>([
    ['nothing has run', [], ''],
    ['a plain INSERT', [unit(INSERT)], ''],
    ['a batch with a token', [unit(INSERT, 'wrapped')], 'scope rows'],
    ['an INSERT as a call with a token', [unit(INSERT, 'wrapped', 'statement')], 'rows'],
    [
      'an UPDATE as a call with a token',
      [unit('UPDATE t SET a = 1', 'wrapped', 'statement')],
      'session rows',
    ],
    ['a COMMIT with a token', [unit(INSERT), unit('COMMIT', 'commit-batch')], 'session scope'],
    ['an INSERT behind that', [unit('COMMIT', 'commit-batch'), unit(INSERT)], ''],
    ['one as a call', [unit('COMMIT', 'commit-batch'), unit(INSERT, 'plain', 'statement')], 'scope'],
    ['one that failed', [unit('COMMIT', 'commit-batch'), failed(INSERT)], 'session scope'],
    ['one under a condition', [unit('COMMIT', 'commit-batch'), unit(`IF 1 = 1 ${INSERT}`)], 'session scope'],
    ['one into a variable', [unit('COMMIT', 'commit-batch'), unit(INTO_VARIABLE)], 'session scope'],
    ['an UPDATE behind that', [unit('COMMIT', 'commit-batch'), unit('UPDATE t SET a = 1')], 'session scope'],
    ['a SELECT behind a wrapped write', [unit(INSERT, 'wrapped'), unit('SELECT 1')], 'scope'],
  ])('%s', (_name, units, expected) => {
    expect(refused(after(...units))).toBe(expected);
  });

  it('is gone with its server', () => {
    const last = after(unit(INSERT));
    last.reconnected([]);
    expect(refused(last)).toBe('session scope rows');
  });

  it('was only a number of rows in a session that only read', () => {
    const last = after(unit('SELECT 1'));
    last.reconnected([]);
    expect(refused(last)).toBe('rows');
  });

  it('was never there in a session that has done nothing', () => {
    const last = new LastResult();
    last.reconnected([]);
    expect(refused(last)).toBe('');
  });

  it('comes again with a replay, but for the number of rows, behind which the driver sets the lock timeout', () => {
    const last = after(unit(INSERT));
    last.reconnected([unit('BEGIN TRAN'), unit(INSERT)]);
    expect(refused(last)).toBe('rows');
  });

  it('is changed by a token in an open transaction', () => {
    const last = after(unit(INSERT));
    last.tokenWritten();
    expect(refused(last)).toBe('session scope rows');
  });

  it('is not there in a call, whose scope is its own', () => {
    const last = after(unit(INSERT, 'wrapped'));
    expect(last.refusal(unit('SELECT SCOPE_IDENTITY()', 'plain', 'statement'))).toBeNull();
  });

  it('may be asked for in the request that made it', () => {
    const last = after(unit(INSERT, 'wrapped'));
    expect(last.refusal(unit(`${INSERT}; SELECT SCOPE_IDENTITY(), @@ROWCOUNT`))).toBeNull();
  });
});
