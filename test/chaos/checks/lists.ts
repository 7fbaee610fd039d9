import type { LossWindow, Transaction, Violation } from '../transaction.ts';
import type { Cycle } from './cycles.ts';
import { findCycles } from './cycles.ts';
import { dependencyGraph } from './dependency-graph.ts';
import type { Lists } from './list-reads.ts';
import { checkListReads, equal } from './list-reads.ts';
import { checkStaleReads } from './stale-reads.ts';

export interface ListFindings {
  readonly violations: readonly Violation[];
  readonly cycles: number;
}

/**
 * Checks the list-append history in the manner of Elle: each value is appended once, so that a list that was read tells
 * which transactions it rests on, and the final lists tell their order.
 *
 * @param losses - when asynchronous replication may have lost what was acknowledged. Whoever had seen that lived on a
 *   branch of its own, which is checked by itself; nobody may have lived on both.
 */
export function checkLists(
  history: readonly Transaction[],
  finalLists: Lists,
  losses: readonly LossWindow[] = [],
): ListFindings {
  const transactions = history.filter(({ observations }) =>
    observations.some(({ kind }) => kind === 'append' || kind === 'list-read'),
  );
  const surviving = new Set([...finalLists.values()].flat());
  const violations: Violation[] = [];
  const committed = new Set<Transaction>();
  const lost = new Set<Transaction>();
  for (const transaction of transactions) {
    const own = ownValues(transaction);
    const isThere = own.some((value) => surviving.has(value));
    if (transaction.status !== 'ok' && !isThere) continue;
    const readLost = lostRead(transaction, surviving);
    if (readLost === undefined && (isThere || own.length === 0)) committed.add(transaction);
    else if (isThere || !mayBeLost(transaction, losses)) {
      // Without a loss that excuses it, it is held against the final lists with all the others.
      committed.add(transaction);
      if (isThere && readLost !== undefined && losses.length > 0)
        violations.push({
          rule: 'rests on what was lost',
          text: `${transaction.marker} is there, but had read ${readLost}, which is lost`,
        });
    } else lost.add(transaction);
  }
  violations.push(
    ...checkOrders(committed, finalLists),
    ...checkListReads(transactions, committed),
    ...checkStaleReads(committed, finalLists),
  );
  let cycles = reportCycles([...committed], finalLists, violations);
  for (const branch of lostBranches(committed, lost, losses)) {
    const lists = longestReads(branch);
    violations.push(...checkOrders(branch, lists));
    cycles += reportCycles([...branch], lists, violations);
  }
  return { violations, cycles };
}

function ownValues({ observations }: Transaction): number[] {
  return observations.flatMap((step) => (step.kind === 'append' ? [step.value] : []));
}

/** A value that it has read and that is not there any more. */
function lostRead({ observations }: Transaction, surviving: ReadonlySet<number>): number | undefined {
  const own = new Set(observations.flatMap((step) => (step.kind === 'append' ? [step.value] : [])));
  for (const step of observations) {
    if (step.kind !== 'list-read') continue;
    const lost = step.list.find((value) => !surviving.has(value) && !own.has(value));
    if (lost !== undefined) return lost;
  }
  return undefined;
}

/**
 * It may have been on the branch that was lost: the old server acknowledged it; or it has only read, and sent its COMMIT
 * while that server lived, which then makes no difference.
 */
export function mayBeLost(transaction: Transaction, losses: readonly LossWindow[]): boolean {
  const { effects, endSentAt, endedAt } = transaction;
  const latest = effects.length === 0 ? (endSentAt ?? endedAt) : endedAt;
  return losses.some(({ begunAt, overAt }) => begunAt <= endedAt && latest <= overAt);
}

/** Whatever was read of a list must be its beginning. */
function checkOrders(committed: Iterable<Transaction>, lists: Lists): Violation[] {
  const violations: Violation[] = [];
  for (const { marker, isolation, observations } of committed) {
    for (const step of observations) {
      if (step.kind !== 'list-read') continue;
      const order = lists.get(step.key) ?? [];
      if (equal(order.slice(0, step.list.length), step.list)) continue;
      violations.push({
        rule: 'incompatible order',
        text: `${marker} (${isolation}) read [${step.list.join()}] from list ${step.key}, which is [${order.join()}]`,
      });
    }
  }
  return violations;
}

function reportCycles(transactions: readonly Transaction[], lists: Lists, violations: Violation[]): number {
  const cycles = findCycles(dependencyGraph(transactions, lists));
  for (const cycle of cycles) violations.push({ rule: cycle.anomaly, text: describe(cycle, transactions) });
  return cycles.length;
}

function describe({ edges }: Cycle, transactions: readonly Transaction[]): string {
  const name = (node: number): string => `${transactions[node]!.marker} (${transactions[node]!.isolation})`;
  const steps = edges.map(({ from, dependency, key }) => `${name(from)} -${dependency} list ${key}->`);
  return [...steps, name(edges[0]!.from)].join(' ');
}

/**
 * For each loss those who lived before it, and those who were lost with it. Of what came to its end while the loss was
 * under way nobody can say on which branch it was.
 */
function lostBranches(
  committed: ReadonlySet<Transaction>,
  lost: ReadonlySet<Transaction>,
  losses: readonly LossWindow[],
): Set<Transaction>[] {
  return losses.flatMap((loss) => {
    const gone = [...lost].filter((transaction) => mayBeLost(transaction, [loss]));
    if (gone.length === 0) return [];
    const before = [...committed].filter(({ endedAt }) => endedAt < loss.begunAt);
    return [new Set([...before, ...gone])];
  });
}

function longestReads(transactions: Iterable<Transaction>): Map<number, readonly number[]> {
  const longest = new Map<number, readonly number[]>();
  for (const { observations } of transactions) {
    for (const step of observations) {
      if (step.kind === 'list-read' && step.list.length > (longest.get(step.key)?.length ?? 0))
        longest.set(step.key, step.list);
    }
  }
  return longest;
}
