import { fieldsOf, nodeOf, textOf } from '../sql/syntax-tree.ts';

/** The relation that a statement writes, quoted and as it is named there. Null if it writes none. */
export function writtenRelation(tree: unknown): string | null {
  const node = nodeOf(tree);
  if (node === undefined || !/^(?:Insert|Update|Delete|Merge|Copy)Stmt$/.test(node.tag)) return null;
  if (node.tag === 'CopyStmt' && node.fields['is_from'] !== true) return null;
  const relation = fieldsOf(node.fields['relation'], 'RangeVar');
  const name = textOf(relation?.['relname']);
  if (name === undefined) return null;
  return [textOf(relation?.['schemaname']), name]
    .filter((part) => part !== undefined)
    .map((part) => `"${part.replaceAll('"', '""')}"`)
    .join('.');
}
