import { describe, expect, it } from 'vitest';
import { isLoss, isTryLater, liesInTheMoment } from '../../../src/tedious/loss-errors.ts';

function judged(number: number): string[] {
  const words: readonly (readonly [string, boolean])[] = [
    ['loss', isLoss(number)],
    ['later', isTryLater(number)],
    ['moment', liesInTheMoment(number)],
  ];
  return words.flatMap(([word, holds]) => (holds ? [word] : []));
}

describe("what a number of SQL Server's says about the server", () => {
  it.each([596, 976, 978, 983, 988, 3906, 3948, 6005, 9001, 40197, 40613])('%i: it goes away', (number) => {
    expect(judged(number)).toEqual(['loss', 'later']);
  });

  it.each([921, 979, 982, 4060, 4064, 17142, 18401, 10928, 40501, 49918])('%i: not now', (number) => {
    expect(judged(number)).toEqual(['later']);
  });

  it.each([1205, 1222, 3960, 41301, 41302, 41305, 41325, 41839, 701, 9002])(
    '%i: it is there, and the next attempt may fare better',
    (number) => {
      expect(judged(number)).toEqual(['moment']);
    },
  );

  // Duplicate key, a CHECK, no such object, no permission, a login that is wrong, a doomed transaction, one of the application's own.
  it.each([0, 102, 208, 229, 515, 547, 2601, 2627, 3930, 18456, 50000])('%i: nothing', (number) => {
    expect(judged(number)).toEqual([]);
  });
});
