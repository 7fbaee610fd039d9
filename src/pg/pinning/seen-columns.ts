import { fieldsOf, listOf, namesOf, textOf, visitNodes, type Fields } from '../sql/syntax-tree.ts';
import type { GivenAnswer } from './given-answer.ts';
import type { ColumnFacts, TableFacts } from './table-facts.ts';

/** Of which columns of the written table the values were seen: number of the column → its place in the rows. */
export function seenColumns(
  statement: Fields,
  answer: GivenAnswer | null,
  table: TableFacts,
): ReadonlyMap<number, number> | string {
  const seen = new Map<number, number>();
  const { columns } = answer ?? { columns: null };
  if (columns === null) return seen;
  const returning = fieldsOf(statement['returningClause'], 'ReturningClause');
  if (listOf(returning?.['options']).length > 0 || mentionsOld(returning)) return 'it returns old values';
  const tables = new Set(columns.flatMap(({ tableOid }) => (tableOid === 0 ? [] : tableOid)));
  const relation = fieldsOf(statement['relation'], 'RangeVar');
  const target = textOf(relation?.['relname']);
  // With FROM, columns may be those of another table, even with the same numbers.
  if (tables.size > 1) return 'it returns columns of several tables';
  if (listOf(statement['fromClause']).length > 0) {
    if (mentionsTwice(statement, target)) return 'it names its table twice';
    // They may all be another table's; and those of one that the transaction has made had other numbers.
    if (!tables.has(table.oid)) return seen;
  }
  columns.forEach(({ tableOid, columnNumber }, index) => {
    if (tableOid !== 0 && columnNumber > 0) seen.set(columnNumber, index);
  });
  return seen;
}

function mentionsOld(returning: Fields | undefined): boolean {
  let found = false;
  visitNodes({ ReturningClause: returning ?? {} }, ({ tag, fields }) => {
    if (
      tag === 'ColumnRef' &&
      namesOf(fields['fields'])[0] === 'old' &&
      listOf(fields['fields']).length > 1
    ) {
      found = true;
    }
    return undefined;
  });
  return found;
}

/** A join with itself: `returning other.id` looks like the target's own. */
function mentionsTwice(statement: Fields, target: string | undefined): boolean {
  let times = 0;
  const places = [...listOf(statement['fromClause']), ...ctes(statement)];
  visitNodes({ List: { items: places } }, ({ tag, fields }) => {
    if (tag === 'RangeVar' && fields['relname'] === target) times++;
    return undefined;
  });
  return times > 0;
}

function ctes(statement: Fields): readonly unknown[] {
  return listOf(fieldsOf(statement['withClause'], 'WithClause')?.['ctes']);
}

/** A column of the table by its name. */
export function columnNamed(table: TableFacts, name: string | undefined): ColumnFacts | undefined {
  return table.columns.find((column) => column.name === name);
}
