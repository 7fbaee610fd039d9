/**
 * Decides what becomes of a session's work when its connection is lost: pure, so that every rule can be tested alone.
 *
 * The decision is made at the moment of loss from what is known then, and changes later only by a verdict on a COMMIT
 * in doubt (`afterVerdict`).
 */
import type {
  PendingUnit,
  LossSituation,
  CommitOutcome,
  Fate,
  LossPlan,
  Doom,
  Mode,
  Verdict,
} from './loss-situation.ts';

/** The plan for a connection that was lost in this situation. */
export function planLoss(situation: LossSituation): LossPlan {
  return situation.open ? planOpen(situation) : walk(situation, 'none', [], 'none');
}

function planOpen(situation: LossSituation): LossPlan {
  const { pending } = situation;
  const ending = pending.findIndex((unit) => unit.sent && unit.ending !== 'none');
  const unit = pending[ending];
  if (unit === undefined) return replay(situation, null);
  if (unit.ending === 'rollback') {
    // Pipelined work in front of a ROLLBACK had no effect, but its results are owed.
    return ending === 0 ? walk(situation, 'none', ['finish-rollback'], 'gone') : replay(situation, ending);
  }
  // What stands in front of it may have begun another transaction, or brought a failed one back to life.
  const isSame = pending.slice(0, ending).every((one) => !one.opens);
  const isFailed = situation.failed && ending === 0;
  if (isFailed && (unit.ending === 'commit' || unit.ending === 'prepare')) {
    return walk(situation, 'none', ['finish-rollback'], 'gone'); // In a failed transaction it is a ROLLBACK.
  }
  const before = pending.slice(0, ending).map((): Fate => 'unknown');
  if (unit.proof === 'failed') {
    // Nothing of it is committed. It must not run again: the COMMIT could succeed this time after the application was
    // told that it failed. A lone COMMIT that fails ends the transaction; in a string nobody knows where it stopped.
    const doomed =
      unit.ending !== 'commit' && unit.ending !== 'commit-and-chain' && unit.ending !== 'prepare';
    const plan = walk(situation, doomed ? 'orphaned' : 'none', [...before, 'finish-failed'], 'gone');
    return doomed ? { ...plan, doom: { kind: 'statement-failed' } } : plan;
  }
  if (unit.proof === 'rolled-back' && isSame && unit.ending !== 'commit-inside')
    return decided(situation, ending, 'not-committed');
  if (unit.proof === 'committed') return decided(situation, ending, 'committed');
  const isLone = unit.ending === 'commit' && ending === 0;
  if (situation.mark === 'only-read' && isLone && situation.unreplayable === null) {
    return walk(situation, 'none', ['finish'], 'gone');
  }
  if (!isSame) return decided(situation, ending, 'unknown');
  // In a failed transaction a COMMIT rolls back, and a string goes on behind it.
  if (isFailed && unit.ending === 'commit-inside') return decided(situation, ending, 'unknown');
  if (unit.verdict !== null) return decided(situation, ending, unit.verdict.outcome);
  if (situation.mark === 'no-xid' || isFailed) return decided(situation, ending, 'not-committed');
  if (situation.mark !== 'known' && !unit.canBeResolved) return decided(situation, ending, 'unknown');
  return toResolve(situation, ending);
}

/** Nothing is decided before it is known what became of this unit. */
function toResolve(situation: LossSituation, unit: number): LossPlan {
  const fates = situation.pending.map((): Fate => 'unknown');
  return { situation, transaction: 'none', resolve: unit, fates, doom: null, behind: 'none' };
}

/** The plan once the outcome of a unit in doubt is known (R3, R6). `unit` is its index among the pending ones. */
export function afterVerdict(situation: LossSituation, unit: number, verdict: Verdict): LossPlan {
  if (situation.pending[unit] === undefined) throw new RangeError(`no pending unit ${unit}`);
  const pending = situation.pending.map((one, i) => (i === unit ? { ...one, verdict } : one));
  return planLoss({ ...situation, pending });
}

/** The plan once the outcome of the COMMIT in doubt is known (R6). `unit` is its index among the pending ones. */
function decided(situation: LossSituation, unit: number, outcome: CommitOutcome): LossPlan {
  const commit = situation.pending[unit]!;
  switch (outcome) {
    case 'not-committed':
      // Of a string with a ROLLBACK this is no news: what stands behind that may have committed by itself.
      // Nor of one whose COMMIT may have been a ROLLBACK because something in front of it had failed.
      if (commit.ending === 'unclear' || (commit.ending === 'commit-inside' && unit > 0)) {
        return decided(situation, unit, 'unknown');
      }
      if (commit.given && (commit.ending === 'trailing-commit' || commit.ending === 'commit-inside')) {
        // R11: its COMMIT would run before its results can be compared.
        const reason = 'part of the result of a string that holds its COMMIT had been given';
        return gone(situation, { kind: 'not-replayable', reason }, unit);
      }
      return replay(situation, unit);
    case 'committed': {
      const before = situation.pending.slice(0, unit).map((): Fate => 'lost');
      switch (commit.ending) {
        case 'commit':
        case 'prepare':
          return walk(situation, 'none', [...before, 'finish'], 'gone');
        case 'commit-and-chain':
          return walkBehind(situation, unit, [...before, 'lost']);
        case 'trailing-commit':
          return walkBehind(situation, unit, [...before, hasItsAnswer(commit) ? 'finish' : 'lost']);
        case 'none':
        case 'rollback':
        case 'commit-inside':
        case 'unclear':
          // What stands behind the COMMIT in the same string may or may not have run.
          return walkBehind(situation, unit, [...before, 'unknown']);
        default:
          return unreachable(commit.ending);
      }
    }
    case 'unknown': {
      const before = situation.pending.slice(0, unit).map((): Fate => 'unknown');
      return walkBehind(situation, unit, [...before, 'unknown']);
    }
    default:
      return unreachable(outcome);
  }
}

/**
 * The server on which units were found committed, or not, is lost as well: what need not hold on the next one is an open
 * question again.
 */
export function resolveAgain(plan: LossPlan): LossPlan {
  const { situation } = plan;
  const isOpenAgain = ({ verdict }: PendingUnit): boolean => verdict !== null && !verdict.isFinal;
  if (!situation.pending.some(isOpenAgain)) return plan;
  const pending = situation.pending.map((unit) => (isOpenAgain(unit) ? { ...unit, verdict: null } : unit));
  return planLoss({ ...situation, pending });
}

/** The replay gave other results, or can't be made: the transaction is gone and the session doomed (R5, R7). */
export function afterGivingUp(plan: LossPlan, doom: Doom): LossPlan {
  const situation: LossSituation = { ...plan.situation, givenUp: doom };
  const ending = situation.pending.findIndex((unit) => unit.sent && unit.ending !== 'none');
  return gone(situation, doom, ending < 0 ? null : ending);
}

/** The application has given more units since the plan was made. `pending`: all of them, the new ones at the end. */
export function extendPlan(plan: LossPlan, pending: readonly PendingUnit[]): LossPlan {
  const known = plan.fates.length;
  if (pending.length <= known) return plan;
  const verdicts = plan.situation.pending;
  const situation: LossSituation = {
    ...plan.situation,
    pending: pending.map((unit, i) => ({ ...unit, verdict: verdicts[i]?.verdict ?? unit.verdict })),
  };
  if (plan.resolve !== null) {
    const fates = pending.map((_, i): Fate => plan.fates[i] ?? 'unknown');
    return { ...plan, situation, fates };
  }
  const extended = walk(situation, plan.behind, plan.fates, plan.transaction);
  return { ...extended, doom: plan.doom ?? extended.doom };
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
  if (plan.resolve !== null) return { ...plan, situation };
  if (plan.transaction === 'replay') {
    const ending = pending.findIndex((unit) => unit.sent && unit.ending !== 'none');
    return gone(situation, { kind: 'withdrawn' }, ending < 0 ? null : ending);
  }
  const first = plan.fates.findIndex(
    (fate, i) => (fate === 'send' || fate === 'again') && pending[i]!.withdrawn,
  );
  if (first < 0) return { ...plan, situation };
  // Planned anew from the transaction on in which it stands: that one will not be begun.
  const start = beginningOf(plan, first);
  const again = walk(situation, 'none', plan.fates.slice(0, start), plan.transaction);
  return { ...again, doom: plan.doom ?? again.doom };
}

/** The pending unit that begins the transaction in which this one would run; itself if it stands alone. */
function beginningOf(plan: LossPlan, unit: number): number {
  const { pending } = plan.situation;
  for (let i = unit; i >= 0; i--) {
    const fate = plan.fates[i];
    if (fate !== 'send' && fate !== 'again') return i + 1;
    if (i < unit && pending[i]!.ending !== 'none' && !pending[i]!.opens) return i + 1;
    if (pending[i]!.opens) return i;
  }
  return 0;
}

/**
 * Plans what stands behind a unit that ended a transaction and gets an error instead of its answer. If it was to open
 * another one, the session is doomed until the application ends that: it may already have written more into it.
 */
function walkBehind(situation: LossSituation, unit: number, known: readonly Fate[]): LossPlan {
  const { ending, opens } = situation.pending[unit]!;
  const isOrphaned = opens && ending !== 'trailing-commit';
  return walk(situation, isOrphaned ? 'orphaned' : 'none', known, 'gone');
}

/**
 * The journal is replayed and what is pending goes on. What was pipelined behind the unit that ends the transaction ran,
 * if it ran, outside of it.
 */
function replay(situation: LossSituation, ending: number | null): LossPlan {
  const { pending } = situation;
  const inside = pending.slice(0, (ending ?? pending.length - 1) + 1);
  if (situation.givenUp !== null) return gone(situation, situation.givenUp, ending);
  const outside = inside.find((unit) => unit.sent && unit.actsOutside !== null)?.actsOutside ?? null; // A7
  const reason = situation.unreplayable ?? outside;
  if (reason !== null) return gone(situation, { kind: 'not-replayable', reason }, ending);
  if (inside.some((unit) => unit.withdrawn)) return gone(situation, { kind: 'withdrawn' }, ending); // R15
  if (ending === null) return walk(situation, 'inside', [], 'replay');
  // Not committed may also mean that the COMMIT failed; then it opened nothing, and what is behind ran by itself.
  const mayHaveRunAlone = pending.slice(ending + 1).some((unit) => unit.sent && !unit.repeatable);
  if (pending[ending]!.opens && mayHaveRunAlone) return decided(situation, ending, 'unknown');
  const fates = inside.map((unit): Fate => (unit.sent ? 'again' : 'send'));
  const plan = walk(situation, pending[ending]!.opens ? 'inside' : 'none', fates, 'replay');
  // A doom counts from the first unit on: there must be no replayed transaction under it.
  return plan.doom === null ? plan : decided(situation, ending, 'unknown');
}

/**
 * The open transaction is gone. The first pending unit gets the reason, and the rest is refused like it, up to what ends
 * the transaction (the session answers those itself, see `Doom`). What stands behind that is planned by itself.
 */
function gone(situation: LossSituation, doom: Doom, ending: number | null): LossPlan {
  const { pending } = situation;
  // What was not sent can end it as well, if it does nothing else: its refusal ends the doom (A13).
  const end = ending ?? pending.findIndex((unit) => !unit.sent && endsAlone(unit));
  if (end < 0) {
    const fates = pending.map((): Fate => 'refuse');
    return { ...walk(situation, 'orphaned', fates, 'gone'), doom };
  }
  const mode = pending[end]!.opens ? 'orphaned' : 'none';
  const fates = pending.slice(0, end + 1).map((): Fate => 'refuse');
  const plan = walk(situation, mode, fates, 'gone');
  if (plan.doom === null || mode === 'orphaned') return { ...plan, doom };
  // A transaction behind it is in doubt: that doom must outlive this one, which the refusal would end.
  const told = pending.slice(0, end + 1).map((unit): Fate => (unit.sent ? 'unknown' : 'withdraw'));
  return walk(situation, mode, told, 'gone');
}

function endsAlone(unit: PendingUnit): boolean {
  return unit.ending === 'commit' || unit.ending === 'prepare' || unit.ending === 'rollback';
}

/** Plans the pending units behind those that are decided. */
function walk(
  situation: LossSituation,
  start: Mode,
  known: readonly Fate[],
  transaction: LossPlan['transaction'],
): LossPlan {
  const { pending } = situation;
  const fates: Fate[] = [...known];
  let mode = start;
  let hasRefused = false;
  let hasFailed = false;
  for (let i = known.length; i < pending.length; i++) {
    const unit = pending[i]!;
    const ends = unit.ending !== 'none' && !unit.opens;
    if (mode === 'orphaned') {
      // What ends the transaction is refused also if it was withdrawn: that answer ends the doom (A13).
      const fate = unit.sent ? 'unknown' : unit.withdrawn && !ends ? 'withdraw' : 'refuse';
      fates.push(fate);
      hasRefused ||= fate === 'refuse';
      if (ends) mode = 'none';
    } else if (mode === 'inside') {
      fates.push(unit.sent ? 'again' : 'send');
      if (ends) mode = 'none';
    } else {
      const fate = fateOutside(pending, i);
      if (fate === 'in-doubt') return toResolve(situation, i);
      fates.push(fate);
      hasRefused ||= fate === 'refuse';
      mode = modeAfter(unit, fate);
      hasFailed ||= fate === 'finish-failed' && mode === 'orphaned';
    }
  }
  let kind: 'withdrawn' | 'statement-failed' | 'outcome-unknown' = hasFailed
    ? 'statement-failed'
    : 'outcome-unknown';
  if (pending.slice(known.length).some((unit) => unit.withdrawn)) kind = 'withdrawn';
  const doom: Doom | null = hasRefused || mode === 'orphaned' ? { kind } : null;
  for (let i = 0; doom !== null && i < fates.length; i++) {
    // A doom counts from the first unit on: nothing may run under it.
    if (fates[i] === 'again') fates[i] = 'unknown';
    // Nor may it end before the transaction that it is for.
    const isTooEarly = mode === 'orphaned' && i >= known.length && endsAlone(pending[i]!);
    if (fates[i] === 'refuse' && isTooEarly) fates[i] = 'withdraw';
  }
  return { situation, transaction, resolve: null, fates, doom, behind: mode };
}

/** Where one stands behind a unit that had no transaction in front of it. */
function modeAfter(unit: PendingUnit, fate: Fate): Mode {
  if (!unit.opens || unit.ending === 'trailing-commit') return 'none';
  if (fate === 'send' || fate === 'again') return 'inside';
  // It failed: a lone one has opened nothing; in a string nobody knows where it stopped.
  if (fate === 'finish-failed' && (unit.ending === 'none' || unit.ending === 'commit-and-chain'))
    return 'none';
  return 'orphaned';
}

/** The fate of a unit in front of which no transaction is open. */
function fateOutside(pending: readonly PendingUnit[], index: number): Fate | 'in-doubt' {
  const unit = pending[index]!;
  const opensOnly = unit.opens && unit.ending === 'none';
  if (opensOnly && !mayBegin(pending, index)) {
    if (unit.sent) return 'unknown';
    return unit.withdrawn ? 'withdraw' : 'refuse';
  }
  if (!unit.sent) return unit.withdrawn ? 'withdraw' : 'send';
  if (unit.withdrawn) return 'unknown';
  if (unit.repeatable && unit.ending === 'none') return 'again';
  if (unit.proof === 'rolled-back') return afterRollBack(unit);
  if (unit.proof === 'failed') return 'finish-failed';
  if (unit.proof === 'completed') return 'finish';
  return unit.canBeResolved ? fateByToken(unit) : 'unknown';
}

/** R3: what becomes of an autocommit write, or of a string that holds its whole transaction. */
function fateByToken(unit: PendingUnit): Fate | 'in-doubt' {
  if (unit.proof === 'committed') return unit.isAnswered ? 'finish' : 'lost';
  switch (unit.verdict?.outcome) {
    case undefined:
      return 'in-doubt';
    case 'committed':
      return hasItsAnswer(unit) ? 'finish' : 'lost';
    case 'not-committed':
      return afterRollBack(unit);
    case 'unknown':
      return 'unknown';
  }
}

/** Its answer has come, and from the attempt that took effect: another one may have drawn other values. */
function hasItsAnswer({ isAnswered, verdict }: PendingUnit): boolean {
  return isAnswered && verdict?.isOfEarlierAttempt !== true;
}

/**
 * It has left nothing behind in this database. What may have acted outside of it is not run again (A7); nor what was
 * given in part: it would commit before the rest can be compared (R11).
 */
function afterRollBack(unit: PendingUnit): Fate {
  if (unit.actsOutside !== null) return 'unknown';
  return unit.given ? 'undone' : 'again';
}

/**
 * False if the transaction that begins here must not be begun again: its COMMIT was pipelined before its mark could come
 * back, the application has given up on one of its statements (R15), or one may have acted outside the database (A7).
 */
function mayBegin(pending: readonly PendingUnit[], beginning: number): boolean {
  for (let i = beginning; i < pending.length; i++) {
    const unit = pending[i]!;
    if (unit.withdrawn || (unit.sent && unit.actsOutside !== null)) return false;
    if (unit.ending === 'none') continue;
    return unit.ending === 'rollback' || !unit.sent;
  }
  return true;
}

function unreachable(value: never): never {
  throw new Error(`unreachable: ${JSON.stringify(value)}`);
}
