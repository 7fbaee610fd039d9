import { describe, expect, it } from 'vitest';
import { checkLists } from '../../chaos/checks/lists.ts';
import type { Isolation } from '../../chaos/transaction.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import type { Sketch } from './history-of.ts';
import { append, read, together } from './history-of.ts';

type Lists = Readonly<Record<number, readonly number[]>>;

/** The rules that are broken, sorted. */
function rulesOf(lists: Lists, ...sketches: Sketch[]): string[] {
  const final = new Map(Object.entries(lists).map(([key, list]) => [Number(key), list]));
  return checkLists(together(...sketches), final)
    .violations.map(({ rule }) => rule)
    .sort();
}

const at = (isolation: Isolation, ...sketches: Sketch[]): Sketch[] =>
  sketches.map((sketch) => ({ ...sketch, isolation }));
const LEVELS: readonly Isolation[] = ['READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE'];

describe('the cycle checker', () => {
  it('finds nothing in a history that has an order', () => {
    const sketches: Sketch[] = [
      { marker: 'a', observations: [read(1, []), append(1, 1), append(2, 2)] },
      { marker: 'b', observations: [read(1, [1]), append(1, 3), read(1, [1, 3])] },
      { marker: 'c', observations: [read(2, [2]), read(1, [1, 3])] },
      { marker: 'd', observations: [append(2, 4), append(1, 5)] },
    ];
    for (const level of LEVELS)
      expect(rulesOf({ 1: [1, 3, 5], 2: [2, 4] }, ...at(level, ...sketches))).toEqual([]);
  });

  it('finds two transactions that overwrote each other (G0), at every level', () => {
    const sketches: Sketch[] = [
      { marker: 'a', observations: [append(1, 1), append(2, 2)] },
      { marker: 'b', observations: [append(1, 3), append(2, 4)] },
    ];
    for (const level of LEVELS)
      expect(rulesOf({ 1: [1, 3], 2: [4, 2] }, ...at(level, ...sketches))).toEqual(['G0']);
  });

  it('finds appends of another one between those of a transaction (G0)', () => {
    expect(
      rulesOf(
        { 1: [1, 2, 3] },
        { marker: 'a', observations: [append(1, 1), append(1, 3)] },
        { marker: 'b', observations: [append(1, 2)] },
      ),
    ).toEqual(['G0']);
  });

  it('finds two transactions that read what the other one wrote (G1c), at every level', () => {
    const sketches: Sketch[] = [
      { marker: 'a', observations: [append(1, 1), read(2, [2])] },
      { marker: 'b', observations: [append(2, 2), read(1, [1])] },
    ];
    for (const level of LEVELS)
      expect(rulesOf({ 1: [1], 2: [2] }, ...at(level, ...sketches))).toEqual(['G1c']);
  });

  it('finds a longer circle of reads and overwrites (G1c)', () => {
    expect(
      rulesOf(
        { 1: [1, 2], 2: [3], 3: [4] },
        { marker: 'a', observations: [append(1, 1), read(3, [4])] },
        { marker: 'b', observations: [append(1, 2), append(2, 3)] },
        { marker: 'c', observations: [read(2, [3]), append(3, 4)] },
      ),
    ).toEqual(['G1c']);
  });

  it('finds a snapshot that is neither before nor behind another transaction (G-single), unless READ COMMITTED', () => {
    const sketches: Sketch[] = [
      { marker: 'a', observations: [append(1, 1), append(2, 2)] },
      { marker: 'b', observations: [read(1, [1]), read(2, [])] },
    ];
    const lists = { 1: [1], 2: [2] };
    expect(rulesOf(lists, ...at('READ COMMITTED', ...sketches))).toEqual([]);
    expect(rulesOf(lists, ...at('REPEATABLE READ', ...sketches))).toEqual(['G-single']);
    expect(rulesOf(lists, ...at('SERIALIZABLE', ...sketches))).toEqual(['G-single']);
    // The level of the reader decides, not that of the writer.
    const [a, b] = at('READ COMMITTED', ...sketches);
    expect(rulesOf(lists, a!, { ...b!, isolation: 'REPEATABLE READ' })).toEqual(['G-single']);
    expect(rulesOf(lists, { ...a!, isolation: 'REPEATABLE READ' }, b!)).toEqual([]);
  });

  it('finds a lost update, unless READ COMMITTED', () => {
    const sketches: Sketch[] = [
      { marker: 'a', observations: [read(1, []), append(1, 1)] },
      { marker: 'b', observations: [read(1, []), append(1, 2)] },
    ];
    expect(rulesOf({ 1: [1, 2] }, ...at('READ COMMITTED', ...sketches))).toEqual([]);
    expect(rulesOf({ 1: [1, 2] }, ...at('REPEATABLE READ', ...sketches))).toEqual(['lost-update']);
    expect(rulesOf({ 1: [1, 2] }, ...at('SERIALIZABLE', ...sketches))).toEqual(['lost-update']);
  });

  it('finds a row lock that did not hold, at every level', () => {
    const sketches: Sketch[] = [
      { marker: 'a', observations: [read(1, [], true), read(2, [2])] },
      { marker: 'b', observations: [append(1, 1), append(2, 2)] },
    ];
    for (const level of LEVELS)
      expect(rulesOf({ 1: [1], 2: [2] }, ...at(level, ...sketches))).toEqual(['lock']);
  });

  it('finds two snapshots that saw two writers in different orders (G-nonadjacent, the long fork)', () => {
    const sketches: Sketch[] = [
      { marker: 'a', observations: [append(1, 1)] },
      { marker: 'b', observations: [append(2, 2)] },
      { marker: 'c', observations: [read(1, [1]), read(2, [])] },
      { marker: 'd', observations: [read(1, []), read(2, [2])] },
    ];
    const lists = { 1: [1], 2: [2] };
    expect(rulesOf(lists, ...at('READ COMMITTED', ...sketches))).toEqual([]);
    expect(rulesOf(lists, ...at('REPEATABLE READ', ...sketches))).toEqual(['G-nonadjacent']);
    expect(rulesOf(lists, ...at('SERIALIZABLE', ...sketches))).toEqual(['G-nonadjacent']);
  });

  it('finds write skew (G2) only where all are SERIALIZABLE', () => {
    const sketches: Sketch[] = [
      { marker: 'a', observations: [read(1, []), append(2, 2)] },
      { marker: 'b', observations: [read(2, []), append(1, 1)] },
    ];
    const lists = { 1: [1], 2: [2] };
    expect(rulesOf(lists, ...at('REPEATABLE READ', ...sketches))).toEqual([]);
    expect(rulesOf(lists, ...at('SERIALIZABLE', ...sketches))).toEqual(['G2']);
    const [a, b] = at('SERIALIZABLE', ...sketches);
    expect(rulesOf(lists, a!, { ...b!, isolation: 'REPEATABLE READ' })).toEqual([]);
  });

  it('finds the anomaly of a read-only transaction (G2 with three)', () => {
    const sketches: Sketch[] = [
      { marker: 'deposit', observations: [append(1, 1)] },
      { marker: 'report', observations: [read(1, [1]), read(2, [])] },
      { marker: 'withdrawal', observations: [read(1, []), append(2, 2)] },
    ];
    const lists = { 1: [1], 2: [2] };
    expect(rulesOf(lists, ...at('SERIALIZABLE', ...sketches))).toEqual(['G2']);
    expect(rulesOf(lists, ...at('REPEATABLE READ', ...sketches))).toEqual([]);
  });

  it('tells of each knot once, and of two knots twice', () => {
    const skew = (key: number): Sketch[] => [
      { marker: `a${key}`, observations: [read(key, []), append(key + 1, key * 10)] },
      { marker: `b${key}`, observations: [read(key + 1, []), append(key, key * 10 + 1)] },
    ];
    expect(
      rulesOf({ 1: [11], 2: [10], 3: [31], 4: [30] }, ...at('SERIALIZABLE', ...skew(1), ...skew(3))),
    ).toEqual(['G2', 'G2']);
  });

  it('finds nothing in random serial histories, and a torn snapshot in each of them', () => {
    for (let seed = 1; seed <= 200; seed++) {
      const random = new SeededRandom(seed);
      const { sketches, lists } = serialHistory(random, 60);
      for (const level of LEVELS) expect(rulesOf(lists, ...at(level, ...sketches))).toEqual([]);
      const torn = withTornSnapshot(sketches);
      expect(rulesOf({ ...lists, 99: [9_999] }, ...at('REPEATABLE READ', ...torn))).toEqual(['G-single']);
    }
  });
});

/** Transactions one after the other; their lists tell nothing else. */
function serialHistory(random: SeededRandom, count: number): { sketches: Sketch[]; lists: Lists } {
  const lists: Record<number, number[]> = {};
  let value = 0;
  const sketches = Array.from({ length: count }, (_, index): Sketch => {
    const observations = Array.from({ length: random.integer(1, 4) }, () => {
      const key = random.integer(1, 5);
      const list = (lists[key] ??= []);
      if (random.chance(0.5)) return read(key, [...list], random.chance(0.3));
      list.push(++value);
      return append(key, value);
    });
    return { marker: `t${index}`, observations };
  });
  return { sketches, lists };
}

/** One more that sees a part of what the last writer has written, and another part not. */
function withTornSnapshot(sketches: readonly Sketch[]): Sketch[] {
  const last = sketches.findLast(({ observations }) => observations!.some(({ kind }) => kind === 'append'))!;
  const { key, value } = last.observations!.find((step) => step.kind === 'append')!;
  const appends = sketches.flatMap(({ observations }) =>
    observations!.filter((step) => step.kind === 'append'),
  );
  const before = appends.filter((step) => step.key === key && step.value < value).map((step) => step.value);
  const torn: Sketch = { marker: 'torn', observations: [read(key, before), read(99, [9_999])] };
  return sketches
    .map((sketch) =>
      sketch === last ? { ...last, observations: [...last.observations!, append(99, 9_999)] } : sketch,
    )
    .concat(torn);
}
