import type { LossPlan, LossSituation, PendingUnit, Verdict } from '../../../src/session/loss-situation.ts';

/** Pending units as the engine describes them, and what the application must be able to rely on in any plan. */

const PLAIN: PendingUnit = {
  sent: true,
  ending: 'none',
  given: false,
  opens: false,
  repeatable: false,
  actsOutside: null,
  proof: 'nothing',
  canBeResolved: false,
  isAnswered: false,
  verdict: null,
  withdrawn: false,
};

export const write: PendingUnit = PLAIN;
/** `SELECT dblink_exec(…)` */
export const writeElsewhere: PendingUnit = { ...PLAIN, actsOutside: 'dblink' };
export const read: PendingUnit = { ...PLAIN, repeatable: true };
export const begin: PendingUnit = { ...PLAIN, opens: true, repeatable: true };
export const commit: PendingUnit = { ...PLAIN, ending: 'commit' };
export const chain: PendingUnit = { ...PLAIN, ending: 'commit-and-chain', opens: true };
export const rollbackAndChain: PendingUnit = { ...PLAIN, opens: true };
export const prepare: PendingUnit = { ...PLAIN, ending: 'prepare' };
export const rollback: PendingUnit = { ...PLAIN, ending: 'rollback' };
/** `INSERT …; COMMIT` */
export const writeAndCommit: PendingUnit = { ...PLAIN, ending: 'trailing-commit' };
/** `BEGIN; INSERT …; COMMIT` */
export const wholeTransaction: PendingUnit = { ...PLAIN, ending: 'trailing-commit', opens: true };
/** `COMMIT; INSERT …` */
export const commitAndWrite: PendingUnit = { ...PLAIN, ending: 'commit-inside' };
/** `ROLLBACK; INSERT …` */
export const rollbackAndWrite: PendingUnit = { ...PLAIN, ending: 'unclear' };
/** `COMMIT; BEGIN` */
export const commitAndBegin: PendingUnit = { ...PLAIN, ending: 'commit-inside', opens: true };
/** Text that nobody could read. */
export const anything: PendingUnit = { ...PLAIN, ending: 'unclear', opens: true };

export const EVERY_KIND = {
  write, read, begin, commit, chain, rollbackAndChain, prepare, rollback, writeAndCommit, wholeTransaction,
  commitAndWrite, commitAndBegin, rollbackAndWrite, anything, writeElsewhere,
} as const; // prettier-ignore

export function unsent(unit: PendingUnit): PendingUnit {
  return { ...unit, sent: false };
}

export function withdrawn(unit: PendingUnit): PendingUnit {
  return { ...unit, withdrawn: true };
}

export function proved(unit: PendingUnit, proof: PendingUnit['proof']): PendingUnit {
  return { ...unit, proof };
}

export function autocommit(...pending: PendingUnit[]): LossSituation {
  return { open: false, failed: false, unreplayable: null, mark: 'unknown', givenUp: null, pending };
}

export function inTransaction(...pending: PendingUnit[]): LossSituation {
  return { open: true, failed: false, unreplayable: null, mark: 'known', givenUp: null, pending };
}

/** True behind the unit if one was open in front of it, or if it opens one: what the application's text says. */
function opensOrKeeps(unit: PendingUnit, open: boolean): boolean {
  if (unit.ending === 'commit-and-chain') return open; // Without a transaction it is an error.
  if (unit.opens) return unit.ending !== 'trailing-commit';
  return unit.ending === 'none' ? open : false;
}

/**
 * What is wrong with a final plan (one with `resolve` null): a statement that could take effect twice, or in
 * autocommit though the application meant it to be in a transaction. `notCommitted`: the units of which it is
 * known that they left nothing behind.
 */
export function violation(plan: LossPlan, notCommitted: ReadonlySet<number> = new Set()): string | null {
  const { pending, open } = plan.situation;
  if (plan.fates.length !== pending.length) return `${plan.fates.length} fates for ${pending.length} units`;
  let believed = open;
  let serverOpen = plan.transaction === 'replay';
  /** Nothing the lost server did of this transaction can have lasted. */
  let rolledBack = serverOpen;
  let doomed = plan.doom !== null;
  /** An error given to a COMMIT AND CHAIN ends it for what the application does when it was told (A13). */
  let chainFailed = false;
  for (const [i, unit] of pending.entries()) {
    // A doomed session sends nothing.
    const planned = plan.fates[i]!;
    const fate = doomed && (planned === 'send' || planned === 'again') ? 'refuse' : planned;
    const runs = fate === 'send' || fate === 'again';
    const unrepeatable = unit.sent && !unit.repeatable;
    if (fate === 'send' && (unit.sent || unit.withdrawn))
      return `unit ${i} is sent as if it never had been, or was withdrawn`;
    if (fate === 'again' && unit.actsOutside !== null) return `unit ${i} acts outside the database twice`;
    if (fate === 'again' && unit.given && unit.canBeResolved && unrepeatable && !believed)
      return `unit ${i} commits before the rest of its answer can be compared`;
    if (fate === 'undone' && !notCommitted.has(i))
      return `unit ${i} is told as undone, and may have committed`;
    if (fate === 'again' && !unit.sent) return `unit ${i} is run again and never was`;
    if (fate === 'refuse' && unrepeatable && !believed && !open)
      return `unit ${i} is told as rolled back, and may have committed`;
    if (fate === 'withdraw' && unrepeatable) return `unit ${i} is told as never sent, and was`;
    if (runs && believed && !serverOpen && unit.ending !== 'rollback') return `unit ${i} runs in autocommit`;
    if (fate === 'again' && unrepeatable && !rolledBack && !notCommitted.has(i))
      return `unit ${i} may take effect twice`;
    believed = opensOrKeeps(unit, believed);
    // What the server itself refused has opened nothing, with any driver.
    if (fate === 'finish-failed' && (unit.ending === 'none' || unit.ending === 'commit-and-chain'))
      believed = false;
    if (fate === 'refuse' && SOLE_ENDINGS.has(unit.ending)) doomed = false;
    if (runs) {
      if (unit.opens && unit.sent && unit.repeatable) rolledBack = !committedLater(pending, i);
      else if (unit.ending !== 'none') rolledBack = false;
      serverOpen = opensOrKeeps(unit, serverOpen);
    } else if (unit.ending !== 'none') {
      serverOpen = false;
      chainFailed = unit.ending === 'commit-and-chain';
    }
  }
  if (believed && !chainFailed && !serverOpen && !doomed) return 'what comes next runs in autocommit';
  if (!believed && doomed && !mayBeInsideString(plan))
    return 'doomed for ever: the application has no transaction to end';
  return null;
}

/** What ends a doom when it is refused. */
const SOLE_ENDINGS: ReadonlySet<string> = new Set(['commit', 'prepare', 'rollback']);

function committedLater(pending: readonly PendingUnit[], opener: number): boolean {
  const end = pending.findIndex((unit, i) => i >= opener && unit.sent && unit.ending !== 'none');
  return end >= 0 && pending[end]!.ending !== 'rollback';
}

/** After an error in the middle of a string nobody knows whether a transaction is open. */
function mayBeInsideString({ situation: { pending } }: LossPlan): boolean {
  return pending.some(
    ({ ending }) => ending !== 'none' && (!SOLE_ENDINGS.has(ending) || ending === 'commit-and-chain'),
  );
}

/** What is found out by the log position: that something was not committed holds for ever. */
export function found(outcome: Verdict['outcome']): Verdict {
  return { outcome, isFinal: outcome !== 'committed' };
}
