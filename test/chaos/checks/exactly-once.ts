import type { LossReport, LossWindow, Transaction, Violation } from '../transaction.ts';

export interface ExactlyOnceOptions {
  /** When asynchronous replication may have lost what was acknowledged. Default: never. */
  readonly losses?: readonly LossWindow[];
  /** What the driver has reported, in its order; null if it does not report anything. */
  readonly reported?: readonly LossReport[] | null;
  /** With tokens the driver knows of each whether it is lost. Default true. */
  readonly mayBeUnknown?: boolean;
}

export interface ExactlyOnceFindings {
  readonly violations: readonly Violation[];
  /** Acknowledged, and not there. */
  readonly lost: readonly Transaction[];
  /** Effects that are there more than once. */
  readonly duplicated: number;
}

/**
 * Holds the effects of each transaction against those in the database: the acknowledged ones once, the failed ones not at
 * all, the others once or not at all, and none of them in part.
 *
 * @param present - how often each effect is there
 */
export function checkExactlyOnce(
  history: readonly Transaction[],
  present: ReadonlyMap<string, number>,
  { losses = [], reported = null, mayBeUnknown = true }: ExactlyOnceOptions = {},
): ExactlyOnceFindings {
  const violations: Violation[] = [];
  const lost: Transaction[] = [];
  const unclaimed = new Map(present);
  const reports = new Map<string, LossReport['outcome'][]>();
  for (const { marker, outcome } of reported ?? [])
    reports.set(marker, [...(reports.get(marker) ?? []), outcome]);
  let duplicated = 0;
  const times = (effect: string): number => {
    unclaimed.delete(effect);
    return present.get(effect) ?? 0;
  };
  for (const transaction of history) {
    const report = (rule: string, what: string): void => {
      violations.push({ rule, text: `${describe(transaction)} ${what}` });
    };
    const { status, effects, possibleEffects } = transaction;
    const there = effects.filter((effect) => times(effect) > 0);
    const possible = possibleEffects.filter((effect) => times(effect) > 0);
    for (const effect of [...there, ...possible]) {
      if (times(effect) === 1) continue;
      duplicated += times(effect) - 1;
      report('duplicated', `is there ${times(effect)} times: ${effect}`);
    }
    if (there.length > 0 && there.length < effects.length)
      report('torn', `is there in part: ${there.join(', ')} of ${effects.join(', ')}`);
    if (status === 'fail' && there.length + possible.length > 0)
      report('failed one present', `is there: ${[...there, ...possible].join(', ')}`);
    const isLost = status === 'ok' && effects.length > 0 && there.length === 0;
    const outcomes = reports.get(transaction.marker) ?? [];
    const lastOutcome = outcomes.at(-1);
    if (outcomes.includes('unknown') && !mayBeUnknown)
      report('reported as unknown', 'should be known with tokens');
    // What was applied again can be lost again; of anything else the driver has let go.
    if (outcomes.slice(0, -1).some((outcome) => outcome !== 'reapplied'))
      report('reported again', `was reported as ${outcomes.join(', then as ')}`);
    if (isLost) {
      lost.push(transaction);
      if (!isExcused(transaction, losses)) report('lost', `is not there: ${effects.join(', ')}`);
      else if (reported !== null && lastOutcome === undefined)
        report('lost in silence', 'is lost and was not reported');
      else if (lastOutcome === 'reapplied') report('reported as reapplied', 'is not there');
    } else if (lastOutcome === 'lost' && there.length + possible.length > 0) {
      report('reported as lost', 'is there');
    }
    // One that was acknowledged and has no effects may have locked a row: that is a write to the server.
    if (status !== 'ok' && outcomes.some((outcome) => outcome !== 'unknown'))
      report(`reported as ${lastOutcome!}`, 'was not acknowledged');
  }
  for (const effect of unclaimed.keys())
    violations.push({ rule: 'phantom', text: `nobody has written ${effect}` });
  return { violations, lost, duplicated };
}

/** What the driver itself has found to be committed on the next server can be lost only with that one. */
function isExcused({ endedAt, error }: Transaction, losses: readonly LossWindow[]): boolean {
  const servers = error?.outcome === 'committed' ? 2 : 1;
  return losses.some(
    ({ begunAt, overAt, failovers }) => begunAt <= endedAt && endedAt <= overAt && failovers >= servers,
  );
}

export function describe(transaction: Transaction): string {
  const { marker, workload, autocommit, isolation, end, status, endedAt, error } = transaction;
  const kind = autocommit ? 'autocommit' : `${isolation}, ${end ?? 'no end'}`;
  const told = error === null ? status : `${status}: ${error.name} ${error.code ?? ''} ${error.message}`;
  return `${marker} (${workload}, ${kind}, told ${told} at ${endedAt.toFixed(0)})`;
}
