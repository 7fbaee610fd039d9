import type { Transaction } from '../transaction.ts';

/**
 * Adya's dependencies: `ww` the target overwrote what the source had written, `wr` it read that, `rw` it overwrote what
 * the source had read. `lock` is an `rw` whose read was FOR UPDATE: then the source has ended before the target.
 */
export type Dependency = 'ww' | 'wr' | 'rw' | 'lock';

export interface Edge {
  readonly from: number;
  readonly to: number;
  readonly dependency: Dependency;
  readonly key: number;
}

/** Which committed transaction must have come before which. */
export interface DependencyGraph {
  /** A node is the index of a transaction. */
  readonly transactions: readonly Transaction[];
  /** Those that leave each node. */
  readonly edges: readonly (readonly Edge[])[];
}

/**
 * @param transactions - committed ones only
 * @param orders - for each key all of its values in the order in which they were appended
 */
export function dependencyGraph(
  transactions: readonly Transaction[],
  orders: ReadonlyMap<number, readonly number[]>,
): DependencyGraph {
  const writers = new Map<number, number>();
  transactions.forEach(({ observations }, index) => {
    for (const step of observations) if (step.kind === 'append') writers.set(step.value, index);
  });
  const edges: Edge[][] = transactions.map(() => []);
  const add = (
    from: number | undefined,
    to: number | undefined,
    dependency: Dependency,
    key: number,
  ): void => {
    if (from !== undefined && to !== undefined && from !== to)
      edges[from]!.push({ from, to, dependency, key });
  };
  for (const [key, order] of orders) {
    order.forEach((value, position) => {
      if (position > 0) add(writers.get(order[position - 1]!), writers.get(value), 'ww', key);
    });
  }
  transactions.forEach(({ observations }, reader) => {
    const appended = new Set<number>();
    for (const step of observations) {
      if (step.kind === 'append') appended.add(step.key);
      // Behind its own append a transaction reads its own version; the `ww` edge has put it in its place.
      if (step.kind !== 'list-read' || appended.has(step.key)) continue;
      const { key, list, locked } = step;
      if (list.length > 0) add(writers.get(list.at(-1)!), reader, 'wr', key);
      const next = writers.get(orders.get(key)?.[list.length] ?? Number.NaN);
      add(reader, next, 'rw', key);
      if (locked) add(reader, next, 'lock', key);
    }
  });
  return { transactions, edges };
}
