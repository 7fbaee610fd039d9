import { describe, expect, it } from 'vitest';

import { learn, NOTHING_KNOWN } from '../../../src/cluster/cluster-knowledge.ts';
import type { ClusterKnowledge } from '../../../src/cluster/cluster-knowledge.ts';
import type { ReachableHost } from '../../../src/cluster/host-observation.ts';

const A = { host: 'a', port: 1 };

function host(changes: Partial<ReachableHost> = {}): ReachableHost {
  return {
    kind: 'reachable',
    address: A,
    systemIdentifier: 'ours',
    timeline: 2,
    inRecovery: false,
    writable: true,
    incarnation: 'second',
    ...changes,
  };
}

const KNOWN: ClusterKnowledge = {
  systemIdentifier: 'ours',
  highestTimeline: 2,
  primary: { address: A, incarnation: 'first' },
};

describe('what the driver knows of its cluster after it used a host', () => {
  it('the first primary teaches everything', () => {
    expect(learn(NOTHING_KNOWN, host())).toEqual({
      systemIdentifier: 'ours',
      highestTimeline: 2,
      primary: { address: A, incarnation: 'second' },
    });
  });

  it('a standby teaches identity and timeline, but is no primary', () => {
    expect(learn(KNOWN, host({ inRecovery: true, timeline: 3 }))).toEqual({ ...KNOWN, highestTimeline: 3 });
  });

  it('a promoted primary raises the timeline', () => {
    const { highestTimeline, primary } = learn(KNOWN, host({ timeline: 3 }));
    expect([highestTimeline, primary?.incarnation]).toEqual([3, 'second']);
  });

  it('what a server hides stays as it was', () => {
    expect(learn(KNOWN, host({ systemIdentifier: null, timeline: null }))).toEqual({
      ...KNOWN,
      primary: { address: A, incarnation: 'second' },
    });
  });

  it.each([
    ['another cluster', host({ systemIdentifier: 'other', timeline: 9 })],
    ['a lower timeline', host({ timeline: 1 })],
  ])('%s teaches nothing', (_name, stranger) => {
    expect(learn(KNOWN, stranger)).toBe(KNOWN);
  });

  it('knowledge is never changed, only followed by other knowledge', () => {
    const before = structuredClone(KNOWN);
    expect(Object.isFrozen(learn(KNOWN, host({ timeline: 3 })))).toBe(true);
    expect(KNOWN).toEqual(before);
  });
});
