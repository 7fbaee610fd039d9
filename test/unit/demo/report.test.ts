import { describe, expect, it } from 'vitest';
import { Ledger } from '../../../examples/demo/ledger.ts';
import { complaints, type Result } from '../../../examples/demo/report.ts';
import { OutcomeUnknownError } from '../../../src/errors.ts';

function resultOf({
  audit = {},
  acknowledged = 1,
  failed = 0,
  unknown = 0,
  synchronous = true,
}: {
  audit?: Partial<Result['audit']>;
  acknowledged?: number;
  failed?: number;
  unknown?: number;
  synchronous?: boolean;
}): Result {
  const ledger = new Ledger();
  for (let i = 0; i < acknowledged; i++) ledger.acknowledge(`a${i}`);
  for (let i = 0; i < failed; i++) ledger.reject(`f${i}`, new Error('refused'), false);
  for (let i = 0; i < unknown; i++) ledger.reject(`u${i}`, new OutcomeUnknownError('who knows'), true);
  return {
    failovers: 1,
    synchronous,
    ledger,
    audit: {
      totalConserved: true,
      wrongBalances: 0,
      lost: 0,
      duplicated: 0,
      unexpected: 0,
      unknownCommitted: 0,
      ...audit,
    },
    stallMillis: { p50: 0, max: 0 },
    replays: 0,
    commitsResolved: 0,
    resolutions: [],
  };
}

describe('what the demo calls wrong, so that it ends with 1', () => {
  it('is nothing if all transfers were acknowledged and are there once', () => {
    expect(complaints(resultOf({}))).toEqual([]);
  });

  it.each([
    ['nothing was acknowledged', { acknowledged: 0 }],
    ['the total has changed', { audit: { totalConserved: false } }],
    ['a balance is wrong', { audit: { wrongBalances: 1 } }],
    ['a transfer is lost', { audit: { lost: 1 } }],
    ['a transfer is there twice', { audit: { duplicated: 1 } }],
    ['a transfer is there that was refused', { audit: { unexpected: 1 } }],
    ['the application got an error', { failed: 1 }],
    ['an outcome is unknown', { unknown: 1 }],
  ])('is that %s', (_what, given) => {
    expect(complaints(resultOf(given))).toHaveLength(1);
  });

  it('is not an unknown outcome with asynchronous replication', () => {
    expect(complaints(resultOf({ unknown: 1, synchronous: false }))).toEqual([]);
  });
});
