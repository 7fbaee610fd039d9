/**
 * What the driver knows about the state of a session apart from its data (R8, design review A8).
 *
 * A session is *clean* while every statement since its last full check is known not to touch session state: then the
 * last snapshot still tells the truth. Any other statement makes it *unchecked* until one check, sent while the
 * session is idle, has read everything back. Lost while unchecked it is refused: state set inside a function is
 * invisible, and a session restored without it would show one tenant another's rows.
 *
 * Rolling back does not make a session clean again. It undoes settings, but not session-level advisory locks, setseed
 * or LOAD, and nobody saw which of them there were.
 *
 * `Snapshot` is whatever the engine restores a session from; this machine only carries it.
 */
export type SessionCleanliness<Snapshot> =
  /** `snapshot` is the session's state. */
  | (Knowledge<Snapshot> & { readonly kind: 'clean' })
  /** A check is due as soon as the session is idle. */
  | (Knowledge<Snapshot> & { readonly kind: 'unchecked'; readonly doubt: Doubt })
  | (Knowledge<Snapshot> & {
      readonly kind: 'checking';
      readonly doubt: Doubt;
      /** The check under way tells the state as of this many touches. */
      readonly asOf: number;
      /** What came after the check had begun, which its answer can't clear; `null` if nothing did. */
      readonly later: Doubt | null;
    });

interface Knowledge<Snapshot> {
  /** The state as last read from the server. */
  readonly snapshot: Snapshot;
  /** How often something may have touched the session state; only grows, so that it names a moment. */
  readonly touches: number;
  readonly transactionOpen: boolean;
}

/** Why a snapshot may be out of date. */
export interface Doubt {
  /** What the first unproved statement was, in words for the user. */
  readonly reason: string;
  /** Why the last check failed; `null` if none has. */
  readonly checkFailure: string | null;
  /** True if all that is in doubt came inside the open transaction: the snapshot was true when it began. */
  readonly sinceTransaction: boolean;
}

export type CleanlinessEvent<Snapshot> =
  /**
   * A statement that is not known to leave session state alone was written to the server, or has ended: to be told of
   * both, since a check in between may or may not have seen what it did.
   */
  | { readonly kind: 'touched'; readonly reason: string }
  | { readonly kind: 'transaction-began' }
  /** By whatever means: also a rolled-back statement may have left something behind. */
  | { readonly kind: 'transaction-ended' }
  /** A check is written. Only while unchecked and outside a transaction. */
  | { readonly kind: 'check-began' }
  /** `asOf` is that of the state in which the check was written. */
  | { readonly kind: 'check-finished'; readonly asOf: number; readonly snapshot: Snapshot }
  | { readonly kind: 'check-failed'; readonly asOf: number; readonly reason: string }
  /**
   * A new connection has been brought to `snapshot`. An open transaction is lost with the old one: if it is replayed,
   * tell of its beginning and its touches again.
   */
  | { readonly kind: 'restored'; readonly snapshot: Snapshot };

/** What a loss of the connection means for the session's state (R8). */
export type StateAfterLoss<Snapshot> =
  | { readonly kind: 'restore'; readonly snapshot: Snapshot }
  | {
      readonly kind: 'refuse';
      /** In words for the user. */
      readonly reason: string;
      /**
       * With true, `snapshot` was the state when the open transaction began, and only the transaction is in doubt: it
       * may be restored if that transaction is then replayed or known to be rolled back with nothing left behind. If
       * its COMMIT proves to have taken effect (R6), what it set was committed with it and nobody has read it: refuse.
       */
      readonly sinceTransaction: boolean;
      readonly snapshot: Snapshot;
    };

/** A session whose state was just read. */
export function cleanSession<Snapshot>(snapshot: Snapshot): SessionCleanliness<Snapshot> {
  return { kind: 'clean', snapshot, touches: 0, transactionOpen: false };
}

/** Pure. Throws on a check where none may be: it would read the transaction's settings as the session's. */
export function nextCleanliness<Snapshot>(
  state: SessionCleanliness<Snapshot>,
  event: CleanlinessEvent<Snapshot>,
): SessionCleanliness<Snapshot> {
  switch (event.kind) {
    case 'touched':
      return afterTouch(state, event.reason);
    case 'transaction-began':
      return withTransaction(state, true);
    case 'transaction-ended':
      return afterTransaction(withTransaction(state, false));
    case 'check-began':
      if (state.kind !== 'unchecked' || state.transactionOpen) {
        throw new Error(
          `illegal event: check-began, ${state.kind}, transaction open: ${state.transactionOpen}`,
        );
      }
      return { ...state, kind: 'checking', asOf: state.touches, later: null };
    case 'check-finished':
      // An answer that is not awaited any more, for instance from before a loss, is news of another session (R12).
      if (state.kind !== 'checking' || state.asOf !== event.asOf) return state;
      return afterCheck(state, event.snapshot, state.later);
    case 'check-failed':
      if (state.kind !== 'checking' || state.asOf !== event.asOf) return state;
      return afterCheck(state, state.snapshot, { ...state.doubt, checkFailure: event.reason });
    case 'restored':
      return { kind: 'clean', snapshot: event.snapshot, touches: state.touches, transactionOpen: false };
  }
}

/** What to do about the session's state if its connection is lost now. */
export function stateAfterLoss<Snapshot>(state: SessionCleanliness<Snapshot>): StateAfterLoss<Snapshot> {
  const { snapshot } = state;
  if (state.kind === 'clean') return { kind: 'restore', snapshot };
  const { reason, checkFailure, sinceTransaction } = state.doubt;
  const why = checkFailure === null ? 'had not been read back' : `could not be read back: ${checkFailure}`;
  return {
    kind: 'refuse',
    reason: `session state unknown: ${reason} may have changed it, and it ${why}`,
    sinceTransaction,
    snapshot,
  };
}

/** Written out for the common case, since it happens twice in each transaction. */
function withTransaction<Snapshot>(
  state: SessionCleanliness<Snapshot>,
  transactionOpen: boolean,
): SessionCleanliness<Snapshot> {
  if (state.kind !== 'clean') return { ...state, transactionOpen };
  return { kind: 'clean', snapshot: state.snapshot, touches: state.touches, transactionOpen };
}

function afterTouch<Snapshot>(
  state: SessionCleanliness<Snapshot>,
  reason: string,
): SessionCleanliness<Snapshot> {
  const touches = state.touches + 1;
  const doubt: Doubt = { reason, checkFailure: null, sinceTransaction: state.transactionOpen };
  switch (state.kind) {
    case 'clean':
      return { ...state, kind: 'unchecked', touches, doubt };
    case 'unchecked':
      return { ...state, touches };
    case 'checking':
      return { ...state, touches, later: state.later ?? doubt };
  }
}

/** From now on the doubt is older than any transaction that is open. */
function afterTransaction<Snapshot>(state: SessionCleanliness<Snapshot>): SessionCleanliness<Snapshot> {
  switch (state.kind) {
    case 'clean':
      return state;
    case 'unchecked':
      return { ...state, doubt: { ...state.doubt, sinceTransaction: false } };
    case 'checking':
      return { ...state, later: state.later === null ? null : { ...state.later, sinceTransaction: false } };
  }
}

function afterCheck<Snapshot>(
  { touches, transactionOpen }: Knowledge<Snapshot>,
  snapshot: Snapshot,
  doubt: Doubt | null,
): SessionCleanliness<Snapshot> {
  if (doubt === null) return { kind: 'clean', snapshot, touches, transactionOpen };
  return { kind: 'unchecked', snapshot, touches, transactionOpen, doubt };
}
