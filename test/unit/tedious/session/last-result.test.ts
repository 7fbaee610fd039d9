import { describe, expect, it } from 'vitest';
import { LastResult } from '../../../../src/tedious/session/last-result.ts';
import type { TdsUnit } from '../../../../src/tedious/session/tds-unit.ts';
import { analyse } from '../../../../src/tedious/sql/text-analysis.ts';

type Form = TdsUnit['form'];

function unit(sql: string, form: Form = 'plain', kind: 'batch' | 'statement' = 'batch'): TdsUnit {
  const analysis = analyse(sql, kind === 'batch' ? 'batch' : 'dynamic');
  return { form, analysis, request: { kind, sql }, errors: [] } as unknown as TdsUnit;
}

const IDENTITY = unit('SELECT SCOPE_IDENTITY()');
const ROWS = unit('SELECT @@ROWCOUNT');
const INSERT = 'INSERT INTO t (a) VALUES (1)';

/** Which of both questions are refused. */
function refused(last: LastResult): string {
  return [last.refusal(IDENTITY) === null ? '' : 'identity', last.refusal(ROWS) === null ? '' : 'rows']
    .filter(Boolean)
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
    ['a batch with a token', [unit(INSERT, 'wrapped')], 'identity rows'],
    ['an INSERT as a call with a token', [unit(INSERT, 'wrapped', 'statement')], 'rows'],
    [
      'an UPDATE as a call with a token',
      [unit('UPDATE t SET a = 1', 'wrapped', 'statement')],
      'identity rows',
    ],
    ['a COMMIT with a token', [unit(INSERT), unit('COMMIT', 'commit-batch')], 'identity'],
    ['an INSERT behind that', [unit('COMMIT', 'commit-batch'), unit(INSERT)], ''],
    ['one under a condition', [unit('COMMIT', 'commit-batch'), unit(`IF @@SPID = 1 ${INSERT}`)], 'identity'],
    [
      'one into a variable',
      [unit('COMMIT', 'commit-batch'), unit('DECLARE @t TABLE (a int); INSERT INTO @t VALUES (1)')],
      'identity',
    ],
    ['an UPDATE behind that', [unit('COMMIT', 'commit-batch'), unit('UPDATE t SET a = 1')], 'identity'],
    ['a SELECT behind a wrapped write', [unit(INSERT, 'wrapped'), unit('SELECT 1')], 'identity'],
  ])('%s', (_name, units, expected) => {
    expect(refused(after(...units))).toBe(expected);
  });

  it('is gone with its server', () => {
    const last = after(unit(INSERT));
    last.reconnected([]);
    expect(refused(last)).toBe('identity rows');
  });

  it('was never there in a session that only read', () => {
    const last = after(unit('SELECT 1'));
    last.reconnected([]);
    expect(refused(last)).toBe('');
  });

  it('comes again with a replay', () => {
    const last = after(unit(INSERT));
    last.reconnected([unit('BEGIN TRAN'), unit(INSERT)]);
    expect(refused(last)).toBe('');
  });

  it('is changed by a token in an open transaction', () => {
    const last = after(unit(INSERT));
    last.tokenWritten();
    expect(refused(last)).toBe('identity rows');
  });

  it('may be asked for in the request that made it', () => {
    const last = after(unit(INSERT, 'wrapped'));
    expect(last.refusal(unit(`${INSERT}; SELECT SCOPE_IDENTITY(), @@ROWCOUNT`))).toBeNull();
  });
});
