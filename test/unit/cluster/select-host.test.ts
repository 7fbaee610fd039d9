import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { NOTHING_KNOWN } from '../../../src/cluster/cluster-knowledge.ts';
import type { ClusterKnowledge } from '../../../src/cluster/cluster-knowledge.ts';
import type { HostObservation, ReachableHost } from '../../../src/cluster/host-observation.ts';
import { selectForSessionAttrs, selectPrimary } from '../../../src/cluster/select-host.ts';
import type { PrimarySelection } from '../../../src/cluster/select-host.ts';
import type { HostAddress } from '../../../src/topology/host-address.ts';
import type { TargetSessionAttrs } from '../../../src/topology/target-session-attrs.ts';

const at = (host: string): HostAddress => ({ host, port: 5432 });

function primary(host: string, changes: Partial<ReachableHost> = {}): ReachableHost {
  return {
    kind: 'reachable',
    address: at(host),
    systemIdentifier: 'ours',
    timeline: 1,
    inRecovery: false,
    writable: true,
    incarnation: `life of ${host}`,
    ...changes,
  };
}
const standby = (host: string, changes: Partial<ReachableHost> = {}): ReachableHost =>
  primary(host, { inRecovery: true, writable: false, ...changes });
const refused = (host: string): HostObservation => ({
  kind: 'refused',
  address: at(host),
  code: 'ECONNREFUSED',
});
const silent = (host: string): HostObservation => ({
  kind: 'unreachable',
  address: at(host),
  reason: 'timeout',
});
const rejected = (host: string): HostObservation => ({ kind: 'rejected', address: at(host), code: '28P01' });

const KNOWN: ClusterKnowledge = {
  systemIdentifier: 'ours',
  highestTimeline: 1,
  primary: { address: at('a'), incarnation: 'life of a' },
};

/** `selected a`, `ambiguous a b`, `foreign x`, `wait no-host-answers`. */
function tell(selection: PrimarySelection): string {
  switch (selection.kind) {
    case 'selected':
      return `selected ${selection.observation.address.host}`;
    case 'wait':
      return `wait ${selection.reason}`;
    case 'ambiguous':
    case 'foreign':
      return `${selection.kind} ${selection.candidates.map((host) => host.address.host).join(' ')}`;
  }
}

describe('the primary to go on with', () => {
  const onTwo = { timeline: 2 };
  const hidden = { timeline: null };
  const cases: [name: string, seen: HostObservation[], suggested: string | undefined, answer: string][] = [
    [
      'the old one goes on, only a connection was lost',
      [primary('a'), standby('b')],
      undefined,
      'selected a',
    ],
    [
      'the old one was restarted',
      [primary('a', { incarnation: 'second life' }), standby('b')],
      undefined,
      'selected a',
    ],
    ['a standby was promoted', [refused('a'), primary('b', onTwo)], undefined, 'selected b'],
    [
      'a standby was promoted, another follows it',
      [silent('a'), standby('c', onTwo), primary('b', onTwo)],
      undefined,
      'selected b',
    ],
    ['the old one is back as a standby', [standby('a', onTwo), primary('b', onTwo)], undefined, 'selected b'],
    ['nobody answers', [refused('a'), silent('b')], undefined, 'wait no-host-answers'],
    ['no hosts at all', [], undefined, 'wait no-host-answers'],
    ['only standbys so far', [refused('a'), standby('b')], undefined, 'wait no-writable-host'],
    [
      'writable but in recovery, says a confused probe',
      [standby('b', { writable: true })],
      undefined,
      'wait no-writable-host',
    ],
    [
      'the primary is set to read only',
      [primary('a', { writable: false })],
      undefined,
      'wait no-writable-host',
    ],
    ['all that live let us in no more', [refused('a'), rejected('b')], undefined, 'wait rejected'],
    [
      'a standby shows a higher timeline than what is writable',
      [primary('a', { incarnation: 'x' }), standby('b', onTwo)],
      undefined,
      'wait only-lower-timeline',
    ],
    [
      'the old primary lives on beside a promoted one',
      [primary('a'), primary('b', onTwo)],
      undefined,
      'ambiguous a b',
    ],
    [
      'the same, and the provider names the promoted one',
      [primary('a'), primary('b', onTwo)],
      'b',
      'selected b',
    ],
    [
      'the same, and the provider names the old one',
      [primary('a'), primary('b', onTwo)],
      'a',
      'ambiguous a b',
    ],
    [
      'the old primary was restarted beside a promoted one',
      [primary('a', { incarnation: 'x' }), primary('b', onTwo)],
      undefined,
      'selected b',
    ],
    [
      'two were promoted separately',
      [refused('a'), primary('b', onTwo), primary('c', onTwo)],
      undefined,
      'ambiguous b c',
    ],
    [
      'the same, and the provider names one',
      [refused('a'), primary('b', onTwo), primary('c', onTwo)],
      'c',
      'selected c',
    ],
    ['the provider names a standby', [standby('a'), primary('b')], 'a', 'selected b'],
    ['the provider names nobody we know', [standby('a'), primary('b')], 'z', 'selected b'],
    [
      'one server behind two addresses',
      [primary('x', { incarnation: 'one' }), primary('y', { incarnation: 'one' })],
      undefined,
      'selected x',
    ],
    [
      'the same, one of them was used last',
      [primary('x', { incarnation: 'one' }), primary('a', { incarnation: 'one' })],
      undefined,
      'selected a',
    ],
    [
      'the same, the provider names the other',
      [primary('x', { incarnation: 'one' }), primary('a', { incarnation: 'one' })],
      'x',
      'selected x',
    ],
    [
      'a stranger answers in place of all',
      [refused('a'), primary('x', { systemIdentifier: 'other' })],
      undefined,
      'foreign x',
    ],
    [
      'a stranger on a high timeline beside ours',
      [primary('a'), primary('x', { systemIdentifier: 'other', timeline: 9 })],
      undefined,
      'selected a',
    ],
    [
      'a stranger beside our standby',
      [standby('b'), primary('x', { systemIdentifier: 'other' })],
      undefined,
      'wait no-writable-host',
    ],
    [
      'a stranger that the provider names',
      [standby('b'), primary('x', { systemIdentifier: 'other' })],
      'x',
      'wait no-writable-host',
    ],
    [
      'a stranger beside one that rejects us',
      [rejected('b'), primary('x', { systemIdentifier: 'other' })],
      undefined,
      'wait rejected',
    ],
    [
      'a server that hides its identifier',
      [primary('b', { systemIdentifier: null, ...onTwo })],
      undefined,
      'selected b',
    ],
    ['a server that hides its timeline', [primary('b', hidden)], undefined, 'wait timeline-unknown'],
    ['the same, and the provider vouches for it', [primary('b', hidden)], 'b', 'selected b'],
    [
      'a vouched-for one that hides its timeline beside one that does not',
      [primary('b', hidden), primary('c', onTwo)],
      'b',
      'ambiguous b c',
    ],
  ];

  it.each(cases)('%s', (_name, seen, suggested, answer) => {
    const options = suggested === undefined ? {} : { suggested: at(suggested) };
    expect(tell(selectPrimary(seen, KNOWN, options))).toBe(answer);
  });

  const unknownCases: [
    name: string,
    seen: HostObservation[],
    suggested: string | undefined,
    answer: string,
  ][] = [
    ['the only writable host', [standby('a'), primary('b')], undefined, 'selected b'],
    ['the higher timeline', [primary('a'), primary('b', onTwo)], undefined, 'selected b'],
    [
      'two clusters',
      [primary('a'), primary('x', { systemIdentifier: 'other', timeline: 9 })],
      undefined,
      'ambiguous a x',
    ],
    [
      'two clusters, and the provider names one',
      [primary('a'), primary('x', { systemIdentifier: 'other', timeline: 9 })],
      'a',
      'selected a',
    ],
    [
      'a standby of another cluster does not count',
      [primary('a'), standby('x', { systemIdentifier: 'other', timeline: 9 })],
      undefined,
      'selected a',
    ],
    [
      'no timelines anywhere, as on Aurora',
      [standby('a', hidden), primary('b', hidden)],
      undefined,
      'selected b',
    ],
    [
      'no timelines and two writable hosts',
      [primary('a', hidden), primary('b', hidden)],
      undefined,
      'ambiguous a b',
    ],
  ];

  it.each(unknownCases)('with nothing known yet: %s', (_name, seen, suggested, answer) => {
    const options = suggested === undefined ? {} : { suggested: at(suggested) };
    expect(tell(selectPrimary(seen, NOTHING_KNOWN, options))).toBe(answer);
  });

  it('never goes back to a lower timeline, however long nothing else answers', () => {
    expect(tell(selectPrimary([primary('a')], { ...KNOWN, highestTimeline: 2 }))).toBe(
      'wait only-lower-timeline',
    );
    expect(
      tell(selectPrimary([primary('a')], { ...KNOWN, highestTimeline: 2 }, { suggested: at('a') })),
    ).toBe('wait only-lower-timeline');
  });
});

describe('in any situation the selected primary', () => {
  const host = fc.constantFrom('a', 'b', 'c', 'd').map(at);
  const identifier = fc.constantFrom('ours', 'other', null);
  const timeline = fc.constantFrom(1, 2, 3, null);
  const incarnation = fc.constantFrom('one', 'two', 'three');
  const observation: fc.Arbitrary<HostObservation> = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant('reachable' as const),
        address: host,
        systemIdentifier: identifier,
        timeline,
        inRecovery: fc.boolean(),
        writable: fc.boolean(),
        incarnation,
      }),
    },
    { weight: 1, arbitrary: host.map((address) => refused(address.host)) },
    { weight: 1, arbitrary: host.map((address) => silent(address.host)) },
    { weight: 1, arbitrary: host.map((address) => rejected(address.host)) },
  );
  const situation = fc.record({
    observations: fc.array(observation, { maxLength: 6 }),
    knowledge: fc.record({
      systemIdentifier: fc.constantFrom('ours', null),
      highestTimeline: timeline,
      primary: fc.option(fc.record({ address: host, incarnation })),
    }),
    suggested: fc.option(host, { nil: undefined }),
  });

  function holds(check: (chosen: ReachableHost, world: Situation) => void): void {
    fc.assert(
      fc.property(situation, (world) => {
        const selection = selectPrimary(world.observations, world.knowledge, { suggested: world.suggested });
        if (selection.kind === 'selected') check(selection.observation, world);
      }),
      { numRuns: 3000 },
    );
  }
  type Situation = typeof situation extends fc.Arbitrary<infer T> ? T : never;
  const reachable = ({ observations }: Situation): ReachableHost[] =>
    observations.filter((seen) => seen.kind === 'reachable');

  it('was seen, is writable and not in recovery', () => {
    holds((chosen, { observations }) => {
      expect(observations).toContain(chosen);
      expect([chosen.writable, chosen.inRecovery]).toEqual([true, false]);
    });
  });

  it('is of the known cluster', () => {
    holds((chosen, { knowledge }) => {
      if (knowledge.systemIdentifier !== null)
        expect([knowledge.systemIdentifier, null]).toContain(chosen.systemIdentifier);
    });
  });

  it('is on no lower timeline than is known, or was seen on any host of its cluster', () => {
    holds((chosen, world) => {
      if (chosen.timeline === null) return;
      expect(chosen.timeline).toBeGreaterThanOrEqual(world.knowledge.highestTimeline ?? 0);
      for (const seen of reachable(world)) {
        if (seen.systemIdentifier === chosen.systemIdentifier)
          expect(chosen.timeline).toBeGreaterThanOrEqual(seen.timeline ?? 0);
      }
    });
  });

  it('hides its timeline only if none is known or the provider named it', () => {
    holds((chosen, { knowledge, suggested }) => {
      if (chosen.timeline === null && knowledge.highestTimeline !== null)
        expect(chosen.address).toEqual(suggested);
    });
  });

  it('has no rival in another incarnation on the same timeline, unless the provider named it', () => {
    holds((chosen, world) => {
      if (chosen.address.host === world.suggested?.host) return;
      const rivals = reachable(world).filter(
        (seen) =>
          seen.writable &&
          !seen.inRecovery &&
          seen.systemIdentifier === chosen.systemIdentifier &&
          seen.timeline === chosen.timeline &&
          seen.incarnation !== chosen.incarnation,
      );
      expect(rivals).toEqual([]);
    });
  });

  it('does not depend on the order of the list, except between addresses of one server', () => {
    fc.assert(
      fc.property(situation, fc.integer(), ({ observations, knowledge, suggested }, turn) => {
        // One observation for each address, as in real life.
        const seen = [...new Map(observations.map((one) => [one.address.host, one])).values()];
        const at = seen.length === 0 ? 0 : Math.abs(turn) % seen.length;
        const summary = (hosts: HostObservation[]): unknown => {
          const selection = selectPrimary(hosts, knowledge, { suggested });
          if (selection.kind === 'selected') return selection.observation.incarnation;
          if (selection.kind === 'wait') return selection.reason;
          return [selection.kind, selection.candidates.map((one) => one.address.host).sort()];
        };
        expect(summary([...seen.slice(at), ...seen.slice(0, at)])).toEqual(summary(seen));
      }),
    );
  });
});

describe('target_session_attrs, as in PostgreSQL 001_stream_rep.pl', () => {
  const one = primary('primary');
  const s1 = standby('standby 1');
  const s2 = standby('standby 2');
  const cases: [mode: TargetSessionAttrs, list: HostObservation[], result: string][] = [
    ['read-write', [one, s1], 'primary'],
    ['read-write', [s1, one], 'primary'],
    ['any', [one, s1], 'primary'],
    ['any', [s1, one], 'standby 1'],
    ['primary', [one, s1], 'primary'],
    ['primary', [s1, one], 'primary'],
    ['read-only', [one, s1], 'standby 1'],
    ['read-only', [s1, one], 'standby 1'],
    ['prefer-standby', [one, one], 'primary'],
    ['prefer-standby', [one, s1], 'standby 1'],
    ['prefer-standby', [s1, one], 'standby 1'],
    ['standby', [one, s1], 'standby 1'],
    ['standby', [s1, one], 'standby 1'],
    ['read-write', [s1, s2], 'no-host-matches'],
    ['primary', [s1, s2], 'no-host-matches'],
    ['read-only', [one, one], 'no-host-matches'],
    ['standby', [one, one], 'no-host-matches'],
    // A primary with default_transaction_read_only tells read-only from standby and read-write from primary.
    ['read-only', [primary('read-only primary', { writable: false })], 'read-only primary'],
    ['standby', [primary('read-only primary', { writable: false })], 'no-host-matches'],
    ['read-write', [primary('read-only primary', { writable: false }), one], 'primary'],
    ['primary', [primary('read-only primary', { writable: false }), one], 'read-only primary'],
    // Who is not there is passed over, who does not let us in ends the search.
    ['any', [refused('down'), silent('gone'), s1], 'standby 1'],
    ['prefer-standby', [refused('down'), one], 'primary'],
    ['any', [refused('down'), silent('gone')], 'no-host-answers'],
    ['any', [], 'no-host-answers'],
    ['any', [refused('down'), rejected('closed'), one], 'rejected by closed'],
    ['any', [one, rejected('closed')], 'primary'],
    ['prefer-standby', [one, rejected('closed'), s1], 'rejected by closed'],
  ];

  it.each(
    cases.map(([mode, list, result]) => ({
      mode,
      list,
      result,
      names: list.map((host) => host.address.host).join(', '),
    })),
  )('$mode from [$names]: $result', ({ mode, list, result }) => {
    const selection = selectForSessionAttrs(list, mode);
    const told =
      selection.kind === 'none'
        ? selection.reason
        : `${selection.kind === 'rejected' ? 'rejected by ' : ''}${selection.observation.address.host}`;
    expect(told).toBe(result);
  });
});
