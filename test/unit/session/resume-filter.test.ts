import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ResponseDigest } from '../../../src/session/response-digest.ts';
import { ResumeFilter } from '../../../src/session/resume-filter.ts';
import { C, E, feed, partialOf, passThrough, row, rows, T, type Message } from './response-messages.ts';

function resumed(given: readonly Message[], again: readonly Message[], keptRows = 1_000) {
  return passThrough(new ResumeFilter(partialOf(given, keptRows)), again);
}

describe('an answer that was cut in a result', () => {
  it('goes on behind the rows that were given', () => {
    expect(resumed([T, ...rows(1, 2)], [T, ...rows(1, 2, 3, 4), C])).toEqual([...rows(3, 4), C]);
  });

  it('skips each given row once, wherever it comes', () => {
    expect(resumed([T, ...rows(1, 2)], [T, ...rows(4, 2, 3, 1), C])).toEqual([...rows(4, 3), C]);
  });

  it('counts equal rows', () => {
    expect(resumed([T, ...rows(7, 7)], [T, ...rows(7, 7, 7), C])).toEqual([row(7), C]);
    expect(resumed([T, ...rows(7, 7)], [T, ...rows(7), C])).toBe('diverged');
  });

  it('diverges if a given row does not come again (R5)', () => {
    expect(resumed([T, ...rows(1, 2)], [T, ...rows(1, 3), C])).toBe('diverged');
    expect(resumed([T, ...rows(1)], [T, C])).toBe('diverged');
  });

  it('diverges if its columns are others', () => {
    expect(resumed([T, ...rows(1)], [['T', 'other'], ...rows(1), C])).toBe('diverged');
  });

  it('diverges if the new answer begins with another result', () => {
    expect(resumed([T, ...rows(1)], [C, T, ...rows(1), C])).toBe('diverged');
  });

  it('passes an error: what was given is void with it', () => {
    expect(resumed([T, ...rows(1, 2)], [T, ...rows(1), E])).toEqual([E]);
  });
});

describe('an answer that was cut between results', () => {
  it('compares the finished ones as a whole', () => {
    const given = [T, ...rows(1, 2), C, T];
    expect(resumed(given, [T, ...rows(2, 1), C, T, row(9), C])).toEqual([row(9), C]);
    expect(resumed(given, [T, ...rows(2, 1, 3), C, T, row(9), C])).toBe('diverged');
    expect(resumed(given, [T, ...rows(2), C, T, row(9), C])).toBe('diverged');
    expect(resumed(given, [T, ...rows(2, 3), C, T, row(9), C])).toBe('diverged');
    expect(resumed(given, [T, ...rows(1, 2), ['C', 'other'], T, C])).toBe('diverged');
  });

  it('diverges if a result now fails that had been given', () => {
    expect(resumed([T, ...rows(1), C], [T, E])).toBe('diverged');
    expect(resumed([T, ...rows(1), C], [T, ...rows(1), E])).toBe('diverged');
  });

  it('goes on behind the last finished one', () => {
    expect(resumed([T, ...rows(1), C], [T, ...rows(1), C, T, ...rows(2), C])).toEqual([T, ...rows(2), C]);
  });
});

describe('an answer that was cut behind its error', () => {
  it('wants the same error again', () => {
    expect(resumed([E], [E])).toEqual([]);
    expect(resumed([E], [['E', '23505']])).toBe('diverged');
    expect(resumed([E], [T, ...rows(1), C])).toBe('diverged');
    expect(resumed([T, E], [T, E])).toEqual([]);
  });

  it('wants the rows in front of it again, too', () => {
    expect(resumed([T, ...rows(1, 2), E], [T, ...rows(2, 1), E])).toEqual([]);
    expect(resumed([T, ...rows(1, 2), E], [T, ...rows(1), E])).toBe('diverged');
  });
});

describe('an answer of which more was given than hashes were kept', () => {
  const given = [T, ...rows(1, 2, 3, 4)];

  it('goes on if the prefix comes again in the same order', () => {
    expect(resumed(given, [T, ...rows(1, 2, 3, 4, 5), C], 2)).toEqual([row(5), C]);
  });

  it('diverges otherwise', () => {
    expect(resumed(given, [T, ...rows(1, 2, 4, 3, 5), C], 2)).toBe('diverged');
    expect(resumed(given, [T, ...rows(1, 2, 3), C], 2)).toBe('diverged');
  });

  it('compares nothing of a result before', () => {
    const second = [T, ...rows(9), C, ...given];
    expect(resumed(second, [...second, row(5), C], 2)).toEqual([row(5), C]);
  });
});

describe('an answer of which nothing was given', () => {
  it('passes as it is', () => {
    const filter = new ResumeFilter(partialOf([]));
    expect(filter.done).toBe(true);
    expect(passThrough(filter, [T, ...rows(1), C])).toEqual([T, ...rows(1), C]);
  });
});

/** A full answer: results of a few rows, the last one maybe an error. */
const answers: fc.Arbitrary<readonly Message[]> = fc
  .tuple(fc.array(fc.array(fc.nat(3), { maxLength: 6 }), { minLength: 1, maxLength: 3 }), fc.boolean())
  .map(([results, fails]) => [
    ...results.flatMap((values, i) => [T, ...rows(...values), i === results.length - 1 && fails ? E : C]),
  ]);

function sortedRuns(messages: readonly Message[]): string {
  let text = '';
  let run: string[] = [];
  for (const [letter, body] of [...messages, ['Z', ''] as const]) {
    if (letter === 'D') run.push(body);
    else {
      text += `${run.sort().join()}|${letter}${body}|`;
      run = [];
    }
  }
  return text;
}

describe('in 100,000 random losses', () => {
  it('the application ends up with the new answer, or is told; never with a mixture of two', () => {
    fc.assert(
      fc.property(
        answers,
        answers,
        fc.nat(30),
        fc.boolean(),
        fc.boolean(),
        (old, other, cut, isSame, isCapped) => {
          const given = old.slice(0, cut);
          const again = isSame ? old : other;
          const passed = resumed(given, again, isCapped ? 1 : 1_000);
          if (isSame) expect(passed).not.toBe('diverged');
          if (passed === 'diverged') return;
          const whole = [...given, ...passed];
          // Where the statement fails this time, the rows given before are void.
          if (again.at(-1)?.[0] === 'E' && sortedRuns(whole) !== sortedRuns(again)) {
            expect(passed.at(-1)).toEqual(E);
            return;
          }
          expect(sortedRuns(whole)).toBe(sortedRuns(again));
        },
      ),
      { numRuns: 100_000 },
    );
  });

  it('what is journalled of an answer in two parts is what a replay will give', () => {
    fc.assert(
      fc.property(answers, fc.nat(30), (answer, cut) => {
        const digest = new ResponseDigest(1_000);
        feed(digest, answer.slice(0, cut));
        const passed = passThrough(new ResumeFilter(digest.partial()), answer);
        if (passed === 'diverged') throw new Error('the same answer was taken for another');
        feed(digest, passed);
        const whole = new ResponseDigest(1_000);
        feed(whole, answer);
        expect(digest.finish(0x54)).toMatchObject({
          multisetA: whole.finish(0x54).multisetA,
          messages: answer.length,
        });
      }),
      { numRuns: 5_000 },
    );
  });
});
