import { calledName, replaceNodes } from './made-values.ts';
import { expressionNode } from './sql-nodes.ts';
import { sequenceNamed } from './sequence-names.ts';
import type { WireParameter } from './wire-statement.ts';

/**
 * Puts the value in the place of each currval of a sequence whose last value in this session was given and not drawn: there
 * currval is undefined (A9). True if there was one.
 */
export function pinCurrval(
  tree: unknown,
  parameters: readonly WireParameter[],
  currentOf: (name: string) => bigint | undefined,
): boolean {
  let isPinned = false;
  replaceNodes(tree, (tag, fields) => {
    if (tag === 'ResTarget' && fields['name'] === undefined) {
      const value = fields['val'] as { FuncCall?: unknown } | undefined;
      const call = value?.FuncCall as Record<string, unknown> | undefined;
      if (call !== undefined && calledName(call) === 'currval') {
        (fields as Record<string, unknown>)['name'] = 'currval';
      }
      return undefined;
    }
    if (tag !== 'FuncCall' || calledName(fields) !== 'currval') return undefined;
    const name = sequenceNamed(fields, parameters);
    const current = name === null ? undefined : currentOf(name);
    if (current === undefined) return undefined;
    isPinned = true;
    return expressionNode(`CAST('${current.toString()}' AS pg_catalog.int8)`);
  });
  return isPinned;
}
