import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  cleanSession,
  nextCleanliness,
  stateAfterLoss,
  type CleanlinessEvent,
  type SessionCleanliness,
} from '../../../src/session/session-cleanliness.ts';

type Event = CleanlinessEvent<string>;
const TOUCH: Event = { kind: 'touched', reason: 'the function login' };
const BEGIN: Event = { kind: 'transaction-began' };
const END: Event = { kind: 'transaction-ended' };
const CHECK: Event = { kind: 'check-began' };

function after(...events: readonly Event[]): SessionCleanliness<string> {
  return events.reduce<SessionCleanliness<string>>(nextCleanliness, cleanSession('s0'));
}

function finished(asOf: number, snapshot: string): Event {
  return { kind: 'check-finished', asOf, snapshot };
}

describe('a session lost while clean', () => {
  it('is restored to its last snapshot', () => {
    expect(stateAfterLoss(after())).toEqual({ kind: 'restore', snapshot: 's0' });
    expect(stateAfterLoss(after(BEGIN))).toEqual({ kind: 'restore', snapshot: 's0' });
    expect(stateAfterLoss(after(TOUCH, CHECK, finished(1, 's1')))).toEqual({
      kind: 'restore',
      snapshot: 's1',
    });
  });
});

describe('a session lost while unchecked', () => {
  it('is refused with the first reason', () => {
    const state = after(TOUCH, { kind: 'touched', reason: 'DO' });
    expect(stateAfterLoss(state)).toMatchObject({
      kind: 'refuse',
      reason: expect.stringMatching(/unknown: the function login may have/),
    });
  });

  it('is refused while the check is under way', () => {
    expect(stateAfterLoss(after(TOUCH, CHECK))).toMatchObject({ kind: 'refuse' });
  });

  it('is refused after a rolled-back transaction: advisory locks outlive it', () => {
    expect(stateAfterLoss(after(BEGIN, TOUCH, END))).toMatchObject({
      kind: 'refuse',
      sinceTransaction: false,
    });
  });

  it('is refused after a failed check, which is said', () => {
    const state = after(TOUCH, CHECK, { kind: 'check-failed', asOf: 1, reason: '57014' });
    expect(state.kind).toBe('unchecked');
    expect(stateAfterLoss(state)).toMatchObject({ kind: 'refuse', reason: expect.stringContaining('57014') });
    expect(nextCleanliness(state, CHECK).kind).toBe('checking');
  });

  it('says whether the snapshot held when the open transaction began', () => {
    expect(stateAfterLoss(after(BEGIN, TOUCH))).toMatchObject({ sinceTransaction: true, snapshot: 's0' });
    expect(stateAfterLoss(after(TOUCH, BEGIN, TOUCH))).toMatchObject({ sinceTransaction: false });
    expect(stateAfterLoss(after(BEGIN, TOUCH, END, BEGIN, TOUCH))).toMatchObject({ sinceTransaction: false });
  });
});

describe('a check', () => {
  it('does not clear a statement that was sent after it', () => {
    const state = after(TOUCH, CHECK, { kind: 'touched', reason: 'CALL' }, finished(1, 's1'));
    expect(state).toMatchObject({ kind: 'unchecked', snapshot: 's1', doubt: { reason: 'CALL' } });
  });

  it('does not clear a statement that ended after it had begun', () => {
    expect(after(TOUCH, CHECK, TOUCH, finished(1, 's1')).kind).toBe('unchecked');
    expect(after(TOUCH, TOUCH, CHECK, finished(2, 's1')).kind).toBe('clean');
  });

  it('knows that what it could not clear came inside the open transaction', () => {
    const state = after(TOUCH, CHECK, BEGIN, TOUCH, finished(1, 's1'));
    expect(stateAfterLoss(state)).toMatchObject({ kind: 'refuse', sinceTransaction: true, snapshot: 's1' });
    const ended = after(TOUCH, CHECK, BEGIN, TOUCH, END, finished(1, 's1'));
    expect(stateAfterLoss(ended)).toMatchObject({ kind: 'refuse', sinceTransaction: false });
  });

  it('is not believed when it answers late, after another one or for another connection', () => {
    const second = after(TOUCH, CHECK, { kind: 'check-failed', asOf: 1, reason: 'timeout' }, TOUCH, CHECK);
    expect(nextCleanliness(second, finished(1, 'old'))).toBe(second);
    const restored = after(TOUCH, CHECK, { kind: 'restored', snapshot: 's0' });
    expect(nextCleanliness(restored, finished(1, 'old'))).toEqual(restored);
    expect(nextCleanliness(restored, { kind: 'check-failed', asOf: 1, reason: 'lost' })).toEqual(restored);
  });

  it('may begin only if there is something to check, outside of a transaction', () => {
    expect(() => after(CHECK)).toThrow('illegal');
    expect(() => after(TOUCH, CHECK, CHECK)).toThrow('illegal');
    expect(() => after(TOUCH, BEGIN, CHECK)).toThrow('illegal');
  });
});

/** What the client writes. The server takes the writings in order, some time later, and answers in order, later still. */
type Writing = 'safe' | 'setting' | 'lock' | 'begin' | 'commit' | 'rollback' | 'check';
type Step = Writing | 'server' | 'answer';

/** A server with one setting, which a ROLLBACK undoes, and one count of locks, which it does not. */
class Server {
  setting = 0;
  locks = 0;
  #atBegin: { setting: number; state: string } | null = null;
  get state(): string {
    return `${this.setting},${this.locks}`;
  }
  /** The state when the open transaction began. */
  get stateAtBegin(): string {
    return this.#atBegin?.state ?? this.state;
  }
  take(writing: Writing): void {
    if (writing === 'setting') this.setting++;
    if (writing === 'lock') this.locks++;
    if (writing === 'begin') this.#atBegin ??= { setting: this.setting, state: this.state };
    if (writing === 'rollback' && this.#atBegin !== null) this.setting = this.#atBegin.setting;
    if (writing === 'commit' || writing === 'rollback') this.#atBegin = null;
  }
}

describe('whatever statements, transactions and checks follow each other, on the wire at the same time or not', () => {
  const steps = fc.array(
    fc.constantFrom<Step>(
      'safe',
      'setting',
      'lock',
      'begin',
      'commit',
      'rollback',
      'check',
      'server',
      'server',
      'answer',
      'answer',
    ),
    { maxLength: 60 },
  );

  it('restores a snapshot only if it is the state of the session', () => {
    fc.assert(
      fc.property(steps, (list) => {
        const server = new Server();
        let state = cleanSession(server.state);
        const onTheWay: { writing: Writing; asOf: number }[] = [];
        const answered: { writing: Writing; asOf: number; snapshot: string }[] = [];
        const tell = (event: Event): void => {
          state = nextCleanliness(state, event);
        };
        for (const step of list) {
          if (step === 'server') {
            const taken = onTheWay.shift();
            if (taken !== undefined) {
              server.take(taken.writing);
              answered.push({ ...taken, snapshot: server.state });
            }
          } else if (step === 'answer') {
            const answer = answered.shift();
            if (answer?.writing === 'setting' || answer?.writing === 'lock') tell(TOUCH);
            if (answer?.writing === 'begin') tell(BEGIN);
            if (answer?.writing === 'commit' || answer?.writing === 'rollback') tell(END);
            if (answer?.writing === 'check') tell(finished(answer.asOf, answer.snapshot));
          } else if (step === 'check') {
            const idle = onTheWay.length + answered.length === 0;
            if (!idle || state.kind !== 'unchecked' || state.transactionOpen) continue;
            onTheWay.push({ writing: step, asOf: state.touches });
            tell(CHECK);
          } else {
            if (step === 'setting' || step === 'lock') tell(TOUCH);
            onTheWay.push({ writing: step, asOf: 0 });
          }
          const loss = stateAfterLoss(state);
          if (loss.kind === 'restore') expect(loss.snapshot).toBe(server.state);
          const settled = onTheWay.length + answered.length === 0;
          if (loss.kind === 'refuse' && loss.sinceTransaction && settled) {
            expect(loss.snapshot).toBe(server.stateAtBegin);
          }
        }
      }),
      { numRuns: 3_000 },
    );
  });
});
