import { describe, expect, it } from 'vitest';
import type { CommitMark } from '../../../src/pg/commit-mark.ts';
import type { CommitObservation, CommitVerdict, VerdictReason } from '../../../src/pg/commit-verdict.ts';
import { decideCommit } from '../../../src/pg/commit-verdict.ts';
import type { SeenServer } from '../../../src/pg/lineage.ts';
import { recordServer, UNKNOWN_LINEAGE } from '../../../src/pg/lineage.ts';

const L = 500n;

const server: SeenServer = {
  inRecovery: false,
  systemIdentifier: '77',
  timeline: 1,
  incarnation: 'captured',
  startTime: 'a',
  replayLsn: null,
  receiveLsn: null,
  logTimelines: [1],
};
const mark: CommitMark = { xid: '739', lsn: L, systemIdentifier: '77', timeline: 1, incarnation: 'captured' };

/** A standby that was promoted at S. */
const promotedAt = (s: bigint, timeline = 2): SeenServer => ({
  ...server,
  timeline,
  incarnation: `promoted-${timeline}`,
  startTime: `start-${timeline}`,
  replayLsn: s,
  receiveLsn: s,
  logTimelines: [timeline - 1],
});
/** The same data directory, started after a crash; S is the end of what was recovered. */
const recoveredAt = (s: bigint, from: SeenServer = server): SeenServer => ({
  ...from,
  incarnation: `recovered-${from.timeline}`,
  startTime: 'later',
  replayLsn: s,
  receiveLsn: null,
});
/** The same data directory after a clean stop, or after a crash and a clean stop. */
const restarted = (from: SeenServer = server): SeenServer => ({ ...recoveredAt(0n, from), replayLsn: null });

const below = promotedAt(L - 1n);
const above = promotedAt(L);
/** Promoted to timeline 3, but off timeline 1. */
const stranger: SeenServer = { ...promotedAt(L + 9n, 3), logTimelines: [1] };
/** The history of timeline 3, by where timelines 1 and 2 were left. */
const pastOf = (one: bigint, two: bigint): [number, bigint][] => [
  [1, one],
  [2, two],
];

type Answer = readonly [CommitVerdict, VerdictReason];
const PROVED: Answer = ['committed', 'shared-log'];
const BRANCHED: Answer = ['not-committed', 'switched-before-mark'];
const ABORTED: Answer = ['not-committed', 'status-aborted'];
const RUNNING: Answer = ['in-progress', 'status-in-progress'];
const UNPROVED: Answer = ['unknown', 'lineage-unproved'];
const CONTRADICTED: Answer = ['unknown', 'mark-contradicted'];
const NO_STATUS: Answer = ['unknown', 'status-unavailable'];
const IN_RECOVERY: Answer = ['unknown', 'server-in-recovery'];
const NO_ANCESTOR: Answer = ['unknown', 'not-an-ancestor'];
const UNIDENTIFIED: Answer = ['unknown', 'server-unidentified'];

type Scenario = readonly [
  name: string,
  /** What was seen since the capture, oldest first; the last one is asked. Each timeline is a host's of its own. */
  seen: readonly SeenServer[],
  status: CommitObservation['status'],
  answer: Answer,
  history?: readonly (readonly [number, bigint])[],
];

// The letters are those of the experiments; A3 and A4 are the design review's.
const scenarios: Scenario[] = [
  // The standby was promoted.
  ['a1: killed before the flush, L replicated', [promotedAt(L)], 'aborted', ABORTED],
  ['a2: killed before the flush, L not replicated', [promotedAt(L - 1n)], 'future', BRANCHED],
  ['b1: flushed, L replicated, COMMIT not', [promotedAt(L + 9n)], 'aborted', ABORTED],
  ['b2: nothing replicated', [promotedAt(L - 1n)], 'future', BRANCHED],
  ['b2, after another transaction got the xid', [promotedAt(L - 1n)], 'committed', BRANCHED],
  ['c: replicated, acknowledgement lost', [promotedAt(L + 9n)], 'committed', PROVED],
  ['c, the mark is the last record replicated', [promotedAt(L)], 'committed', PROVED],
  ['d: COMMIT never reached the server', [promotedAt(L + 9n)], 'aborted', ABORTED],
  ['e: PREPARE TRANSACTION replicated', [promotedAt(L + 9n)], 'prepared', PROVED],
  ['e, under another name', [promotedAt(L + 9n)], 'in progress', RUNNING],
  ['f: mark in a savepoint that was rolled back', [promotedAt(L + 9n)], 'committed', PROVED],
  ['n: received, not replayed before the promotion', [promotedAt(L + 9n)], 'committed', PROVED],
  ['standby not promoted yet', [{ ...promotedAt(L), inRecovery: true }], 'committed', IN_RECOVERY],
  ['RUNNING_XACTS passed the xid, its records did not come', [promotedAt(L - 1n)], 'aborted', BRANCHED],
  ['A3: a mark that was none, its xid still free', [promotedAt(L)], 'future', CONTRADICTED],
  ['the status is too old to be known', [promotedAt(L)], 'none', NO_STATUS],
  ['the status is refused, but S < L', [promotedAt(L - 1n)], 'none', BRANCHED],

  // The promoted server crashed and recovered, or restarted.
  ['j: its promotion was not seen', [recoveredAt(L + 9n, promotedAt(L - 1n))], 'committed', UNPROVED],
  ['j: seen to be below L', [below, recoveredAt(L + 9n, below)], 'committed', UNPROVED],
  ['j: seen to be above L', [above, recoveredAt(L + 9n, above)], 'committed', PROVED],
  ['j: history below L', [recoveredAt(L + 9n, below)], 'committed', BRANCHED, [[1, L - 1n]]],
  ['j: history above L', [recoveredAt(L + 9n, above)], 'committed', PROVED, [[1, L]]],
  ['j: aborted', [recoveredAt(L + 9n, below)], 'aborted', ABORTED],
  ['clean restart, the promotion seen', [above, restarted(above)], 'committed', PROVED],
  ['clean restart, the promotion not seen', [restarted(above)], 'committed', UNPROVED],

  // Double failover.
  ['i: the first promotion not seen', [promotedAt(L + 9n, 3)], 'committed', UNPROVED],
  ['i: the first promotion below L', [below, promotedAt(L + 9n, 3)], 'committed', UNPROVED],
  ['i: both promotions above L', [above, promotedAt(L + 9n, 3)], 'committed', PROVED],
  ['i: the second below L', [above, promotedAt(L - 1n, 3)], 'committed', BRANCHED],
  ['i: the second does not follow the first', [above, stranger], 'committed', UNPROVED],
  ['i: history', [promotedAt(L + 9n, 3)], 'committed', PROVED, pastOf(L, L + 9n)],
  ['i: history, first below L', [promotedAt(L + 9n, 3)], 'committed', BRANCHED, pastOf(L - 1n, L + 9n)],
  ['promoted in mid-replay', [restarted(promotedAt(L, 3))], 'committed', BRANCHED, pastOf(L + 9n, L - 1n)],
  ['history without the captured timeline', [promotedAt(L + 9n, 3)], 'aborted', NO_ANCESTOR, [[2, L]]],

  // The server came back itself.
  ['a1 on the old primary', [recoveredAt(L)], 'aborted', ABORTED],
  ['a2 on the old primary', [recoveredAt(L - 1n)], 'future', BRANCHED],
  ['A4: one crash, L lost', [recoveredAt(L - 1n)], 'committed', BRANCHED],
  ['A4: two crashes look like one', [recoveredAt(L + 9n)], 'committed', UNPROVED],
  ['A4: the xid runs again', [recoveredAt(L + 9n)], 'in progress', RUNNING],
  ['crash, then clean restart, committed', [restarted()], 'committed', UNPROVED],
  ['crash, then clean restart, aborted', [restarted()], 'aborted', ABORTED],
  ['crash, then clean restart, xid still free', [restarted()], 'future', CONTRADICTED],

  // Only the connection was lost.
  ['the same life, committed', [server], 'committed', ['committed', 'same-incarnation']],
  ['the same life, prepared', [server], 'prepared', ['committed', 'same-incarnation']],
  ['the same life, aborted', [server], 'aborted', ['not-committed', 'same-incarnation']],
  ['k: the backend lives', [server], 'in progress', RUNNING],
  ['the same life, xid in the future', [server], 'future', CONTRADICTED],
  ['the same life, status refused', [server], 'none', NO_STATUS],

  // Not ours, or not who it says.
  ['another cluster', [{ ...below, systemIdentifier: '78' }], 'aborted', ['unknown', 'other-cluster']],
  ['no identifier', [{ ...above, systemIdentifier: null }], 'aborted', UNIDENTIFIED],
  ['no timeline', [{ ...above, timeline: null }], 'aborted', UNIDENTIFIED],
  ['no incarnation', [{ ...above, incarnation: null }], 'aborted', UNIDENTIFIED],
];

describe('what became of a COMMIT in doubt', () => {
  for (const [name, seen, status, [verdict, reason], history] of scenarios) {
    it(`${name}: ${verdict}`, () => {
      const lineage = [server, ...seen].reduce(
        (known, one) => recordServer(known, `host-${one.timeline ?? 0}`, one),
        UNKNOWN_LINEAGE,
      );
      const observation = {
        server: seen.at(-1)!,
        status,
        history: history === undefined ? null : new Map(history),
      };
      expect(decideCommit(mark, observation, lineage)).toEqual({ verdict, reason });
    });
  }

  it('is unknown without a mark', () => {
    const observation = { server: promotedAt(0n), status: 'aborted', history: null } as const;
    expect(decideCommit(null, observation, UNKNOWN_LINEAGE)).toEqual({
      verdict: 'unknown',
      reason: 'no-mark',
    });
  });

  it.each(['committed', 'aborted', 'in progress', 'prepared', 'future', 'none'] as const)(
    'is unknown on a lower timeline, also with status %s',
    (status) => {
      const old = { ...server, incarnation: 'old primary', replayLsn: 1n };
      const later: CommitMark = { ...mark, timeline: 2, incarnation: 'promoted-2' };
      const observation = { server: old, status, history: null };
      expect(decideCommit(later, observation, UNKNOWN_LINEAGE)).toEqual({
        verdict: 'unknown',
        reason: 'older-timeline',
      });
    },
  );
});
