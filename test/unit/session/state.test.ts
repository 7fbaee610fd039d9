import { describe, expect, it } from 'vitest';
import { afterVerdict, planLoss } from '../../../src/session/loss-plan.ts';
import type { LossPlan, PendingUnit } from '../../../src/session/loss-situation.ts';
import { INITIAL, transition, type SessionEvent, type SessionState } from '../../../src/session/state.ts';
import {
  autocommit,
  begin,
  chain,
  commit,
  found,
  inTransaction,
  rollback,
  unsent,
  write,
} from './pending-units.ts';

const DOOM = { kind: 'diverged', reason: 'other rows' } as const;

const nothing = planLoss(autocommit());
const replay = planLoss(inTransaction(write));
const inDoubt = planLoss(inTransaction(commit));
const gone = planLoss({ ...inTransaction(write), unreplayable: 'COPY' });

const STATES = {
  connecting: INITIAL,
  online: { kind: 'online', epoch: 5, doom: null },
  doomed: { kind: 'online', epoch: 5, doom: DOOM },
  reconnecting: { kind: 'reconnecting', epoch: 5, plan: replay, doom: null },
  resolving: { kind: 'resolving', epoch: 5, plan: inDoubt, unit: 0 },
  replaying: { kind: 'replaying', epoch: 5, plan: replay },
  waiting: { kind: 'waiting', epoch: 5, plan: replay, doom: null },
  closed: { kind: 'closed' },
} as const satisfies Record<string, SessionState>;

function events(epoch: number) {
  return {
    connected: { kind: 'connected', epoch },
    lost: { kind: 'lost', epoch, plan: replay },
    reconnected: { kind: 'reconnected', epoch, plan: null },
    committed: { kind: 'resolved', epoch, verdict: found('committed') },
    notCommitted: { kind: 'resolved', epoch, verdict: found('not-committed') },
    unknown: { kind: 'resolved', epoch, verdict: found('unknown') },
    replayed: { kind: 'replayed', epoch },
    gaveUp: { kind: 'gave-up', epoch, doom: DOOM },
    released: { kind: 'released', epoch, pending: [write] },
    diverged: { kind: 'diverged', epoch, doom: DOOM, open: true },
    divergedOutside: { kind: 'diverged', epoch, doom: DOOM, open: false },
    withdrawn: { kind: 'withdrawn', pending: [write] },
    doomEnded: { kind: 'doom-ended' },
    failed: { kind: 'failed' },
    closeRequested: { kind: 'close-requested' },
  } as const satisfies Record<string, SessionEvent>;
}

/** The next state with its epoch and doom, then the effects; or that the event is a defect. */
function outcome(state: SessionState, event: SessionEvent): string {
  try {
    const { state: next, effects } = transition(state, event);
    const name = 'doom' in next && next.doom !== null ? `${next.kind}(${next.doom.kind})` : next.kind;
    const epoch = 'epoch' in next ? ` ${next.epoch}` : '';
    return [`${name}${epoch}`, ...effects.map(({ kind }) => kind)].join(', ');
  } catch (error) {
    return (error as Error).message.startsWith('illegal transition') ? 'defect' : String(error);
  }
}

const same = {
  connecting: 'connecting',
  online: 'online 5',
  doomed: 'online(diverged) 5',
  reconnecting: 'reconnecting 5',
  resolving: 'resolving 5',
  replaying: 'replaying 5',
  waiting: 'waiting 5',
} as const;

type StateName = keyof typeof STATES;
type EventName = keyof ReturnType<typeof events>;

/** All that is not listed is a defect; whatever arrives in 'closed' changes nothing. */
const EXPECTED: Readonly<Record<Exclude<StateName, 'closed'>, Partial<Record<EventName, string>>>> = {
  connecting: { connected: 'online 5', withdrawn: same.connecting },
  online: {
    lost: 'reconnecting 6, reconnect',
    diverged: 'online(diverged) 5, rollback',
    divergedOutside: same.online,
    withdrawn: same.online,
    doomEnded: same.online,
  },
  doomed: {
    lost: 'reconnecting(diverged) 6, reconnect',
    diverged: 'online(diverged) 5, rollback',
    divergedOutside: same.doomed,
    withdrawn: same.doomed,
    doomEnded: same.online,
  },
  reconnecting: {
    lost: same.reconnecting,
    reconnected: 'replaying 5, replay',
    withdrawn: 'reconnecting(withdrawn) 5',
    doomEnded: same.reconnecting,
  },
  resolving: {
    lost: 'reconnecting 6, reconnect',
    committed: 'waiting 5, await-release',
    notCommitted: 'replaying 5, replay',
    unknown: 'waiting 5, await-release',
    withdrawn: same.resolving,
  },
  replaying: {
    lost: 'reconnecting 6, reconnect',
    replayed: 'waiting 5, await-release',
    gaveUp: 'waiting(diverged) 5, rollback, await-release',
    // Not by ROLLBACK on the same connection: units of the journal may be on their way behind it.
    withdrawn: 'reconnecting(withdrawn) 6, discard-connection, reconnect',
  },
  waiting: {
    lost: 'reconnecting 6, reconnect',
    released: 'online 5, resume',
    withdrawn: 'waiting(withdrawn) 5, rollback',
    doomEnded: same.waiting,
  },
};

describe('each event in each state', () => {
  for (const [name, state] of Object.entries(STATES) as [StateName, SessionState][]) {
    for (const [event, value] of Object.entries(events(5)) as [EventName, SessionEvent][]) {
      const ends = event === 'failed' || event === 'closeRequested';
      const expected =
        name === 'closed' ? 'closed' : ends ? 'closed, close' : (EXPECTED[name][event] ?? 'defect');
      it(`${event} in ${name}: ${expected}`, () => {
        expect(outcome(state, value)).toBe(expected);
      });
    }
  }
});

describe('an event of a connection that was already replaced', () => {
  const late = Object.entries(events(4)).filter(
    ([, event]) => 'epoch' in event && event.kind !== 'connected',
  );
  for (const [name, state] of Object.entries(STATES) as [StateName, SessionState][]) {
    if (name === 'connecting') continue;
    it(`changes nothing in ${name}`, () => {
      for (const [, event] of late) expect(transition(state, event)).toEqual({ state, effects: [] });
    });
  }
});

describe('the plan made at the first loss', () => {
  const lose = (state: SessionState, epoch: number): SessionState =>
    transition(state, { kind: 'lost', epoch, plan: nothing }).state;

  it('stays when the connection is lost again while it is carried out (R10)', () => {
    for (const name of ['resolving', 'replaying', 'waiting'] as const) {
      expect(lose(STATES[name], 5)).toMatchObject({
        kind: 'reconnecting',
        epoch: 6,
        plan: STATES[name].plan,
      });
    }
  });

  it('is asked for its outcome again after a loss while resolving, and never guessed (R6)', () => {
    const again = transition(lose(STATES.resolving, 5), { kind: 'reconnected', epoch: 6, plan: null });
    expect(again).toMatchObject({
      state: { kind: 'resolving', unit: 0 },
      effects: [{ kind: 'resolve', unit: 0 }],
    });
  });

  it('asks again whether it is committed if that server is lost as well, before anybody was told', () => {
    const { state } = transition(STATES.resolving, {
      kind: 'resolved',
      epoch: 5,
      verdict: found('committed'),
    });
    const again = transition(lose(state, 5), { kind: 'reconnected', epoch: 6, plan: null });
    expect(again).toMatchObject({
      state: { kind: 'resolving', unit: 0 },
      effects: [{ kind: 'resolve', unit: 0 }],
    });
  });

  it('keeps the other verdicts over later losses', () => {
    const unknown = transition(STATES.resolving, {
      kind: 'resolved',
      epoch: 5,
      verdict: found('unknown'),
    }).state;
    const still = transition(lose(unknown, 5), { kind: 'reconnected', epoch: 6, plan: null }).state;
    expect(still).toMatchObject({ kind: 'waiting', plan: { fates: ['unknown'] } });
    const not = transition(STATES.resolving, {
      kind: 'resolved',
      epoch: 5,
      verdict: found('not-committed'),
    }).state;
    expect(not.kind).toBe('replaying');
    expect(transition(lose(not, 5), { kind: 'reconnected', epoch: 6, plan: null }).state.kind).toBe(
      'replaying',
    );
  });

  it('is planned anew with what the new server knows, also where the plan made at the loss foresaw a doom', () => {
    expect(gone.doom).not.toBeNull();
    const lost = { kind: 'reconnecting', epoch: 5, plan: gone, doom: null } as const;
    const { state } = transition(lost, { kind: 'reconnected', epoch: 5, plan: replay });
    expect(state).toMatchObject({ kind: 'replaying', plan: replay });
    const decided = transition({ ...lost, doom: DOOM }, { kind: 'reconnected', epoch: 5, plan: replay });
    expect(decided.state).toMatchObject({ kind: 'waiting', plan: gone });
  });

  it('gives way to one made with what the new server told', () => {
    const { state } = transition(STATES.reconnecting, { kind: 'reconnected', epoch: 5, plan: nothing });
    expect(state).toMatchObject({ kind: 'waiting', plan: nothing });
  });
});

describe('what the application asks for while the session recovers', () => {
  const released = (plan: LossPlan, pending: readonly PendingUnit[]) =>
    transition({ kind: 'waiting', epoch: 1, plan, doom: null }, { kind: 'released', epoch: 1, pending });

  it('is sent', () => {
    expect(released(nothing, [unsent(write)]).effects).toMatchObject([
      { kind: 'resume', plan: { fates: ['send'] } },
    ]);
  });

  it('is refused if it meant a transaction that no server has', () => {
    const plan = afterVerdict(inTransaction(chain), 0, found('committed'));
    const { state, effects } = released(plan, [chain, unsent(write)]);
    expect(effects).toMatchObject([{ kind: 'resume', plan: { fates: ['lost', 'refuse'] } }]);
    expect(state).toMatchObject({ doom: { kind: 'outcome-unknown' } });
  });
});

describe('a second loss behind a doom', () => {
  it('does not plan anew for a journal that is empty by now', () => {
    let state: SessionState = { kind: 'waiting', epoch: 5, plan: gone, doom: gone.doom };
    ({ state } = transition(state, { kind: 'lost', epoch: 5, plan: planLoss(autocommit(write)) }));
    ({ state } = transition(state, { kind: 'reconnected', epoch: 6, plan: planLoss(autocommit(write)) }));
    expect(state).toMatchObject({ kind: 'waiting', plan: { fates: ['refuse'] }, doom: gone.doom });
  });
});

describe('a doom', () => {
  it('lives through any number of losses until the application ends its transaction', () => {
    let state: SessionState = STATES.doomed;
    for (let epoch = 5; epoch < 8; epoch++) {
      ({ state } = transition(state, { kind: 'lost', epoch, plan: nothing }));
      ({ state } = transition(state, { kind: 'reconnected', epoch: epoch + 1, plan: null }));
      ({ state } = transition(state, { kind: 'released', epoch: epoch + 1, pending: [] }));
      expect(state).toEqual({ kind: 'online', epoch: epoch + 1, doom: DOOM });
    }
    expect(transition(state, { kind: 'doom-ended' }).state).toMatchObject({ doom: null });
  });

  it('is told with what is let go', () => {
    const waiting = transition(
      { ...STATES.reconnecting, plan: gone },
      { kind: 'reconnected', epoch: 5, plan: null },
    );
    expect(waiting.effects).toEqual([{ kind: 'await-release' }]);
    const { state, effects } = transition(waiting.state, { kind: 'released', epoch: 5, pending: [write] });
    const doom = { kind: 'not-replayable', reason: 'COPY' };
    expect(state).toMatchObject({ kind: 'online', doom });
    expect(effects).toMatchObject([
      { kind: 'resume', doom, plan: { transaction: 'gone', fates: ['refuse'] } },
    ]);
  });
});

describe('the application gives up (R15)', () => {
  const fatesAfter = (plan: LossPlan, pending = plan.situation.pending): unknown => {
    const { state } = transition(
      { kind: 'waiting', epoch: 1, plan, doom: null },
      { kind: 'withdrawn', pending },
    );
    const { state: online, effects } = transition(state, { kind: 'released', epoch: 1, pending });
    return { ...(effects[0] as { plan: LossPlan }).plan, online };
  };

  it('and what waits between the phases is never sent', () => {
    expect(fatesAfter(planLoss(autocommit(unsent(write))))).toMatchObject({
      fates: ['withdraw'],
      online: { doom: null },
    });
  });

  it('on a BEGIN that waits: what it does next must not run in autocommit', () => {
    expect(fatesAfter(planLoss(autocommit(unsent(begin))))).toMatchObject({
      fates: ['withdraw'],
      online: { doom: { kind: 'withdrawn' } },
    });
  });

  it('on what it asked for after the plan was made', () => {
    expect(fatesAfter(nothing, [unsent(write)])).toMatchObject({
      fates: ['withdraw'],
      online: { doom: null },
    });
    expect(fatesAfter(nothing, [unsent(begin)])).toMatchObject({
      fates: ['withdraw'],
      online: { doom: { kind: 'withdrawn' } },
    });
  });

  it('while the COMMIT is resolved: if it is not committed it is not sent again', () => {
    const { state } = transition(STATES.resolving, { kind: 'withdrawn', pending: [commit] });
    const { state: next } = transition(state, {
      kind: 'resolved',
      epoch: 5,
      verdict: found('not-committed'),
    });
    expect(next).toMatchObject({
      kind: 'waiting',
      doom: { kind: 'withdrawn' },
      plan: { transaction: 'gone' },
    });
  });

  it('while the journal is replayed: neither the rest of it nor a late end of it counts', () => {
    const { state } = transition(STATES.replaying, { kind: 'withdrawn', pending: [write] });
    expect(transition(state, { kind: 'replayed', epoch: 5 })).toEqual({ state, effects: [] });
    expect(transition(state, { kind: 'gave-up', epoch: 5, doom: DOOM })).toEqual({ state, effects: [] });
    const { state: again } = transition(state, { kind: 'reconnected', epoch: 6, plan: null });
    expect(again).toMatchObject({ kind: 'waiting', plan: { transaction: 'gone', fates: ['refuse'] } });
  });

  it('on a ROLLBACK: it is over all the same', () => {
    expect(fatesAfter(planLoss(inTransaction(rollback)))).toMatchObject({ fates: ['finish-rollback'] });
  });
});
