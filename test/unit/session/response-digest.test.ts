import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ResponseDigest, sameResults, sameSequence } from '../../../src/session/response-digest.ts';
import { C, digestOf, E, feed, partialOf, row, rows, T, type Message } from './response-messages.ts';

function same(one: readonly Message[], other: readonly Message[]): boolean {
  return sameResults(digestOf(one), digestOf(other));
}

describe('two complete answers', () => {
  const result = [T, ...rows(1, 2, 3), C];

  it('are the same if their rows came in another order (C)', () => {
    expect(same(result, [T, ...rows(3, 1, 2), C])).toBe(true);
    expect(sameSequence(digestOf(result), digestOf([T, ...rows(3, 1, 2), C]))).toBe(false);
    expect(sameSequence(digestOf(result), digestOf(result))).toBe(true);
  });

  it.each<[string, readonly Message[]]>([
    ['a row is missing', [T, ...rows(1, 2), C]],
    ['a row came more often', [T, ...rows(1, 2, 3, 3), C]],
    ['one of two equal rows is another', [T, ...rows(1, 1, 3), C]],
    ['a row has another value', [T, ...rows(1, 2, 4), C]],
    ['the columns are others', [['T', 'other'], ...rows(1, 2, 3), C]],
    ['the tag is another', [T, ...rows(1, 2, 3), ['C', 'UPDATE']]],
    ['an error came instead of the tag', [T, ...rows(1, 2, 3), E]],
    ['there is one result more', [T, ...rows(1, 2, 3), C, C]],
    ['a row has moved into the next result', [T, ...rows(1, 2), C, ...rows(3)]],
    ['a message has the body of a row', [T, ...rows(1, 2), ['d', '3'], C]],
    ['nothing came', []],
  ])('differ if %s', (_, other) => {
    expect(same(result, other)).toBe(false);
  });

  it('differ if equal rows cancel each other out in xor', () => {
    expect(same([T, ...rows(1, 1), C], [T, ...rows(2, 2), C])).toBe(false);
    expect(same([T, ...rows(1, 1, 3), C], [T, ...rows(2, 2, 3), C])).toBe(false);
  });

  it('differ by their status byte (R13)', () => {
    expect(sameResults(digestOf(result, 'T'), digestOf(result, 'I'))).toBe(false);
  });

  it('of several results in one unit keep the order of the results', () => {
    const first = [T, ...rows(1), C];
    const second = [T, ...rows(2), C];
    expect(same([...first, ...second], [...second, ...first])).toBe(false);
    expect(same([T, ...rows(1, 2), C, T, ...rows(3, 4), C], [T, ...rows(2, 1), C, T, ...rows(4, 3), C])).toBe(
      true,
    );
  });
});

describe('a digest that is used again', () => {
  it('forgets the answer before', () => {
    const digest = new ResponseDigest(10);
    feed(digest, [T, ...rows(...Array.from({ length: 5_000 }, (_, i) => i)), C]);
    digest.finish(0x49);
    digest.reset();
    expect(digest.messages).toBe(0);
    feed(digest, [T, row(1), C]);
    expect(digest.finish(0x54)).toEqual(digestOf([T, row(1), C]));
  });
});

describe('what was handed over of an answer', () => {
  it('counts messages and rows, and keeps the hashes of an unfinished run', () => {
    const partial = partialOf([T, ...rows(1), C, T, ...rows(1, 2)]);
    expect([...partial.kinds]).toEqual([0, 1, 0, 0]);
    expect(partial.rows).toBe(2);
    expect(partial.rowHashes).toHaveLength(4);
  });

  it('keeps no hashes over the cap', () => {
    expect(partialOf([T, ...rows(1, 2, 3)], 3).rowHashes).toHaveLength(6);
    expect(partialOf([T, ...rows(1, 2, 3, 4)], 3)).toMatchObject({ rows: 4, rowHashes: null });
    expect(partialOf([T], 0).rowHashes).toHaveLength(0);
  });

  it('is a copy', () => {
    const digest = new ResponseDigest(10);
    feed(digest, [T, row(1)]);
    const partial = digest.partial();
    const before = JSON.stringify(partial);
    feed(digest, [row(2), C]);
    expect(JSON.stringify(partial)).toBe(before);
  });
});

const answers: fc.Arbitrary<readonly Message[]> = fc.array(
  fc.oneof(
    fc.nat(4).map((value) => row(value)),
    fc.constantFrom<Message>(T, C, E, ['C', 'UPDATE 1']),
  ),
  { maxLength: 12 },
);

/** The answer with each run of rows sorted. */
function canonical(messages: readonly Message[]): string {
  const parts: string[] = [];
  let run: string[] = [];
  const endRun = (): void => {
    parts.push(...run.sort());
    run = [];
  };
  for (const [letter, body] of messages) {
    if (letter !== 'D') endRun();
    (letter === 'D' ? run : parts).push(letter + body);
  }
  endRun();
  return parts.join();
}

describe('in 100,000 random pairs of answers', () => {
  it('those are the same that are equal but for the order within a result', () => {
    fc.assert(
      fc.property(answers, answers, fc.infiniteStream(fc.nat(100)), (one, other, dice) => {
        expect(same(one, other)).toBe(canonical(one) === canonical(other));
        const shuffled = [...one];
        for (let i = 0; i < shuffled.length - 1; i++) {
          const next = shuffled[i + 1]!;
          if (shuffled[i]![0] !== 'D' || next[0] !== 'D' || dice.next().value < 50) continue;
          [shuffled[i], shuffled[i + 1]] = [next, shuffled[i]!];
        }
        expect(same(one, shuffled)).toBe(true);
      }),
      { numRuns: 100_000 },
    );
  });
});
