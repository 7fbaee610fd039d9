import { isSnapshotIsolated } from '../transaction.ts';
import type { DependencyGraph, Edge } from './dependency-graph.ts';
import { strongComponents } from './strong-components.ts';

/**
 * Cycles of dependencies that no level allows: `G0` of overwriting alone, `G1c` with reading, `lock` with a row lock that
 * did not hold. Those that snapshots exclude: `G-single` has one anti-dependency, `lost-update` is the same on one list,
 * `G-nonadjacent` has several that do not follow each other. `G2` has two in a row: only SERIALIZABLE excludes it.
 */
export type Anomaly = 'G0' | 'G1c' | 'lock' | 'lost-update' | 'G-single' | 'G-nonadjacent' | 'G2';

export interface Cycle {
  readonly anomaly: Anomaly;
  /** The last one leads back to where the first one begins. */
  readonly edges: readonly Edge[];
}

/**
 * One of the shortest cycles for each knot of transactions that their isolation does not allow.
 *
 * The levels may be mixed. An anti-dependency proves something only if its reader had a snapshot: it ended after that
 * was taken. With `ww` and `wr` edges, which always lead to a later commit, in between, a cycle of these would have to
 * end before it began. Two in a row prove nothing unless all of the cycle are SERIALIZABLE: PostgreSQL looks for
 * dangerous structures among these only.
 */
export function findCycles(graph: DependencyGraph): Cycle[] {
  const { transactions } = graph;
  const hasSnapshot = transactions.map(isSnapshotIsolated);
  const isSerializable = transactions.map(({ isolation }) => isolation === 'SERIALIZABLE');
  const known = new Set<number>();
  const cycles: Cycle[] = [];
  const collect = (found: readonly (readonly Edge[])[]): void => {
    for (const edges of found) {
      if (edges.some(({ from }) => known.has(from))) continue;
      for (const { from } of edges) known.add(from);
      cycles.push({ anomaly: nameOf(edges), edges });
    }
  };
  // From the worst to the mildest: who is in a worse one is not told of again.
  collect(cyclesOf(graph, ({ dependency }) => dependency === 'ww'));
  collect(cyclesOf(graph, ({ dependency }) => dependency === 'ww' || dependency === 'wr'));
  collect(cyclesOf(graph, ({ dependency }) => dependency !== 'rw'));
  collect(
    cyclesOf(
      graph,
      ({ dependency, from }) => dependency !== 'lock' && (dependency !== 'rw' || hasSnapshot[from]!),
      {
        adjacentAllowed: false,
      },
    ),
  );
  collect(
    cyclesOf(
      graph,
      ({ dependency, from, to }) => dependency !== 'lock' && isSerializable[from]! && isSerializable[to]!,
    ),
  );
  return cycles;
}

function nameOf(edges: readonly Edge[]): Anomaly {
  const anti = edges.filter(({ dependency }) => dependency === 'rw').length;
  if (anti === 0) {
    if (edges.some(({ dependency }) => dependency === 'lock')) return 'lock';
    return edges.every(({ dependency }) => dependency === 'ww') ? 'G0' : 'G1c';
  }
  if (anti === 1) {
    const isOneList = edges.every(({ key, dependency }) => key === edges[0]!.key && dependency !== 'wr');
    return isOneList ? 'lost-update' : 'G-single';
  }
  const isAdjacent = edges.some(
    ({ dependency }, index) => dependency === 'rw' && edges.at(index - 1)!.dependency === 'rw',
  );
  return isAdjacent ? 'G2' : 'G-nonadjacent';
}

/** A shortest cycle of each component of the edges that are wanted. */
function cyclesOf(
  { transactions, edges }: DependencyGraph,
  wanted: (edge: Edge) => boolean,
  { adjacentAllowed = true } = {},
): readonly (readonly Edge[])[] {
  // Each transaction is two nodes: the second one is where an anti-dependency ends, and no other may begin.
  const count = transactions.length;
  const isBarred = (node: number, { dependency }: Edge): boolean =>
    !adjacentAllowed && node >= count && dependency === 'rw';
  const nodeBehind = ({ to, dependency }: Edge): number =>
    !adjacentAllowed && dependency === 'rw' ? to + count : to;
  const leaving = (node: number): Edge[] =>
    edges[node % count]!.filter((edge) => wanted(edge) && !isBarred(node, edge));
  const components = strongComponents(2 * count, (node) => leaving(node).map(nodeBehind));
  return components.map((component) => {
    const members = new Set(component);
    const inside = (node: number): Edge[] => leaving(node).filter((edge) => members.has(nodeBehind(edge)));
    let shortest: readonly Edge[] | undefined;
    for (const start of component) {
      const cycle = shortestCycle(start, inside, nodeBehind, shortest?.length ?? Infinity);
      if (cycle !== undefined) shortest = cycle;
      if (shortest?.length === 2) break;
    }
    return shortest!;
  });
}

/** The way back to `start` in less than `limit` steps. */
function shortestCycle(
  start: number,
  leaving: (node: number) => readonly Edge[],
  nodeBehind: (edge: Edge) => number,
  limit: number,
): readonly Edge[] | undefined {
  const reached = new Map<number, { readonly edge: Edge; readonly before: number }>();
  let frontier = [start];
  for (let length = 1; length < limit && frontier.length > 0; length++) {
    const next: number[] = [];
    for (const node of frontier) {
      for (const edge of leaving(node)) {
        const target = nodeBehind(edge);
        if (reached.has(target)) continue;
        reached.set(target, { edge, before: node });
        if (target === start) return wayBack(start, reached);
        next.push(target);
      }
    }
    frontier = next;
  }
  return undefined;
}

function wayBack(
  start: number,
  reached: ReadonlyMap<number, { readonly edge: Edge; readonly before: number }>,
): Edge[] {
  const edges: Edge[] = [];
  let node = start;
  do {
    const { edge, before } = reached.get(node)!;
    edges.unshift(edge);
    node = before;
  } while (node !== start);
  return edges;
}
