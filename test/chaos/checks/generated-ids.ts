import type { Transaction, Violation } from '../transaction.ts';

export interface ParentsAndChildren {
  readonly parents: readonly {
    readonly id: string;
    readonly marker: string;
    readonly madeAtMillis: number;
  }[];
  readonly children: readonly { readonly parentId: string; readonly marker: string }[];
}

/** The id and the time that the application was given are those of its row, and a child belongs to the parent of its transaction (A9). */
export function checkGeneratedIds(
  history: readonly Transaction[],
  { parents, children }: ParentsAndChildren,
): Violation[] {
  const violations: Violation[] = [];
  const rowOf = new Map(parents.map((row) => [row.marker, row]));
  for (const { marker, status, observations } of history) {
    const row = rowOf.get(marker);
    if (status === 'fail' || row === undefined) continue;
    for (const step of observations) {
      if (step.kind !== 'generated-id') continue;
      const { id, madeAtMillis } = step;
      if (id !== row.id)
        violations.push({ rule: 'generated id', text: `${marker} was given ${id}, its row has ${row.id}` });
      if (madeAtMillis !== null && madeAtMillis !== row.madeAtMillis)
        violations.push({
          rule: 'generated time',
          text: `${marker} was given ${madeAtMillis}, its row has ${row.madeAtMillis}`,
        });
    }
  }
  for (const { marker, parentId } of children) {
    const id = rowOf.get(marker)?.id;
    if (id !== parentId)
      violations.push({
        rule: 'child',
        text: `the child of ${marker} belongs to ${parentId}, its parent is ${id ?? 'not there'}`,
      });
  }
  return violations;
}
