import { describe, expect, it } from 'vitest';
import {
  CommittedLog,
  type CommittedLogLimits,
  type LoggedTransaction,
} from '../../../src/cluster/committed-log.ts';
import type { LogPosition } from '../../../src/cluster/log-position.ts';

const LIMITS: CommittedLogLimits = {
  maxCommittedLogBytes: 1_000,
  maxCommittedLogTransactions: 10,
  maxCommittedLogAgeMillis: 60_000,
};

interface Entry extends LoggedTransaction {
  readonly name: string;
  isDiscarded: boolean;
}

/** Sequences: sent at `at`, acknowledged at `at + 1`. */
function entry(name: string, at: number, changes: Partial<LoggedTransaction> = {}): Entry {
  const made: Entry = {
    name,
    incarnation: 'old',
    timeline: 1,
    sentSequence: at,
    acknowledgedSequence: at + 1,
    acknowledgedAtMillis: at,
    bytes: 10,
    notBefore: null,
    upTo: null,
    wasFlushed: false,
    isDiscarded: false,
    discard: () => {
      made.isDiscarded = true;
    },
    ...changes,
  };
  return made;
}

const at = (position: bigint, timeline = 1): LogPosition => ({ timeline, position });
const sample = (position: bigint, askedSequence: number, incarnation = 'old') => ({
  incarnation,
  position: at(position),
  askedSequence,
  answeredSequence: askedSequence + 1,
});
const names = (entries: readonly LoggedTransaction[]): string[] => entries.map((one) => (one as Entry).name);

describe('the position behind a COMMIT', () => {
  it('is one that was asked for behind its acknowledgement', () => {
    const log = new CommittedLog<Entry>(LIMITS);
    const [a, b] = [entry('a', 1), entry('b', 3)];
    log.add(a);
    log.add(b);
    log.sampled(sample(100n, 3));
    expect([a.upTo, b.upTo]).toEqual([at(100n), null]);
    log.sampled(sample(200n, 5));
    expect([a.upTo, b.upTo]).toEqual([at(100n), at(200n)]);
  });

  it('is not that of another life of a server', () => {
    const log = new CommittedLog<Entry>(LIMITS);
    const a = entry('a', 1);
    log.add(a);
    log.sampled(sample(100n, 9, 'new'));
    expect(a.upTo).toBeNull();
  });

  it('still comes for those that are put back', () => {
    const log = new CommittedLog<Entry>(LIMITS);
    const [a, b] = [entry('a', 1), entry('b', 3, { incarnation: 'new' })];
    log.add(a);
    log.add(b);
    log.sampled(sample(100n, 9, 'new'));
    const taken = log.takeUnsettled('new') as Entry[];
    expect(names(taken)).toEqual(['a']);
    taken[0]!.incarnation = 'new';
    log.putBack(taken);
    log.sampled(sample(200n, 11, 'new'));
    expect([a.upTo, b.upTo]).toEqual([at(200n), at(100n)]);
  });
});

describe('the position in front of a COMMIT', () => {
  it('is the last that had been answered when it was sent', () => {
    const log = new CommittedLog<Entry>(LIMITS);
    log.sampled(sample(100n, 1));
    log.sampled(sample(200n, 5));
    const [early, late, other] = [
      entry('early', 4),
      entry('late', 7),
      entry('other', 8, { incarnation: 'new' }),
    ];
    for (const one of [early, late, other]) log.add(one);
    expect([early.notBefore, late.notBefore, other.notBefore]).toEqual([at(100n), at(200n), null]);
  });

  it('is not known before any was asked for', () => {
    const log = new CommittedLog<Entry>(LIMITS);
    log.sampled(sample(100n, 5));
    const a = entry('a', 4);
    log.add(a);
    expect(a.notBefore).toBeNull();
  });
});

describe('what every candidate has', () => {
  it('is dropped, and its bytes are overwritten', () => {
    const log = new CommittedLog<Entry>(LIMITS);
    const [a, b] = [entry('a', 1), entry('b', 3)];
    log.add(a);
    log.add(b);
    log.sampled(sample(100n, 2));
    log.sampled(sample(200n, 9));
    log.purge('old', 150n);
    expect(names(log.entries())).toEqual(['b']);
    expect([a.isDiscarded, b.isDiscarded]).toEqual([true, false]);
    log.purge('old', 200n);
    expect([log.size, log.bytes, log.dropped]).toEqual([0, 0, 0]);
  });

  it('stays as long as nobody knows where it ends', () => {
    const log = new CommittedLog<Entry>(LIMITS);
    log.add(entry('a', 1));
    log.purge('old', 10_000n);
    expect(log.size).toBe(1);
  });

  it('stays if it was acknowledged elsewhere: the numbers of another timeline mean other bytes (A15)', () => {
    const log = new CommittedLog<Entry>(LIMITS);
    log.add(entry('a', 1, { upTo: at(100n) }));
    log.purge('new', 10_000n);
    expect(log.size).toBe(1);
  });

  it('stays correct over thousands of them', () => {
    const log = new CommittedLog<Entry>({
      ...LIMITS,
      maxCommittedLogBytes: 1e9,
      maxCommittedLogTransactions: 1e6,
    });
    let purged = 0;
    for (let i = 1; i <= 20_000; i++) {
      log.add(entry(String(i), i * 3));
      if (i % 7 === 0) log.sampled(sample(BigInt(i), i * 3 + 2));
      if (i % 21 === 0) {
        purged = i - 14;
        log.purge('old', BigInt(purged));
      }
    }
    expect(log.size).toBe(20_000 - purged);
    expect(names(log.entries()).slice(0, 2)).toEqual([String(purged + 1), String(purged + 2)]);
    expect(log.bytes).toBe(log.size * 10);
  });
});

describe('a limit', () => {
  it('of transactions makes the oldest fall out, counts it, and tells once until the log was empty', () => {
    const log = new CommittedLog<Entry>({ ...LIMITS, maxCommittedLogTransactions: 2 });
    const entries = [1, 3, 5, 7].map((one) => entry(String(one), one));
    expect(entries.map((one) => log.add(one))).toEqual([
      null,
      null,
      { limit: 'maxCommittedLogTransactions', value: 2 },
      null,
    ]);
    expect(names(log.entries())).toEqual(['5', '7']);
    expect(log.dropped).toBe(2);
    expect(entries.map((one) => one.isDiscarded)).toEqual([true, true, false, false]);
    log.sampled(sample(1n, 9));
    log.purge('old', 1n);
    expect([11, 13, 15].map((one) => log.add(entry('x', one))).at(-1)).toEqual({
      limit: 'maxCommittedLogTransactions',
      value: 2,
    });
  });

  it('of bytes', () => {
    const log = new CommittedLog<Entry>({ ...LIMITS, maxCommittedLogBytes: 25 });
    expect([1, 3, 5].map((one) => log.add(entry(String(one), one))).at(-1)).toEqual({
      limit: 'maxCommittedLogBytes',
      value: 25,
    });
    expect(log.bytes).toBe(20);
    expect(log.add(entry('too large', 7, { bytes: 26 }))).toBeNull();
    expect(log.size).toBe(0);
  });

  it('of age', () => {
    const log = new CommittedLog<Entry>({ ...LIMITS, maxCommittedLogAgeMillis: 10 });
    log.add(entry('a', 1));
    expect(log.expire(11)).toBeNull();
    expect(log.expire(12)).toEqual({ limit: 'maxCommittedLogAgeMillis', value: 10 });
    expect([log.size, log.dropped]).toEqual([0, 1]);
  });
});

describe('what another server is to judge', () => {
  it('is all that was acknowledged elsewhere', () => {
    const log = new CommittedLog<Entry>(LIMITS);
    log.add(entry('a', 1));
    log.add(entry('b', 3, { incarnation: 'new' }));
    log.add(entry('c', 5));
    expect(log.hasUnsettled('new')).toBe(true);
    expect(names(log.takeUnsettled('new'))).toEqual(['a', 'c']);
    expect(log.hasUnsettled('new')).toBe(false);
    expect([log.size, log.bytes]).toEqual([1, 10]);
  });

  it('goes back to where it stood', () => {
    const log = new CommittedLog<Entry>(LIMITS);
    const [a, b, c] = [entry('a', 1), entry('b', 3, { incarnation: 'new' }), entry('c', 5)];
    for (const one of [a, b, c]) log.add(one);
    log.putBack(log.takeUnsettled('new'));
    expect(names(log.entries())).toEqual(['a', 'b', 'c']);
    expect(log.bytes).toBe(30);
  });

  it('is told whether its server had flushed it', () => {
    const log = new CommittedLog<Entry>(LIMITS);
    const [a, b, c] = [entry('a', 1), entry('b', 4), entry('c', 7)];
    for (const one of [a, b]) log.add(one);
    log.sampled(sample(100n, 3));
    log.sampled(sample(200n, 6));
    log.add(c);
    log.flushed('old', 150n);
    log.takeUnsettled('new');
    expect([a.wasFlushed, b.wasFlushed, c.wasFlushed]).toEqual([true, false, false]);
  });
});
