import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ReplayOrder, type OrderedReplay, type OrderedUnit } from '../../../src/cluster/replay-order.ts';

const unit = (acknowledgedSequence: number): OrderedUnit => ({
  acknowledgedSequence,
  releasesLocks: false,
});

/** Lets every promise that can settle do so. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function isFree(replay: OrderedReplay, one: OrderedUnit): Promise<boolean> {
  return Promise.race([replay.turn(one).then(() => true), settled().then(() => false)]);
}

describe('a unit whose result depends on the moment', () => {
  it('waits for what had been acknowledged before it', async () => {
    const order = new ReplayOrder();
    const first = order.enter([unit(2)]);
    const second = order.enter([unit(4)]);
    expect(await isFree(second, unit(4))).toBe(false);
    first.advance(1);
    expect(await isFree(second, unit(4))).toBe(true);
  });

  it('does not wait for what was acknowledged later', async () => {
    const order = new ReplayOrder();
    const first = order.enter([unit(3)]);
    order.enter([unit(4)]);
    expect(await isFree(first, unit(3))).toBe(true);
  });

  it('does not wait for its own session', async () => {
    const order = new ReplayOrder();
    const only = order.enter([unit(2), unit(4)]);
    expect(await isFree(only, unit(4))).toBe(true);
  });

  it('does not wait for who has left, nor once its own session has', async () => {
    const order = new ReplayOrder();
    const gone = order.enter([unit(2)]);
    const waiting = order.enter([unit(4)]);
    gone.leave();
    expect(await isFree(waiting, unit(4))).toBe(true);

    order.enter([unit(6)]);
    const given = order.enter([unit(8)]);
    const turn = given.turn(unit(8));
    given.leave();
    await turn;
  });
});

describe('who was out of order', () => {
  it('begins again behind all who were not, and in the same order among their like', async () => {
    const order = new ReplayOrder();
    const first = order.enter([unit(6)]);
    const second = order.enter([unit(2)], 1);
    const third = order.enter([unit(4)], 1);
    expect(await isFree(first, unit(6))).toBe(true);
    expect(await isFree(second, unit(2))).toBe(false);
    first.advance(1);
    expect(await isFree(second, unit(2))).toBe(true);
    expect(await isFree(third, unit(4))).toBe(false);
    second.leave();
    expect(await isFree(third, unit(4))).toBe(true);
  });
});

interface Session {
  readonly units: readonly OrderedUnit[];
}

/** Units of several sessions, acknowledged in this order. */
const recordings: fc.Arbitrary<readonly Session[]> = fc
  .array(fc.nat(5), { minLength: 2, maxLength: 40 })
  .map((order) => {
    const units: OrderedUnit[][] = Array.from({ length: 6 }, () => []);
    order.forEach((session, i) => units[session]!.push(unit(i + 1)));
    return units.map((list) => ({ units: list }));
  });

describe('any recording', () => {
  it('is replayed to its end, and nothing starts before what had been acknowledged before it', async () => {
    await fc.assert(
      fc.asyncProperty(recordings, fc.infiniteStream(fc.nat(3)), async (sessions, delays) => {
        const order = new ReplayOrder();
        const done = new Set<OrderedUnit>();
        const all = sessions.flatMap(({ units }) => units);
        const entered = sessions.map(({ units }) => ({ units, replay: order.enter(units) }));
        await Promise.all(
          entered.map(async ({ units, replay }) => {
            for (const [index, one] of units.entries()) {
              await replay.turn(one);
              for (const earlier of all) {
                if (earlier.acknowledgedSequence < one.acknowledgedSequence)
                  expect(done.has(earlier)).toBe(true);
              }
              for (let i = delays.next().value; i > 0; i--) await Promise.resolve();
              done.add(one);
              replay.advance(index + 1);
            }
            replay.leave();
          }),
        );
        expect(done.size).toBe(all.length);
      }),
      { numRuns: 300 },
    );
  });
});
