import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Coordinator } from '../../../src/cluster/coordinator.ts';
import type { HostObservation, ReachableHost } from '../../../src/cluster/host-observation.ts';
import type { Member, ServerIdentity } from '../../../src/cluster/member.ts';
import { FailoverEvents } from '../../../src/events.ts';
import { staticHosts } from '../../../src/topology/static-hosts.ts';
import type { HostAddress } from '../../../src/topology/host-address.ts';

const A: HostAddress = { host: 'a', port: 5432 };
const B: HostAddress = { host: 'b', port: 5432 };
const never = new AbortController().signal;

function reachable(address: HostAddress, overrides: Partial<ReachableHost> = {}): ReachableHost {
  return {
    kind: 'reachable',
    address,
    systemIdentifier: '7',
    timeline: 1,
    inRecovery: false,
    writable: true,
    incarnation: `${address.host}-1`,
    ...overrides,
  };
}

const standby = (address: HostAddress): ReachableHost =>
  reachable(address, { inRecovery: true, writable: false });
const refused = (address: HostAddress): HostObservation => ({
  kind: 'refused',
  address,
  code: 'ECONNREFUSED',
});

class FakeMember implements Member {
  static #ids = 0;
  readonly id = ++FakeMember.#ids;
  readonly events: FailoverEvents;
  readonly followsPrimary = true;
  readonly journal = [];
  readonly replayRound = 0;
  server: ServerIdentity | null;
  observations = 0;
  cuts = 0;
  readonly #world: Map<string, HostObservation>;

  constructor(world: Map<string, HostObservation>, events: FailoverEvents, server: ServerIdentity | null) {
    this.#world = world;
    this.events = events;
    this.server = server;
  }

  observe(address: HostAddress): Promise<HostObservation> {
    this.observations++;
    return Promise.resolve(this.#world.get(address.host)!);
  }

  look(address: HostAddress): Promise<HostObservation> {
    return this.observe(address);
  }

  get isConnected(): boolean {
    return this.server !== null;
  }

  cut(): void {
    this.cuts++;
    this.server = null;
  }
}

interface Lab {
  readonly coordinator: Coordinator;
  readonly world: Map<string, HostObservation>;
  readonly told: string[];
  readonly member: (server?: ServerIdentity | null) => FakeMember;
}

const onA: ServerIdentity = { address: A, incarnation: 'a-1' };

function lab(): Lab {
  const coordinator = new Coordinator(staticHosts([A, B]), {
    retryMinMillis: 10,
    retryMaxMillis: 100,
    barrierTimeoutMillis: 1_000,
    drainConcurrency: 2,
    maxWaitingSessions: 4,
    maxProcessJournalBytes: 1_000,
    positionIntervalMillis: 500,
    maxCommittedLogBytes: 1_000_000,
    maxCommittedLogTransactions: 1_000,
    maxCommittedLogAgeMillis: 60_000,
    dialTimeoutMillis: 500,
  });
  const world = new Map<string, HostObservation>([
    ['a', reachable(A)],
    ['b', standby(B)],
  ]);
  const events = new FailoverEvents(() => coordinator.snapshot());
  const told: string[] = [];
  for (const name of [
    'failoverStarted',
    'failoverSucceeded',
    'failoverFailed',
    'hostChanged',
    'limitReached',
  ] as const) {
    events.on(name, () => told.push(name));
  }
  coordinator.connected(reachable(A));
  return {
    coordinator,
    world,
    told,
    member: (server = onA) => {
      const made = new FakeMember(world, events, server);
      coordinator.add(made);
      return made;
    },
  };
}

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

/** Lets what is ready run, without time passing. */
const settle = (): Promise<unknown> => vi.advanceTimersByTimeAsync(0);

async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  const note = (): void => {
    settled = true;
  };
  promise.then(note, note);
  await settle();
  return settled;
}

describe('the search for the new primary', () => {
  it('is one for all sessions, and goes on until there is one', async () => {
    const { coordinator, world, member, told } = lab();
    world.set('a', refused(A));
    const members = [member(), member(), member()];
    const tickets = members.map((one) => coordinator.join(one, onA, null));
    const found = tickets.map((ticket) => ticket.primary(never));
    await vi.advanceTimersByTimeAsync(500);
    expect(await isSettled(found[0]!)).toBe(false);
    world.set('b', reachable(B, { timeline: 2 }));
    await vi.advanceTimersByTimeAsync(500);
    const hosts = await Promise.all(found);
    expect(new Set(hosts).size).toBe(1);
    expect(hosts[0]!.address).toEqual(B);
    for (const ticket of tickets) ticket.leave('ready');
    expect(told.filter((name) => name === 'failoverStarted')).toHaveLength(1);
    expect(told).toContain('hostChanged');
    expect(told.at(-1)).toBe('failoverSucceeded');
    expect(coordinator.isFailingOver).toBe(false);
  });

  it('is not begun anew by each session that the same host refuses', async () => {
    const { coordinator, member } = lab();
    const members = Array.from({ length: 4 }, () => member());
    const tickets = members.map((one) => coordinator.join(one, onA, null));
    const found = Promise.all(tickets.map((ticket) => ticket.primary(never)));
    await vi.advanceTimersByTimeAsync(1_000);
    const [host] = await found;
    const looks = (): number => members.reduce((sum, one) => sum + one.observations, 0);
    const before = looks();
    const again = tickets.map((ticket) => {
      ticket.refused(host!);
      return ticket.primary(never);
    });
    await vi.advanceTimersByTimeAsync(1_000);
    await Promise.all(again);
    expect(looks() - before).toBe(2);
    for (const ticket of tickets) ticket.leave('failed');
  });

  it('ends when nobody waits any more', async () => {
    const { coordinator, world, member, told } = lab();
    world.set('a', refused(A));
    const one = member();
    const ticket = coordinator.join(one, onA, null);
    const abort = new AbortController();
    const found = ticket.primary(abort.signal);
    await vi.advanceTimersByTimeAsync(100);
    abort.abort(new Error('deadline'));
    await expect(found).rejects.toThrow('deadline');
    ticket.leave('failed');
    await vi.advanceTimersByTimeAsync(500);
    const { observations } = one;
    await vi.advanceTimersByTimeAsync(5_000);
    expect(one.observations).toBe(observations);
    expect(told.at(-1)).toBe('failoverFailed');
  });

  it('looks at the others as soon as there is a new timeline: nobody needs to have come through', async () => {
    const { coordinator, world, member } = lab();
    const one = member(null);
    world.set('a', standby(A));
    await vi.advanceTimersByTimeAsync(60_000);
    const { observations } = one;
    coordinator.connected(reachable(B, { timeline: 2 }));
    await settle();
    expect(one.observations).toBe(observations + 1);
  });

  it('has a bounded waiting room', () => {
    const { coordinator, member, told } = lab();
    const tickets = Array.from({ length: 4 }, () => coordinator.join(member(), onA, null));
    expect(() => coordinator.join(member(), onA, null)).toThrow(/maxWaitingSessions is 4/);
    expect(told).toContain('limitReached');
    for (const ticket of tickets) ticket.leave('failed');
  });
});

describe('a server that is lost (R12)', () => {
  it('takes all its sessions with it once a probe agrees, also those that noticed nothing', async () => {
    const { coordinator, world, member } = lab();
    const unaware = member();
    const elsewhere = member({ address: B, incarnation: 'b-1' });
    world.set('a', refused(A));
    const ticket = coordinator.join(member(null), onA, null);
    ticket.primary(never).catch(() => undefined);
    await vi.advanceTimersByTimeAsync(100);
    expect(unaware.cuts).toBe(1);
    expect(elsewhere.cuts).toBe(0);
    ticket.leave('failed');
  });

  it.each<[string, HostObservation]>([
    ['it is a standby now', standby(A)],
    ['it has another incarnation', reachable(A, { incarnation: 'a-2' })],
  ])('is lost if %s', async (_, seen) => {
    const { coordinator, world, member } = lab();
    const unaware = member();
    world.set('a', seen);
    const ticket = coordinator.join(member(null), onA, null);
    ticket.primary(never).catch(() => undefined);
    await vi.advanceTimersByTimeAsync(100);
    expect(unaware.cuts).toBe(1);
    ticket.leave('failed');
  });

  it('is not lost because one of its sessions is (R14)', async () => {
    const { coordinator, member } = lab();
    const other = member();
    const ticket = coordinator.join(member(null), onA, null);
    const found = ticket.primary(never);
    await vi.advanceTimersByTimeAsync(1_000);
    expect((await found).incarnation).toBe('a-1');
    expect(other.cuts).toBe(0);
    ticket.leave('ready');
  });

  it('is not lost because it does not answer', async () => {
    const { coordinator, world, member } = lab();
    const other = member();
    world.set('a', { kind: 'unreachable', address: A, reason: 'timeout' });
    const ticket = coordinator.join(member(null), onA, null);
    ticket.primary(never).catch(() => undefined);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(other.cuts).toBe(0);
    ticket.leave('failed');
  });

  it('cuts who is still on the old one when another is chosen', async () => {
    const { coordinator, world, member } = lab();
    const unaware = member();
    world.set('a', { kind: 'unreachable', address: A, reason: 'timeout' });
    world.set('b', reachable(B, { timeline: 2 }));
    const ticket = coordinator.join(member(null), onA, null);
    const found = ticket.primary(never);
    await vi.advanceTimersByTimeAsync(1_000);
    await found;
    expect(unaware.cuts).toBe(1);
    ticket.leave('ready');
  });
});

describe('the phases', () => {
  it('begin for nobody before the one before is over for all', async () => {
    const { coordinator, member } = lab();
    const [one, two] = [coordinator.join(member(), onA, null), coordinator.join(member(), onA, null)];
    const resolved = one.resolved(never);
    expect(await isSettled(resolved)).toBe(false);
    const other = two.resolved(never);
    expect(await isSettled(resolved)).toBe(true);
    await other;
    const ready = one.replayed(never);
    expect(await isSettled(ready)).toBe(false);
    two.replayed(never).catch(() => undefined);
    expect(await isSettled(ready)).toBe(true);
    one.leave('ready');
    two.leave('ready');
  });

  it('do not wait for who leaves', async () => {
    const { coordinator, member } = lab();
    const [one, two] = [coordinator.join(member(), onA, null), coordinator.join(member(), onA, null)];
    const resolved = one.resolved(never);
    two.leave('failed');
    expect(await isSettled(resolved)).toBe(true);
    one.leave('ready');
  });

  it('have a deadline of their own', async () => {
    const { coordinator, member } = lab();
    const [one, two] = [coordinator.join(member(), onA, null), coordinator.join(member(), onA, null)];
    const resolved = one.resolved(never);
    await vi.advanceTimersByTimeAsync(999);
    expect(await isSettled(resolved)).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    expect(await isSettled(resolved)).toBe(true);
    one.leave('ready');
    two.leave('ready');
  });

  it('end with the session that waits', async () => {
    const { coordinator, member } = lab();
    const [one, two] = [coordinator.join(member(), onA, null), coordinator.join(member(), onA, null)];
    const abort = new AbortController();
    const resolved = one.resolved(abort.signal);
    abort.abort(new Error('closed'));
    await expect(resolved).rejects.toThrow('closed');
    one.leave('failed');
    two.leave('failed');
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('the journals of the process', () => {
  it('have a cap', () => {
    const { coordinator } = lab();
    expect(coordinator.reserveJournal(900)).toBe(true);
    expect(coordinator.reserveJournal(200)).toBe(false);
    coordinator.reserveJournal(-900);
    expect(coordinator.reserveJournal(200)).toBe(true);
    expect(coordinator.snapshot().journalBytes).toBe(200);
  });
});

describe('who is done waits for the others', () => {
  const onB: ServerIdentity = { address: B, incarnation: 'b-1' };

  /** One has done all it had to do on B and B is lost as well; now it runs again, a step each 600 ms. Is the other let go? */
  async function letGoWhile(next: ReachableHost): Promise<boolean> {
    const { coordinator, world, member } = lab();
    world.set('a', refused(A));
    world.set('b', reachable(B, { timeline: 2 }));
    const [one, other] = [member(onA), member(onA)];
    const first = [coordinator.join(one, onA, null), coordinator.join(other, onA, null)] as const;
    await Promise.all(first.map((ticket) => ticket.primary(never)));
    for (const ticket of first) ticket.order.advance(5);
    await Promise.all(first.map((ticket) => ticket.replayed(never)));
    if (next.address !== B) world.set('b', refused(B));
    world.set(next.address.host, next);
    const again = [coordinator.join(one, onB, null), coordinator.join(other, onB, null)] as const;
    for (const ticket of first) ticket.leave('ready');
    await Promise.all(again.map((ticket) => ticket.primary(never)));
    let isLetGo = false;
    void again[1].replayed(never).then(() => {
      isLetGo = true;
    });
    for (let step = 1; step <= 4; step++) {
      await vi.advanceTimersByTimeAsync(600);
      again[0].order.advance(step);
    }
    const was = isLetGo;
    for (const ticket of again) ticket.leave('ready');
    await vi.advanceTimersByTimeAsync(5_000);
    return was;
  }

  it('as long as they get on, on another server too', async () => {
    expect(await letGoWhile(reachable(A, { incarnation: 'a-2', timeline: 3 }))).toBe(false);
  });

  it('not if they only do again what they had done there before', async () => {
    expect(await letGoWhile(reachable(B, { timeline: 2 }))).toBe(true);
  });
});
