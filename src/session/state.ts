import { afterGivingUp, extendPlan, resolveAgain, afterVerdict, afterWithdrawal } from './loss-plan.ts';
import type { PendingUnit, Doom, LossPlan, Verdict } from './loss-situation.ts';

/**
 * The life of one logical session, as data.
 *
 * `transition` is pure: no sockets, no timers, no clock. Everything that the world must do is returned as an `Effect`;
 * everything that the world has done comes back as a `SessionEvent`. docs/internals/state-machine.md shows the same
 * machine as a diagram.
 */

/** Number of a server connection within its session; grows by one with each replacement. */
export type Epoch = number;

export type SessionState =
  /** No server connection yet; the application waits for its connect. */
  | { readonly kind: 'connecting' }
  /** Statements flow. With a doom the session answers them itself until the application ends its transaction. */
  | { readonly kind: 'online'; readonly epoch: Epoch; readonly doom: Doom | null }
  /** The connection is lost, another one is being looked for (phase 0). */
  | {
      readonly kind: 'reconnecting';
      readonly epoch: Epoch;
      readonly plan: LossPlan;
      readonly doom: Doom | null;
    }
  /** The new connection is there; what became of the COMMIT in flight is being found out (phase 1). */
  | { readonly kind: 'resolving'; readonly epoch: Epoch; readonly plan: LossPlan; readonly unit: number }
  /** The journal is being replayed (phase 2). */
  | { readonly kind: 'replaying'; readonly epoch: Epoch; readonly plan: LossPlan }
  /** Ready; waits until the other sessions of the failover have replayed as well (between phases 2 and 3). */
  | {
      readonly kind: 'waiting';
      readonly epoch: Epoch;
      readonly plan: LossPlan;
      readonly doom: Doom | null;
    }
  /** Terminal. */
  | { readonly kind: 'closed' };

export type SessionEvent =
  | { readonly kind: 'connected'; readonly epoch: Epoch }
  | { readonly kind: 'lost'; readonly epoch: Epoch; readonly plan: LossPlan }
  /** `plan`: made anew with what the new connection told about the statements; null to keep the old one. */
  | { readonly kind: 'reconnected'; readonly epoch: Epoch; readonly plan: LossPlan | null }
  | { readonly kind: 'resolved'; readonly epoch: Epoch; readonly verdict: Verdict }
  | { readonly kind: 'replayed'; readonly epoch: Epoch }
  /** The replay gave other results (R5), or can't be made (R7). */
  | { readonly kind: 'gave-up'; readonly epoch: Epoch; readonly doom: Doom }
  /** `pending`: what the application waits for by now. */
  | { readonly kind: 'released'; readonly epoch: Epoch; readonly pending: readonly PendingUnit[] }
  /** A unit that was run again gave other results than what was already handed over (R5). */
  | { readonly kind: 'diverged'; readonly epoch: Epoch; readonly doom: Doom; readonly open: boolean }
  /** The application gave up on all that is pending (R15). */
  | { readonly kind: 'withdrawn'; readonly pending: readonly PendingUnit[] }
  /** The application has ended its doomed transaction. */
  | { readonly kind: 'doom-ended' }
  /** Recovery is given up: deadline, pinned or unchecked state, a kill aimed at this session. */
  | { readonly kind: 'failed' }
  | { readonly kind: 'close-requested' };

export type Effect =
  /** Find a server, connect and restore the session's state there. */
  | { readonly kind: 'reconnect' }
  | { readonly kind: 'resolve'; readonly unit: number }
  | { readonly kind: 'replay' }
  /** ROLLBACK on the new connection: what was replayed so far is void. */
  | { readonly kind: 'rollback' }
  /** Cut the connection that the replay runs on. */
  | { readonly kind: 'discard-connection' }
  /** Tell the coordinator that this session is ready, and wait for the others. */
  | { readonly kind: 'await-release' }
  /** Let the pending units go as the plan says, then the new ones. */
  | { readonly kind: 'resume'; readonly plan: LossPlan; readonly doom: Doom | null }
  /** Close the server connection and end the application's one as pg does. */
  | { readonly kind: 'close' };

export interface Transition {
  readonly state: SessionState;
  readonly effects: readonly Effect[];
}

export const INITIAL: SessionState = { kind: 'connecting' };

/** The next state and what to do. Throws on an event that can't happen in this state: a defect of the driver. */
export function transition(state: SessionState, event: SessionEvent): Transition {
  if (state.kind === 'closed') return go(state); // Whatever still arrives is late.
  switch (event.kind) {
    case 'connected':
      return state.kind === 'connecting'
        ? go({ kind: 'online', epoch: event.epoch, doom: null })
        : illegal(state, event);
    case 'lost':
      return onLost(state, event.epoch, event.plan);
    case 'reconnected':
      return onReconnected(state, event);
    case 'resolved':
      if (isLate(state, event.epoch)) return go(state);
      if (state.kind !== 'resolving') return illegal(state, event);
      return proceed(afterVerdict(state.plan.situation, state.unit, event.verdict), state.epoch, null);
    case 'replayed':
      if (isLate(state, event.epoch)) return go(state);
      if (state.kind !== 'replaying') return illegal(state, event);
      return await_(state.epoch, state.plan, null);
    case 'gave-up': {
      if (isLate(state, event.epoch)) return go(state);
      if (state.kind !== 'replaying') return illegal(state, event);
      const plan = afterGivingUp(state.plan, event.doom);
      return await_(state.epoch, plan, plan.doom, { kind: 'rollback' });
    }
    case 'released':
      if (isLate(state, event.epoch)) return go(state);
      if (state.kind !== 'waiting') return illegal(state, event);
      return onReleased(state, event.pending);
    case 'diverged':
      if (isLate(state, event.epoch)) return go(state);
      if (state.kind !== 'online') return illegal(state, event);
      return event.open ? go({ ...state, doom: event.doom }, { kind: 'rollback' }) : go(state);
    case 'withdrawn':
      return onWithdrawn(state, event.pending);
    case 'doom-ended':
      return 'doom' in state ? go({ ...state, doom: null }) : illegal(state, event);
    case 'failed':
    case 'close-requested':
      return go({ kind: 'closed' }, { kind: 'close' });
    default:
      return unreachable(event);
  }
}

/** An event of a connection that was already replaced. */
function isLate(state: SessionState, epoch: Epoch): boolean {
  return 'epoch' in state && state.epoch > epoch;
}

function onLost(state: Exclude<SessionState, { kind: 'closed' }>, epoch: Epoch, plan: LossPlan): Transition {
  if (isLate(state, epoch)) return go(state);
  switch (state.kind) {
    case 'connecting':
      return illegal(state, { kind: 'lost', epoch, plan });
    case 'online':
      return go({ kind: 'reconnecting', epoch: epoch + 1, plan, doom: state.doom }, { kind: 'reconnect' });
    case 'reconnecting':
      return go(state); // Told twice.
    // The plan made at the first loss stays, with what was resolved since and holds on any server: nothing was let go in
    // between (R10, R11).
    case 'resolving':
    case 'replaying':
    case 'waiting': {
      const plan = resolveAgain(state.plan);
      const doom = state.kind === 'waiting' && plan === state.plan ? state.doom : null;
      return go({ kind: 'reconnecting', epoch: epoch + 1, plan, doom }, { kind: 'reconnect' });
    }
    default:
      return unreachable(state);
  }
}

function onReconnected(
  state: Exclude<SessionState, { kind: 'closed' }>,
  event: Extract<SessionEvent, { kind: 'reconnected' }>,
): Transition {
  if (isLate(state, event.epoch)) return go(state);
  if (state.kind !== 'reconnecting') return illegal(state, event);
  // What was decided about a transaction that is gone stays: its journal is empty by now. Not so a doom that only the
  // plan made at the loss foresaw: it was made from what had been known before.
  const plan = state.doom === null ? (event.plan ?? state.plan) : state.plan;
  return proceed(plan, event.epoch, state.doom);
}

function onReleased(
  state: Extract<SessionState, { kind: 'waiting' }>,
  pending: readonly PendingUnit[],
): Transition {
  const plan = extendPlan(state.plan, pending);
  const doom = plan.doom ?? state.doom;
  return go({ kind: 'online', epoch: state.epoch, doom }, { kind: 'resume', plan, doom });
}

/** Goes into the phase that the plan asks for next. */
function proceed(plan: LossPlan, epoch: Epoch, doom: Doom | null): Transition {
  if (plan.resolve !== null) {
    return go(
      { kind: 'resolving', epoch, plan, unit: plan.resolve },
      { kind: 'resolve', unit: plan.resolve },
    );
  }
  if (plan.transaction === 'replay') return go({ kind: 'replaying', epoch, plan }, { kind: 'replay' });
  return go({ kind: 'waiting', epoch, plan, doom: plan.doom ?? doom }, { kind: 'await-release' });
}

function await_(epoch: Epoch, plan: LossPlan, doom: Doom | null, ...before: Effect[]): Transition {
  return go({ kind: 'waiting', epoch, plan, doom }, ...before, { kind: 'await-release' });
}

/** While recovering: what waits is never let go (R15). A verdict that was already reached stays. */
function onWithdrawn(
  state: Exclude<SessionState, { kind: 'closed' }>,
  pending: readonly PendingUnit[],
): Transition {
  const withdrawAll = (plan: LossPlan): LossPlan =>
    afterWithdrawal(
      extendPlan(plan, pending),
      pending.map(() => true),
    );
  switch (state.kind) {
    case 'connecting':
    case 'online':
      return go(state); // On the wire it runs to its end, as with pg; a loss later plans without it.
    case 'reconnecting':
      return go({
        ...state,
        plan: withdrawAll(state.plan),
        doom: withdrawAll(state.plan).doom ?? state.doom,
      });
    case 'resolving':
      return go({ ...state, plan: withdrawAll(state.plan) });
    case 'replaying': {
      // Not by ROLLBACK: units of the journal may be on their way behind it, and would commit by themselves. The server
      // rolls back what loses its connection.
      const plan = resolveAgain(withdrawAll(state.plan));
      return go(
        { kind: 'reconnecting', epoch: state.epoch + 1, plan, doom: plan.doom },
        { kind: 'discard-connection' },
        { kind: 'reconnect' },
      );
    }
    case 'waiting': {
      const plan = withdrawAll(state.plan);
      const next = { ...state, plan, doom: plan.doom ?? state.doom };
      return state.plan.transaction === 'replay' ? go(next, { kind: 'rollback' }) : go(next);
    }
    default:
      return unreachable(state);
  }
}

function go(state: SessionState, ...effects: Effect[]): Transition {
  return { state, effects };
}

function illegal(state: SessionState, event: SessionEvent): never {
  throw new Error(`illegal transition: ${event.kind} in ${state.kind}`);
}

function unreachable(value: never): never {
  throw new Error(`unreachable: ${JSON.stringify(value)}`);
}
