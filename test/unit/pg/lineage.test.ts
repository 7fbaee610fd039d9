import { describe, expect, it } from 'vitest';
import type { Lineage, SeenServer } from '../../../src/pg/lineage.ts';
import { isSoleWriter, recordServer, sharedLog, UNKNOWN_LINEAGE } from '../../../src/pg/lineage.ts';

const first: SeenServer = {
  inRecovery: false,
  systemIdentifier: '77',
  timeline: 1,
  incarnation: '1/a',
  startTime: 'a',
  replayLsn: null,
  receiveLsn: null,
  logTimelines: [1],
};
const captured = { timeline: 1, incarnation: '1/a' };

const standby = (life: string, position: bigint, change: Partial<SeenServer> = {}): SeenServer => ({
  ...first,
  inRecovery: true,
  timeline: null,
  incarnation: `standby/${life}`,
  startTime: life,
  replayLsn: position,
  receiveLsn: position,
  ...change,
});
const promoted = (
  life: string,
  timeline: number,
  at: bigint,
  change: Partial<SeenServer> = {},
): SeenServer => ({
  ...standby(life, at),
  inRecovery: false,
  timeline,
  incarnation: `${timeline}/${life}`,
  ...change,
});

function lineageOf(...seen: [string, SeenServer][]): Lineage {
  return seen.reduce((known, [host, server]) => recordServer(known, host, server), UNKNOWN_LINEAGE);
}

describe('what was seen of the timelines', () => {
  it('proves the log of the promoted server up to where it was promoted', () => {
    expect(sharedLog(lineageOf(['a', first], ['b', promoted('b', 2, 9n)]), captured, 2)).toBe(9n);
  });

  it('does not change if nothing new is seen', () => {
    const seen: [string, SeenServer][] = [
      ['a', first],
      ['c', standby('c', 5n)],
      ['b', promoted('b', 2, 9n)],
    ];
    const lineage = lineageOf(...seen);
    expect(recordServer(lineage, 'b', promoted('b', 2, 9n))).toBe(lineage);
    const again = recordServer(lineage, 'c', standby('c', 9n));
    expect(recordServer(again, 'c', standby('c', 12n))).toBe(again);
  });

  it('learns nothing from another cluster or from who does not say who it is', () => {
    const lineage = lineageOf(['a', first]);
    for (const change of [
      { systemIdentifier: '78' },
      { systemIdentifier: null },
      { timeline: null },
      { incarnation: null },
    ]) {
      expect(recordServer(lineage, 'x', { ...first, ...change })).toBe(lineage);
    }
    expect(recordServer(lineage, 'x', standby('x', 1n, { startTime: null }))).toBe(lineage);
  });

  it('proves nothing of a life that was never seen, nor towards older timelines', () => {
    const lineage = lineageOf(['a', first], ['b', promoted('b', 2, 9n)]);
    expect(sharedLog(lineage, { timeline: 1, incarnation: 'other' }, 2)).toBeNull();
    expect(sharedLog(lineage, captured, 1)).toBeNull();
    expect(sharedLog(lineage, captured, 3)).toBeNull();
    expect(sharedLog(UNKNOWN_LINEAGE, captured, 2)).toBeNull();
  });

  it.each<[string, [string, SeenServer][]]>([
    ['the captured server crashed and wrote on', [['a', { ...first, incarnation: '1/a2' }]]],
    ['another host wrote on the captured timeline', [['x', first]]],
    [
      'two lives wrote on the captured timeline in turns',
      [
        ['a', { ...first, incarnation: '1/a2' }],
        ['a', first],
      ],
    ],
  ])('takes the proof away if %s', (_what, seen) => {
    const lineage = lineageOf(['a', first], ...seen, ['b', promoted('b', 2, 9n)]);
    expect(isSoleWriter(lineage, captured)).toBe(false);
    expect(sharedLog(lineage, captured, 2)).toBeNull();
  });

  it('does not mind lives before the captured one', () => {
    const lineage = lineageOf(
      ['a', { ...first, incarnation: '1/a0' }],
      ['a', first],
      ['b', promoted('b', 2, 9n)],
    );
    expect(sharedLog(lineage, captured, 2)).toBe(9n);
  });

  it('does not mind that the old primary goes on, for what it wrote before', () => {
    const lineage = lineageOf(['a', first], ['b', promoted('b', 2, 9n)], ['a', first]);
    expect(sharedLog(lineage, captured, 2)).toBe(9n);
    // But a third server might have followed it.
    const onward = recordServer(lineage, 'c', promoted('c', 3, 20n, { logTimelines: [2] }));
    expect(sharedLog(onward, { timeline: 2, incarnation: '2/b' }, 3)).toBeNull();
  });

  it('proves nothing by a timeline that two hosts began, or one host twice', () => {
    const two = lineageOf(['a', first], ['b', promoted('b', 2, 9n)], ['c', promoted('c', 2, 12n)]);
    expect(sharedLog(two, captured, 2)).toBeNull();
    const twice = lineageOf(['a', first], ['b', promoted('b', 2, 9n)], ['b', promoted('b9', 2, 9n)]);
    expect(sharedLog(twice, captured, 2)).toBeNull();
  });

  it('proves nothing by a life that began on a timeline already left', () => {
    const lineage = lineageOf(
      ['a', first],
      ['b', promoted('b', 2, 9n)],
      ['a', { ...first, incarnation: '1/a2' }],
    );
    expect(isSoleWriter(lineage, { timeline: 1, incarnation: '1/a2' })).toBe(false);
  });

  it('proves nothing by a promotion that nobody saw', () => {
    const crashed = promoted('b', 2, 30n, { receiveLsn: null });
    expect(sharedLog(lineageOf(['a', first], ['b', crashed]), captured, 2)).toBeNull();
    const seenBefore = lineageOf(
      ['a', first],
      ['b', promoted('b', 2, 9n)],
      ['b', { ...crashed, incarnation: '2/b2' }],
    );
    expect(sharedLog(seenBefore, captured, 2)).toBe(9n);
  });

  describe('over two promotions', () => {
    const before: [string, SeenServer][] = [
      ['a', first],
      ['b', promoted('b', 2, 9n)],
    ];
    const shared = (...seen: [string, SeenServer][]): bigint | null =>
      sharedLog(lineageOf(...before, ...seen), captured, 3);

    it('needs evidence that the second server followed the first', () => {
      expect(shared(['c', promoted('c', 3, 20n)])).toBeNull();
      expect(shared(['c', promoted('c', 3, 20n, { logTimelines: [2] })])).toBe(9n);
      expect(shared(['c', standby('c', 5n, { logTimelines: [1, 2] })], ['c', promoted('c', 3, 20n)])).toBe(
        9n,
      );
    });

    it('takes for evidence that the standby went on receiving while the first was the only writer', () => {
      expect(shared(['c', standby('c', 5n)], ['c', promoted('c', 3, 20n)])).toBe(9n);
      expect(shared(['c', standby('c', 20n)], ['c', promoted('c', 3, 20n)])).toBeNull();
      // Another life of it: it may have received that from anybody.
      expect(shared(['c', standby('c1', 5n)], ['c', promoted('c2', 3, 20n)])).toBeNull();
    });

    it('does not take what it was sent again after a restart', () => {
      const restarted = standby('c', 20n, { receiveLsn: 16n });
      expect(shared(['c', restarted], ['c', promoted('c', 3, 20n, { receiveLsn: 18n })])).toBeNull();
    });

    it('does not take what another standby of an older timeline could have sent it', () => {
      const ahead: [string, SeenServer] = ['d', standby('d', 25n)];
      expect(shared(ahead, ['c', standby('c', 5n)], ['c', promoted('c', 3, 20n)])).toBeNull();
      expect(shared(ahead, ['c', standby('c', 5n)], ['c', promoted('c', 3, 30n)])).toBe(9n);
      const later: [string, SeenServer][] = [ahead, ['c', promoted('c', 3, 20n)]];
      expect(shared(ahead, ['c', standby('c', 5n)], ['c', promoted('c', 3, 20n)], ...later)).toBeNull();
      const follower: [string, SeenServer] = ['d', standby('d', 25n, { logTimelines: [2] })];
      expect(shared(follower, ['c', standby('c', 5n)], ['c', promoted('c', 3, 20n)])).toBe(9n);
    });

    it('does not take what the old primary, writing on, could have sent it', () => {
      expect(shared(['c', standby('c', 5n)], ['a', first], ['c', promoted('c', 3, 20n)])).toBeNull();
    });

    it('counts the lowest switch point', () => {
      expect(shared(['c', promoted('c', 3, 7n, { logTimelines: [2] })])).toBe(7n);
    });
  });

  it('remembers a bounded number of timelines, lives and standbys', () => {
    let lineage = UNKNOWN_LINEAGE;
    for (let count = 1; count <= 500; count += 1) {
      lineage = recordServer(lineage, 'a', { ...first, timeline: count, incarnation: `${count}/a` });
      lineage = recordServer(lineage, 'a', { ...first, timeline: 500, incarnation: `500/${count}` });
      lineage = recordServer(lineage, `host-${count}`, standby('x', 1n, { logTimelines: [count] }));
      lineage = recordServer(lineage, 'one', standby('x', 1n, { logTimelines: [count] }));
    }
    expect(lineage.timelines.size).toBeLessThanOrEqual(64);
    expect(lineage.standbys.size).toBeLessThanOrEqual(64);
    for (const record of lineage.timelines.values())
      expect(record.incarnations.length).toBeLessThanOrEqual(64);
    for (const record of lineage.standbys.values()) expect(record.timelines.length).toBeLessThanOrEqual(64);
  });
});
