import { fieldsOf, listOf, namesOf, nodeOf } from '../sql/syntax-tree.ts';
import type { ColumnFacts, TableFacts } from './table-facts.ts';

/** A column that takes the transaction's time by its default, where nothing was put in. */
export function timeDefault(tree: unknown, relation: string | null, table: TableFacts | null): string | null {
  const insert = nodeOf(tree);
  if (relation !== null && table?.isPlain === false) return 'a view or a rule';
  if (relation === null || (insert?.tag !== 'InsertStmt' && insert?.tag !== 'CopyStmt')) return null;
  if (table === null) return 'a table that is not found';
  if (insert.tag === 'CopyStmt') {
    const listed = namesOf(insert.fields['attlist']);
    const isOpen = table.columns.some(
      ({ name, default: value }) =>
        value?.facts.isConstant === true && listed.length > 0 && !listed.includes(name),
    );
    return isOpen ? 'a default' : null;
  }
  const targets = listOf(insert.fields['cols']);
  const select = fieldsOf(insert.fields['selectStmt'], 'SelectStmt');
  const [first] = listOf(select?.['valuesLists']);
  const width =
    targets.length > 0 ? 0 : listOf(fieldsOf(first, 'List')?.['items'] ?? select?.['targetList']).length;
  const given =
    targets.length > 0
      ? targets.map((target) => {
          const name = fieldsOf(target, 'ResTarget')?.['name'];
          return table.columns.find((column) => column.name === name);
        })
      : table.columns.slice(0, width);
  const takesTime = (column: ColumnFacts | undefined): boolean =>
    column === undefined || column.default?.facts.isConstant === true;
  const found =
    table.columns.some((column) => !given.includes(column) && takesTime(column)) ||
    listOf(select?.['valuesLists']).some((list) =>
      listOf(fieldsOf(list, 'List')?.['items']).some(
        (item, place) => nodeOf(item)?.tag === 'SetToDefault' && takesTime(given[place]),
      ),
    );
  return found ? 'a default' : null;
}
