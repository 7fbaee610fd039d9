/**
 * Decides what becomes of a session's work when its connection is lost: pure, so that every rule can be tested alone.
 *
 * The decision is made at the moment of loss from what is known then, and changes later only by a verdict on a COMMIT
 * in doubt (`afterVerdict`).
 */

/** What a pending unit does with the transaction that is open when it runs. */
export type Ending =
  /** Nothing. */
  | 'none'
  /** It is one COMMIT (or END), nothing else. */
  | 'commit'
  /** It is one COMMIT AND CHAIN. */
  | 'commit-and-chain'
  /** It is one PREPARE TRANSACTION. */
  | 'prepare'
  /** It is one ROLLBACK (or ABORT) without AND CHAIN. */
  | 'rollback'
  /** A string of several statements, the last of which is its only COMMIT. */
  | 'trailing-commit'
  /** Anything else that may end the transaction: a COMMIT followed by more, or text nobody could read. */
  | 'unclear';

/** What the wire has proved about a unit whose ReadyForQuery has not come. */
export type Proof =
  | 'nothing'
  /** The tag COMMIT or PREPARE TRANSACTION has come. */
  | 'committed'
  /** Its only statement has completed, in a protocol where that comes after the commit. */
  | 'completed'
  /** It got an ERROR: its (implicit) transaction is rolled back. */
  | 'failed';

/** A unit without ReadyForQuery, in the order in which the application gave it. */
export interface PendingUnit {
  /** False only if none of its bytes was ever written to a socket (R1). */
  readonly sent: boolean;
  readonly ending: Ending;
  /** A transaction may be open behind it where none was before, or a new one behind the old one. */
  readonly opens: boolean;
  /** Outside a transaction it may run twice and leave the same behind: a proved read, BEGIN, SET, … (R2). */
  readonly repeatable: boolean;
  readonly proof: Proof;
  /** The application has given up on it (R15). */
  readonly withdrawn: boolean;
}

/** What is known of the xid of the open transaction (R6). */
export type MarkState =
  /** The mark has arrived: the outcome of a COMMIT can be resolved. */
  | 'known'
  /** Proved: the transaction has only read. Whether its COMMIT arrived makes no difference. */
  | 'only-read'
  /** Proved: no xid was assigned, and nothing acts outside the database. Running it again can't double anything. */
  | 'no-xid'
  | 'unknown';

export interface LossSituation {
  /** A transaction of the application is open, as the last ReadyForQuery said. */
  readonly open: boolean;
  /** Why it can't be replayed (R7); null if it can. */
  readonly unreplayable: string | null;
  readonly mark: MarkState;
  readonly pending: readonly PendingUnit[];
}

export type CommitOutcome = 'committed' | 'not-committed' | 'unknown';

/** What the application will get for a pending unit. */
export type Fate =
  /** It was never sent: send it (R1). */
  | 'send'
  /** Run it again; what was already handed over must come again and is skipped (R2, R4). */
  | 'again'
  /** It took effect: say so (R6). */
  | 'finish'
  /** Its error was handed over; only the end of its answer is missing. */
  | 'finish-failed'
  /** A ROLLBACK whose transaction is gone in any case. */
  | 'finish-rollback'
  /** `OutcomeUnknownError` (R3, R6). */
  | 'unknown'
  /** `ResultLostError`: committed, but the result is lost. */
  | 'lost'
  /** The reason why the transaction is gone, and then like any statement of a doomed session. */
  | 'refuse'
  /** The application has given up on it: never send it (R15). */
  | 'withdraw';

export interface LossPlan {
  readonly situation: LossSituation;
  /** 'replay': the journal is replayed before anything else; 'gone': the open transaction is over. */
  readonly transaction: 'none' | 'replay' | 'gone';
  /** Index of the pending unit whose outcome has to be resolved before `fates` are final; null if none (R6). */
  readonly resolve: number | null;
  readonly fates: readonly Fate[];
  /** Why the session is doomed until the application ends its transaction; null if it isn't. */
  readonly doom: Doom | null;
}

export type Doom =
  | { readonly kind: 'not-replayable'; readonly reason: string }
  | { readonly kind: 'diverged'; readonly reason: string }
  | { readonly kind: 'withdrawn' }
  | { readonly kind: 'outcome-unknown' }
  | { readonly kind: 'statement-failed' };

/** The plan for a connection that was lost in this situation. */
export function planLoss(situation: LossSituation): LossPlan {
  return situation.open ? planOpen(situation) : planAutocommit(situation, 0, []);
}

function planOpen(situation: LossSituation): LossPlan {
  const { pending, unreplayable } = situation;
  const ending = pending.findIndex((unit) => unit.sent && unit.ending !== 'none');
  const unit = pending[ending];
  if (unit === undefined) {
    const gaveUp = pending.some((one) => one.withdrawn);
    if (unreplayable !== null) return gone(situation, { kind: 'not-replayable', reason: unreplayable });
    if (gaveUp) return gone(situation, { kind: 'withdrawn' }); // R15
    return replay(situation, null);
  }
  if (unit.ending === 'rollback' && ending === 0) {
    return planAutocommit(situation, 1, ['finish-rollback']);
  }
  if (unit.ending === 'rollback') {
    // Pipelined work in front of a ROLLBACK: it had no effect, but its results are owed.
    return unreplayable === null
      ? replay(situation, ending)
      : gone(situation, { kind: 'not-replayable', reason: unreplayable });
  }
  if (unit.proof === 'failed') {
    // Nothing of it is committed. It must not run again: the COMMIT could succeed this time after the application was
    // told that it failed. A lone COMMIT that fails ends the transaction; in a string nobody knows where it stopped.
    const sole = unit.ending === 'commit' || unit.ending === 'commit-and-chain' || unit.ending === 'prepare';
    const before: Fate[] = pending.slice(0, ending).map(() => 'unknown');
    if (sole) return planAutocommit(situation, ending + 1, [...before, 'finish-failed']);
    const fates: Fate[] = pending.map((_, index) =>
      index < ending ? 'unknown' : index === ending ? 'finish-failed' : 'refuse',
    );
    return { situation, transaction: 'gone', resolve: null, fates, doom: { kind: 'statement-failed' } };
  }
  if (unit.proof === 'committed') return afterVerdict(situation, ending, 'committed');
  if (situation.mark === 'only-read' && unit.ending === 'commit' && ending === 0) {
    return planAutocommit(situation, 1, ['finish']);
  }
  if (situation.mark === 'no-xid') return afterVerdict(situation, ending, 'not-committed');
  if (situation.mark !== 'known') return afterVerdict(situation, ending, 'unknown');
  return { situation, transaction: 'none', resolve: ending, fates: pending.map(() => 'unknown'), doom: null };
}

/** The plan once the outcome of the COMMIT in doubt is known (R6). `unit` is its index among the pending ones. */
export function afterVerdict(situation: LossSituation, unit: number, outcome: CommitOutcome): LossPlan {
  const { pending, unreplayable } = situation;
  const commit = pending[unit];
  if (commit === undefined) throw new RangeError(`no pending unit ${unit}`);
  const before: Fate[] = [];
  switch (outcome) {
    case 'not-committed':
      if (commit.withdrawn) return gone(situation, { kind: 'withdrawn' }); // R15: not sent again.
      if (unreplayable !== null) return gone(situation, { kind: 'not-replayable', reason: unreplayable });
      return replay(situation, unit);
    case 'committed':
      for (let i = 0; i < unit; i++) before.push('lost');
      switch (commit.ending) {
        case 'commit':
        case 'prepare':
          return planAutocommit(situation, unit + 1, [...before, 'finish']);
        case 'commit-and-chain':
        case 'trailing-commit':
          return planAutocommit(situation, unit + 1, [...before, 'lost']);
        case 'none':
        case 'rollback':
        case 'unclear':
          // What stands behind the COMMIT in the same string may or may not have run.
          return undecided(situation, unit, before);
        default:
          return unreachable(commit.ending);
      }
    case 'unknown':
      for (let i = 0; i < unit; i++) before.push('unknown');
      return undecided(situation, unit, before);
    default:
      return unreachable(outcome);
  }
}

/** The replay gave other results, or can't be made: the transaction is gone and the session doomed (R5, R7). */
export function afterGivingUp(plan: LossPlan, doom: Doom): LossPlan {
  return gone(plan.situation, doom);
}

/**
 * The application has given up on pending units while the session recovers (R15): what was not sent never is, and an
 * open transaction is not brought back. Whatever was decided about outcomes stays.
 */
export function afterWithdrawal(plan: LossPlan, withdrawn: readonly boolean[]): LossPlan {
  const pending = plan.situation.pending.map((unit, i) =>
    withdrawn[i] === true ? { ...unit, withdrawn: true } : unit,
  );
  const situation: LossSituation = { ...plan.situation, pending };
  if (plan.transaction === 'replay') return gone(situation, { kind: 'withdrawn' });
  if (plan.resolve !== null) return { ...plan, situation };
  let doom = plan.doom;
  const fates = plan.fates.map((fate, i): Fate => {
    const unit = pending[i];
    if (unit?.withdrawn !== true || (fate !== 'send' && fate !== 'again'))
      return doom === null ? fate : refused(fate);
    // Had it opened a transaction, what stands behind it must not run in autocommit.
    if (unit.opens) doom ??= { kind: 'withdrawn' };
    return 'withdraw';
  });
  return { ...plan, situation, fates, doom };
}

function refused(fate: Fate): Fate {
  return fate === 'send' || fate === 'again' ? 'refuse' : fate;
}

function undecided(situation: LossSituation, unit: number, before: readonly Fate[]): LossPlan {
  const commit = situation.pending[unit];
  if (commit?.opens === true && commit.ending === 'unclear') {
    // The application believes that a transaction is open behind it: what follows must not run in autocommit.
    const fates = situation.pending.map((_, i): Fate =>
      i < unit ? before[i]! : i === unit ? 'unknown' : 'refuse',
    );
    return { situation, transaction: 'gone', resolve: null, fates, doom: { kind: 'outcome-unknown' } };
  }
  return planAutocommit(situation, unit + 1, [...before, 'unknown']);
}

/**
 * The journal is replayed and what is pending goes on. What was pipelined behind the unit that ends the transaction ran,
 * if it ran, outside of it.
 */
function replay(situation: LossSituation, ending: number | null): LossPlan {
  const last = ending ?? situation.pending.length - 1;
  const inside = situation.pending.slice(0, last + 1).map((unit): Fate => (unit.sent ? 'again' : 'send'));
  return { ...planAutocommit(situation, last + 1, inside), transaction: 'replay' };
}

/**
 * The open transaction is gone. The first pending unit gets the reason; the rest is refused like it, up to what ends
 * the transaction (the session answers those itself, see `Doom`).
 */
function gone(situation: LossSituation, doom: Doom): LossPlan {
  return {
    situation,
    transaction: 'gone',
    resolve: null,
    fates: situation.pending.map(() => 'refuse'),
    doom,
  };
}

/** Plans the pending units from `first` on, with no transaction of the application open in front of them. */
function planAutocommit(situation: LossSituation, first: number, decided: readonly Fate[]): LossPlan {
  const { pending } = situation;
  const fates: Fate[] = [...decided];
  const transaction = situation.open ? 'gone' : 'none';
  let inside = false;
  for (let i = first; i < pending.length; i++) {
    const unit = pending[i]!;
    if (unit.withdrawn) {
      fates.push(unit.sent ? 'unknown' : 'withdraw');
      if (inside || unit.opens) return doomedFrom(situation, fates, { kind: 'withdrawn' }, transaction);
    } else if (!unit.sent) {
      fates.push('send');
    } else if (inside) {
      fates.push('again'); // No COMMIT behind it was sent, see below: nothing of it can have lasted.
      if (unit.ending === 'rollback') inside = false;
    } else if (unit.opens && endsLater(pending, i)) {
      // A whole transaction was pipelined with its COMMIT, before its mark could come back.
      return withoutMark(situation, i, fates, transaction);
    } else if (unit.repeatable && unit.ending === 'none') {
      fates.push('again');
      inside = unit.opens;
    } else if (unit.proof === 'failed') {
      fates.push('finish-failed');
    } else if (unit.proof === 'completed') {
      fates.push('finish');
    } else {
      fates.push('unknown');
      if (unit.opens) return doomedFrom(situation, fates, { kind: 'outcome-unknown' }, transaction);
    }
  }
  return { situation, transaction, resolve: null, fates, doom: null };
}

/** From `first` on transactions were pipelined with their COMMITs: whatever was sent is unknown. */
function withoutMark(
  situation: LossSituation,
  first: number,
  decided: readonly Fate[],
  transaction: LossPlan['transaction'],
): LossPlan {
  const { pending } = situation;
  let believedOpen = false;
  const fates: Fate[] = [...decided];
  for (const unit of pending.slice(first)) {
    if (unit.sent) {
      if (unit.ending !== 'none') believedOpen = false;
      if (unit.opens) believedOpen = true;
      fates.push('unknown');
    } else {
      fates.push(unit.withdrawn ? 'withdraw' : believedOpen ? 'refuse' : 'send');
    }
  }
  return { situation, transaction, resolve: null, fates, doom: believedOpen ? { kind: 'outcome-unknown' } : null };
}

/** The application may believe that a transaction is open: what is behind must never run in autocommit. */
function doomedFrom(
  situation: LossSituation,
  decided: readonly Fate[],
  doom: Doom,
  transaction: LossPlan['transaction'],
): LossPlan {
  const fates = situation.pending.map((_, i): Fate => decided[i] ?? 'refuse');
  return { situation, transaction, resolve: null, fates, doom };
}

function endsLater(pending: readonly PendingUnit[], opener: number): boolean {
  return pending.some(
    (unit, i) => i >= opener && unit.sent && unit.ending !== 'none' && unit.ending !== 'rollback',
  );
}

function unreachable(value: never): never {
  throw new Error(`unreachable: ${JSON.stringify(value)}`);
}
