/** What a worker was told of one piece of work. */
export type Outcome =
  | 'acknowledged'
  /** Committed, but the result is lost. */
  | 'result-lost'
  /** It has no effect. */
  | 'failed'
  | 'rolled-back'
  /** Nobody can say. */
  | 'unknown';

export interface Work {
  /** Written once by each piece of work that commits. */
  readonly id: string;
  /** Money moved; null for a note of its own. */
  readonly transfer: { readonly from: number; readonly to: number; readonly amount: number } | null;
  /** A batch with a transaction of its own: no token can be put into it, so that its fate may stay open (docs). */
  readonly hasNoToken: boolean;
  /** In what form it was sent; for people. */
  readonly form: string;
  outcome: Outcome;
  error: string | null;
}

export interface FinalState {
  readonly balances: readonly number[];
  /** Ids in the tables, as often as they are there. */
  readonly ids: readonly string[];
  readonly transfers: readonly {
    readonly id: string;
    readonly from: number;
    readonly to: number;
    readonly amount: number;
  }[];
}

export interface Verdict {
  readonly violations: readonly string[];
  readonly lost: number;
  readonly duplicated: number;
  readonly unknown: number;
}

/** Holds what the workers were told against what is there in the end. Pure. */
export function judge(
  work: readonly Work[],
  state: FinalState,
  reportedLost: ReadonlySet<string>,
  openingBalance: number,
): Verdict {
  const violations: string[] = [];
  const counts = new Map<string, number>();
  for (const id of state.ids) counts.set(id, (counts.get(id) ?? 0) + 1);
  const duplicated = [...counts].filter(([, count]) => count > 1);
  for (const [id, count] of duplicated) violations.push(`${id} took effect ${count} times`);
  let lost = 0;
  for (const { id, outcome, error, hasNoToken, form } of work) {
    const isThere = counts.has(id);
    switch (outcome) {
      case 'acknowledged':
      case 'result-lost':
        if (isThere && reportedLost.has(id)) violations.push(`${id} was reported as lost, and is there`);
        if (!isThere && !reportedLost.has(id) && !hasNoToken)
          violations.push(`${id} (${form}) was ${outcome}, and is not there`);
        if (!isThere && !hasNoToken) lost++;
        break;
      case 'failed':
      case 'rolled-back':
        if (isThere) violations.push(`${id} ${outcome} (${error ?? ''}), and is there`);
        break;
      case 'unknown':
        break;
    }
  }
  const known = new Set(work.map(({ id }) => id));
  for (const id of counts.keys()) if (!known.has(id)) violations.push(`${id} is there, and nobody wrote it`);
  const expected = state.balances.map(() => openingBalance);
  for (const { from, to, amount } of state.transfers) {
    expected[from]! -= amount;
    expected[to]! += amount;
  }
  state.balances.forEach((balance, i) => {
    if (balance !== expected[i]) violations.push(`account ${i} has ${balance} instead of ${expected[i]}`);
  });
  return {
    violations,
    lost,
    duplicated: duplicated.length,
    unknown: work.filter(({ outcome, hasNoToken }) => outcome === 'unknown' && !hasNoToken).length,
  };
}
