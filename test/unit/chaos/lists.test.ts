import { describe, expect, it } from 'vitest';
import { checkLists } from '../../chaos/checks/lists.ts';
import type { LossWindow, Transaction } from '../../chaos/transaction.ts';
import { append, read, together, transaction } from './history-of.ts';

function rulesOf(
  history: readonly Transaction[],
  lists: Readonly<Record<number, readonly number[]>>,
  losses: readonly LossWindow[] = [],
): string[] {
  const final = new Map(Object.entries(lists).map(([key, list]) => [Number(key), list]));
  return checkLists(history, final, losses).violations.map(({ rule }) => rule);
}

describe('the reads of a list', () => {
  it('must not show what a failed transaction has appended (G1a)', () => {
    const history = together(
      { marker: 'a', status: 'fail', observations: [append(1, 1)] },
      { marker: 'b', observations: [read(1, [1])] },
    );
    expect(rulesOf(history, {})).toEqual(['incompatible order', 'G1a']);
    expect(rulesOf(history, { 1: [1] })).toEqual([]); // That it is there at all, others find.
  });

  it('must not show what is unknown and was not there in the end (G1a)', () => {
    const history = together(
      { marker: 'a', status: 'info', observations: [append(1, 1)] },
      { marker: 'b', observations: [read(1, [1])] },
    );
    expect(rulesOf(history, {})).toContain('G1a');
    expect(rulesOf(history, { 1: [1] })).toEqual([]);
  });

  it('must not end between two appends of a transaction (G1b)', () => {
    const history = together(
      { marker: 'a', observations: [append(1, 1), append(1, 2)] },
      { marker: 'b', isolation: 'READ COMMITTED', observations: [read(1, [1])] },
    );
    expect(rulesOf(history, { 1: [1, 2] })).toContain('G1b');
  });

  it('show no value twice, and none that nobody has appended', () => {
    const history = together(
      { marker: 'a', observations: [append(1, 1)] },
      { marker: 'b', observations: [read(1, [1, 1])] },
      { marker: 'c', observations: [read(1, [1, 7])] },
    );
    const rules = rulesOf(history, { 1: [1] });
    expect(rules).toContain('duplicated element');
    expect(rules).toContain('phantom element');
  });

  it('show one order of the values', () => {
    const history = together(
      { marker: 'a', observations: [append(1, 1)] },
      { marker: 'b', observations: [append(1, 2)] },
      { marker: 'c', observations: [read(1, [2, 1])] },
      { marker: 'd', observations: [read(1, [2])] },
    );
    const rules = rulesOf(history, { 1: [1, 2] });
    expect(rules.filter((rule) => rule === 'incompatible order')).toHaveLength(2);
  });

  it('show its own appends to a transaction, and behind them what it had read before', () => {
    const well = [read(1, [1]), append(1, 2), read(1, [1, 2]), append(1, 3), read(1, [1, 2, 3])];
    const first = { marker: 'a', observations: [append(1, 1)] };
    for (const isolation of ['READ COMMITTED', 'SERIALIZABLE'] as const)
      expect(
        rulesOf(together(first, { marker: 'b', isolation, observations: well }), { 1: [1, 2, 3] }),
      ).toEqual([]);
    const blind = together(first, { marker: 'b', observations: [append(1, 2), read(1, [1])] });
    expect(rulesOf(blind, { 1: [1, 2] })).toContain('internal');
  });

  it('do not change within a snapshot, nor under a row lock', () => {
    const history = (isolation: Transaction['isolation'], locked: boolean): Transaction[] =>
      together(
        { marker: 'a', observations: [append(1, 1)] },
        { marker: 'b', isolation, observations: [read(1, [], locked), read(1, [1])] },
      );
    expect(rulesOf(history('READ COMMITTED', false), { 1: [1] })).toEqual([]);
    expect(rulesOf(history('READ COMMITTED', true), { 1: [1] })).toContain('internal');
    expect(rulesOf(history('REPEATABLE READ', false), { 1: [1] })).toContain('internal');
  });

  it('show what was acknowledged before them', () => {
    const writer = transaction({ marker: 'a', endedAt: 10, beganAt: 5, observations: [append(1, 1)] });
    const stale = (beganAt: number, isolation: Transaction['isolation']): Transaction[] => [
      writer,
      transaction({
        marker: 'b',
        beganAt,
        endedAt: 30,
        isolation,
        observations: [{ kind: 'list-read', key: 1, list: [], locked: false, sentAt: 20 }],
      }),
    ];
    expect(rulesOf(stale(12, 'SERIALIZABLE'), { 1: [1] })).toEqual(['stale read']);
    expect(rulesOf(stale(8, 'READ COMMITTED'), { 1: [1] })).toEqual(['stale read']);
    // Its snapshot is older than the answer to the writer.
    expect(rulesOf(stale(8, 'SERIALIZABLE'), { 1: [1] })).toEqual([]);
  });

  it('show what stands before an acknowledged value, whoever wrote it', () => {
    const history = [
      transaction({ marker: 'u', status: 'info', beganAt: 1, endedAt: 2, observations: [append(1, 1)] }),
      transaction({ marker: 'a', beganAt: 3, endedAt: 4, observations: [append(1, 2)] }),
      transaction({ marker: 'b', beganAt: 5, endedAt: 6, observations: [read(1, [])] }),
    ];
    expect(rulesOf(history, { 1: [1, 2] })).toEqual(['stale read']);
  });
});

describe('a history of which a part was lost', () => {
  const loss: LossWindow = { begunAt: 100, overAt: 200, failovers: 1 };
  const before = transaction({ marker: 'before', beganAt: 1, endedAt: 2, observations: [append(1, 1)] });
  const gone = transaction({
    marker: 'gone',
    beganAt: 110,
    endedAt: 120,
    observations: [read(1, [1]), append(1, 2)],
  });
  const sawIt = (beganAt: number, endedAt: number, ...more: ReturnType<typeof append>[]): Transaction =>
    transaction({ marker: 'sawIt', beganAt, endedAt, observations: [read(1, [1, 2]), ...more] });
  const after = transaction({ marker: 'after', beganAt: 210, endedAt: 220, observations: [append(1, 3)] });

  it('is right if nobody lived on both branches', () => {
    expect(rulesOf([before, gone, sawIt(130, 140), after], { 1: [1, 3] }, [loss])).toEqual([]);
  });

  it('is wrong without a loss that excuses it', () => {
    expect(rulesOf([before, gone, sawIt(130, 140), after], { 1: [1, 3] })).toContain('incompatible order');
    const later = { ...loss, begunAt: 500, overAt: 600 };
    expect(rulesOf([before, gone, sawIt(130, 140), after], { 1: [1, 3] }, [later])).toContain(
      'incompatible order',
    );
  });

  it('is wrong if what was lost is read when all is over', () => {
    expect(rulesOf([before, gone, sawIt(210, 220)], { 1: [1] }, [loss])).toContain('incompatible order');
  });

  it('is right if who has only read had sent its COMMIT before, and wrong if not', () => {
    const reader = (endSentAt: number): Transaction => ({ ...sawIt(130, 300), endSentAt });
    expect(rulesOf([before, gone, reader(190), after], { 1: [1, 3] }, [loss])).toEqual([]);
    expect(rulesOf([before, gone, reader(210), after], { 1: [1, 3] }, [loss])).toContain(
      'incompatible order',
    );
    const writer: Transaction = { ...reader(190), effects: ['x'] };
    expect(rulesOf([before, gone, writer, after], { 1: [1, 3] }, [loss])).toContain('incompatible order');
  });

  it('is wrong if what is there had read what was lost', () => {
    const rules = rulesOf([before, gone, sawIt(130, 140, append(2, 9)), after], { 1: [1, 3], 2: [9] }, [
      loss,
    ]);
    expect(rules).toContain('rests on what was lost');
  });

  it('is checked on the branch that was lost, too', () => {
    const other = transaction({
      marker: 'other',
      beganAt: 110,
      endedAt: 125,
      observations: [read(1, [1]), append(1, 4)],
    });
    const witness = transaction({
      marker: 'witness',
      beganAt: 130,
      endedAt: 140,
      observations: [read(1, [1, 2, 4])],
    });
    expect(rulesOf([before, gone, other, witness, after], { 1: [1, 3] }, [loss])).toEqual(['lost-update']);
    const fork = transaction({ marker: 'fork', beganAt: 130, endedAt: 140, observations: [read(1, [1, 4])] });
    expect(rulesOf([before, gone, other, witness, fork, after], { 1: [1, 3] }, [loss])).toContain(
      'incompatible order',
    );
  });
});
