import type { Transaction, Violation } from '../transaction.ts';

export interface ParentsAndChildren {
  readonly parents: readonly { readonly id: string; readonly marker: string }[];
  readonly children: readonly { readonly parentId: string; readonly marker: string }[];
}

/** The id that the application was given is the id of its row, and a child belongs to the parent of its transaction (A9). */
export function checkGeneratedIds(
  history: readonly Transaction[],
  { parents, children }: ParentsAndChildren,
): Violation[] {
  const violations: Violation[] = [];
  const idOf = new Map(parents.map(({ marker, id }) => [marker, id]));
  for (const { marker, status, observations } of history) {
    if (status !== 'ok' || !idOf.has(marker)) continue;
    for (const step of observations) {
      if (step.kind === 'generated-id' && step.id !== idOf.get(marker))
        violations.push({
          rule: 'generated id',
          text: `${marker} was given ${step.id}, its row has ${idOf.get(marker)!}`,
        });
    }
  }
  for (const { marker, parentId } of children) {
    if (idOf.get(marker) !== parentId)
      violations.push({
        rule: 'child',
        text: `the child of ${marker} belongs to ${parentId}, its parent is ${idOf.get(marker) ?? 'not there'}`,
      });
  }
  return violations;
}
