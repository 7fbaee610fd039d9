import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { CommittedFate, CommittedTransaction } from '../../../src/pg/committed-transaction.ts';
import { AnswerGate } from '../../../src/pg/answer-gate.ts';
import { makeUnit, type PgUnit } from '../../../src/pg/pg-unit.ts';
import { ReplicationHold, type HoldingSession } from '../../../src/pg/replication-hold.ts';
import { ReplicationWaits } from '../../../src/cluster/replication-waits.ts';
import { ErrorPassage } from '../../../src/pg/error-passage.ts';

const IDLE = 0x49;
const ONE = { incarnation: 'one' };
const TWO = { incarnation: 'two' };

/** As much of a transaction as is looked at. */
interface Transaction {
  incarnation: string;
  timeline: number;
  attempts: readonly Buffer[];
  readonly on: { readonly incarnation: string; readonly timeline: number };
  onJudged: ((fate: CommittedFate) => void) | null;
}

function transactionOn(incarnation: string, timeline = 1): Transaction {
  return { incarnation, timeline, attempts: [], on: { incarnation, timeline }, onJudged: null };
}

function lab(onAcknowledgeTimeout: 'error' | 'event' = 'error') {
  const told: string[] = [];
  const events: string[] = [];
  const waits = new ReplicationWaits();
  let sequence = 0;
  const gate = new AnswerGate((bytes) => {
    const text = bytes.toString('latin1');
    told.push(bytes[0] === 0x45 ? (/C([0-9A-Z]{5})\0/.exec(text)?.[1] ?? 'error') : text);
    return true;
  });
  const session = {
    id: 1,
    state: { kind: 'online' },
    probe: ONE as unknown,
    cause: null,
    passage: new ErrorPassage(),
    context: {
      coordinator: {
        nextSequence: () => ++sequence,
        awaitReplication: (wait: Parameters<typeof waits.add>[0]) => {
          waits.add(wait);
        },
        forgetReplication: (wait: Parameters<typeof waits.add>[0]) => {
          waits.remove(wait);
        },
      },
      committed: {},
      options: { acknowledgeTimeoutMillis: 1_000, onAcknowledgeTimeout },
      events: { publish: (name: string) => events.push(name) },
    },
    commitRefused: () => undefined,
    resumeReading: () => undefined,
  };
  const hold = new ReplicationHold(session as unknown as HoldingSession, gate);
  return {
    session,
    hold,
    told,
    events,
    waits,
    holdBack: (transaction: Transaction | null, text = 'answer'): PgUnit => {
      const unit = makeUnit(true, 0);
      hold.acknowledged(unit, transaction as unknown as CommittedTransaction | null);
      gate.deliver(hold.placeFor(unit, IDLE, Buffer.from(text)));
      return unit;
    },
    /** A survey that is asked for now. */
    survey: (incarnation: string, position: bigint, reached: bigint | null, asked = ++sequence): void => {
      const at = { timeline: 1, position };
      waits.surveyed({ incarnation, position: at, flushed: null, floor: null, reached }, asked);
    },
  };
}

describe('ReplicationHold', () => {
  beforeEach(() => {
    vi.useFakeTimers();
    return () => vi.useRealTimers();
  });

  it('gives the answer when a standby has replayed what the primary had written by then', () => {
    const { holdBack, survey, told, waits } = lab();
    survey('one', 100n, 100n);
    holdBack(transactionOn('one'));
    survey('one', 200n, 150n);
    survey('one', 300n, 199n);
    expect(told).toEqual([]);
    survey('one', 400n, 200n);
    expect(told).toEqual(['answer']);
    expect(waits.size).toBe(0);
  });

  it('does not believe a survey that was asked for before, or of another server', () => {
    const { holdBack, survey, told } = lab();
    holdBack(transactionOn('one'));
    survey('one', 100n, 100n, 0);
    survey('two', 100n, 100n);
    expect(told).toEqual([]);
  });

  it('holds two, each for itself, and answers in order', () => {
    const { holdBack, survey, told } = lab();
    holdBack(transactionOn('one'), 'first');
    survey('one', 100n, null);
    holdBack(transactionOn('one'), 'second');
    survey('one', 200n, 100n);
    expect(told).toEqual(['first']);
    survey('one', 200n, 200n);
    expect(told).toEqual(['first', 'second']);
  });

  it('is on only while something is held', () => {
    const { hold, holdBack } = lab();
    expect(hold.isOn).toBe(false);
    holdBack(transactionOn('one'));
    expect(hold.isOn).toBe(true);
    hold.clear();
    expect(hold.isOn).toBe(false);
    expect(vi.getTimerCount()).toBe(0);
  });

  it.each(['error', 'event'] as const)('behind the time: %s', (how) => {
    const { holdBack, events, told } = lab(how);
    holdBack(transactionOn('one'));
    vi.advanceTimersByTime(999);
    expect(told).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(told).toEqual([how === 'error' ? '08007' : 'answer']);
    expect(events).toEqual(['notReplicated']);
  });

  it('behind the time says that nobody knows if the session is elsewhere by now, also where no server tells who it is', () => {
    for (const transaction of [transactionOn('one'), null]) {
      const { holdBack, events, told, session } = lab('event');
      holdBack(transaction);
      session.probe = TWO;
      vi.advanceTimersByTime(1_000);
      expect(told).toEqual(['08007']);
      expect(events).toEqual([]);
    }
  });

  it('waits for the session if it has no server when the time has passed', () => {
    const { hold, holdBack, told, session, events } = lab();
    holdBack(transactionOn('one'));
    session.state.kind = 'reconnecting';
    vi.advanceTimersByTime(5_000);
    expect(told).toEqual([]);
    session.state.kind = 'online';
    hold.resumed();
    expect(told).toEqual(['08007']);
    expect(events).toEqual(['notReplicated']);
  });

  it('is over if it survived on a standby', () => {
    const { holdBack, told } = lab();
    const transaction = transactionOn('one');
    holdBack(transaction);
    Object.assign(transaction, { incarnation: 'two', timeline: 2 });
    transaction.onJudged!('survived');
    expect(told).toEqual(['answer']);
    expect(transaction.onJudged).toBeNull();
  });

  it('waits on if it survived on the same server, for what that one has written by then', () => {
    const { holdBack, survey, told } = lab();
    const transaction = transactionOn('one');
    holdBack(transaction);
    survey('one', 100n, null);
    transaction.incarnation = 'one again';
    transaction.onJudged!('survived');
    survey('one again', 300n, 100n);
    expect(told).toEqual([]);
    survey('one again', 300n, 300n);
    expect(told).toEqual(['answer']);
  });

  it('is not over if it was run again, and survived on the server where it was', () => {
    const { holdBack, survey, told } = lab();
    const transaction = transactionOn('one');
    holdBack(transaction);
    Object.assign(transaction, { incarnation: 'two', timeline: 2, attempts: [Buffer.alloc(16)] });
    transaction.onJudged!('reapplied');
    transaction.incarnation = 'two again';
    transaction.onJudged!('survived');
    expect(told).toEqual([]);
    survey('two again', 300n, 300n);
    expect(told).toEqual(['answer']);
  });

  it.each([
    ['lost', '40001'],
    ['unknown', '08007'],
    ['only-read', 'answer'],
  ] as const)('%s: %s', (fate, expected) => {
    const { holdBack, told } = lab();
    const transaction = transactionOn('one');
    holdBack(transaction);
    transaction.onJudged!(fate);
    expect(told).toEqual([expected]);
  });

  it.each([
    ['survived on a standby', { incarnation: 'two', timeline: 2 }, ['answer']],
    ['was run again', { incarnation: 'two', timeline: 2, attempts: [Buffer.alloc(16)] }, []],
    ['survived on the same server', { incarnation: 'one again' }, []],
  ])('what was judged before its answer was complete: %s', (_name, change, expected) => {
    const { hold, told, session } = lab();
    const transaction = transactionOn('one');
    const unit = makeUnit(true, 0);
    hold.acknowledged(unit, transaction as unknown as CommittedTransaction);
    expect(hold.awaits(unit)).toBe(true);
    Object.assign(transaction, change);
    session.probe = { incarnation: transaction.incarnation };
    const gate = hold.placeFor(unit, IDLE, Buffer.from('answer'));
    expect(hold.awaits(unit)).toBe(false);
    expect(hold.isOn).toBe(expected.length === 0);
    expect(gate.length).toBe(1);
    expect(told).toEqual([]);
  });

  it('lets go what the application has given up on', () => {
    const { hold, holdBack, told, session } = lab();
    const transaction = transactionOn('one');
    holdBack(transaction);
    hold.withdraw();
    expect(told).toEqual(['08007']);
    expect(transaction.onJudged).toBeNull();
    session.probe = TWO;
    holdBack(transactionOn('one'));
    hold.withdraw();
    expect(told).toEqual(['08007', '08007']);
    // Given up on before it was answered: nobody waits.
    const unit = Object.assign(makeUnit(true, 0), { withdrawn: true });
    hold.acknowledged(unit, null);
    expect(hold.placeFor(unit, IDLE, Buffer.from('answer')).toString()).toBe('answer');
    expect(hold.isOn).toBe(false);
  });
});
