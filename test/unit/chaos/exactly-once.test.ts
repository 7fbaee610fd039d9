import { describe, expect, it } from 'vitest';
import { checkExactlyOnce, type ExactlyOnceOptions } from '../../chaos/checks/exactly-once.ts';
import type { LossReport, LossWindow, Transaction } from '../../chaos/transaction.ts';
import { transaction } from './history-of.ts';

function check(
  history: readonly Transaction[],
  present: Readonly<Record<string, number>>,
  options: ExactlyOnceOptions = {},
): { rules: string[]; lost: string[]; duplicated: number } {
  const { violations, lost, duplicated } = checkExactlyOnce(
    history,
    new Map(Object.entries(present)),
    options,
  );
  return { rules: violations.map(({ rule }) => rule), lost: lost.map(({ marker }) => marker), duplicated };
}

const RIGHT = { rules: [], lost: [], duplicated: 0 };
const written = transaction({ marker: 'a', effects: ['x', 'y'], beganAt: 100, endedAt: 150 });
const loss: LossWindow = { begunAt: 120, overAt: 200, failovers: 1 };

describe('the effects of transactions', () => {
  it('are there once if acknowledged, not at all if failed, and once or not at all if unknown', () => {
    const failed = transaction({ marker: 'f', status: 'fail', effects: ['z'] });
    const unknown = (marker: string): Transaction =>
      transaction({ marker, status: 'info', effects: [marker] });
    expect(check([written, failed, unknown('u'), unknown('v')], { x: 1, y: 1, u: 1 })).toEqual(RIGHT);
  });

  it('must not be there twice', () => {
    expect(check([written], { x: 1, y: 2 })).toEqual({ rules: ['duplicated'], lost: [], duplicated: 1 });
    const unknown = transaction({ marker: 'u', status: 'info', effects: ['u'] });
    expect(check([unknown], { u: 3 })).toEqual({ rules: ['duplicated'], lost: [], duplicated: 2 });
  });

  it('must not be there in part', () => {
    expect(check([written], { y: 1 }).rules).toEqual(['torn']);
    expect(check([{ ...written, status: 'info' }], { y: 1 }).rules).toEqual(['torn']);
  });

  it('must not be there if failed, not even what was only possible', () => {
    expect(check([{ ...written, status: 'fail' }], { x: 1, y: 1 }).rules).toEqual(['failed one present']);
    const possible = transaction({ marker: 'p', status: 'fail', possibleEffects: ['p'] });
    expect(check([possible], { p: 1 }).rules).toEqual(['failed one present']);
    expect(check([{ ...possible, status: 'ok' }], { p: 1 })).toEqual(RIGHT);
    expect(check([{ ...possible, status: 'ok' }], {})).toEqual(RIGHT);
  });

  it('are of somebody', () => {
    expect(check([], { x: 1 }).rules).toEqual(['phantom']);
  });

  it('must not be lost, unless their server was lost with asynchronous replication', () => {
    expect(check([written], {})).toMatchObject({ rules: ['lost'], lost: ['a'] });
    expect(check([written], {}, { losses: [loss] })).toEqual({ ...RIGHT, lost: ['a'] });
    const early = { ...written, endedAt: 119 };
    const late = { ...written, endedAt: 201 };
    for (const one of [early, late]) expect(check([one], {}, { losses: [loss] }).rules).toEqual(['lost']);
  });

  it('are not lost with one server if the driver had found them on the next', () => {
    const error = {
      name: 'ResultLostError',
      message: '',
      code: '08007',
      kind: 'result-lost',
      outcome: 'committed',
    };
    const resolved = { ...written, error };
    expect(check([resolved], {}, { losses: [loss] }).rules).toEqual(['lost']);
    expect(check([resolved], {}, { losses: [{ ...loss, failovers: 2 }] }).rules).toEqual([]);
  });

  const reported = (...outcomes: LossReport['outcome'][]): ExactlyOnceOptions => ({
    losses: [loss],
    reported: outcomes.map((outcome) => ({ marker: 'a', outcome })),
  });
  const there = { x: 1, y: 1 };

  it('are reported if and only if they are lost', () => {
    expect(check([written], {}, reported('lost')).rules).toEqual([]);
    expect(check([written], {}, reported()).rules).toEqual(['lost in silence']);
    expect(check([written], there, reported('lost')).rules).toEqual(['reported as lost']);
    expect(check([{ ...written, status: 'fail' }], {}, reported('lost')).rules).toEqual(['reported as lost']);
    expect(check([{ ...written, effects: [] }], {}, reported('lost')).rules).toEqual([]);
    const possible = { ...written, effects: [], possibleEffects: ['x'] };
    expect(check([possible], {}, reported('lost')).rules).toEqual([]);
    expect(check([possible], { x: 1 }, reported('lost')).rules).toEqual(['reported as lost']);
  });

  it('may be reported as unknown without tokens', () => {
    const perhaps = reported('unknown');
    expect(check([written], {}, perhaps).rules).toEqual([]);
    expect(check([written], there, perhaps).rules).toEqual([]);
    const withTokens = { ...perhaps, mayBeUnknown: false };
    expect(check([written], there, withTokens).rules).toEqual(['reported as unknown']);
    const inString: Transaction = { ...written, autocommit: true };
    expect(check([inString], there, withTokens).rules).toEqual(['reported as unknown']);
  });

  it('are reported once, unless they were applied again and lost again', () => {
    expect(check([written], {}, reported('lost', 'lost')).rules).toEqual(['reported again']);
    expect(check([written], {}, reported('unknown', 'lost')).rules).toEqual(['reported again']);
    expect(check([written], {}, reported('reapplied', 'lost')).rules).toEqual([]);
    expect(check([written], there, reported('reapplied', 'reapplied')).rules).toEqual([]);
  });

  it('are there once if they are reported as applied again', () => {
    expect(check([written], there, reported('reapplied')).rules).toEqual([]);
    expect(check([written], {}, reported('reapplied')).rules).toEqual(['reported as reapplied']);
    expect(check([written], { x: 2, y: 1 }, reported('reapplied')).rules).toEqual(['duplicated']);
    const failed: Transaction = { ...written, status: 'fail' };
    expect(check([failed], {}, reported('reapplied')).rules).toEqual(['reported as reapplied']);
  });
});
