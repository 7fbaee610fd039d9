import { fieldsOf, listOf, nodeOf, textOf, type Fields } from '../sql/syntax-tree.ts';
import { expressionFacts, isTransactionTime } from './made-values.ts';
import { noteConstants } from './pin-targets.ts';
import { noteUpdatedTime } from './pin-update.ts';
import type { PinningInput } from './pinning-input.ts';
import { seenColumns } from './seen-columns.ts';
import type { ColumnFacts, TableFacts } from './table-facts.ts';

/** Notes what a statement has shown of its transaction's time and identity. */
export function noteSeenConstants(input: PinningInput): void {
  const node = nodeOf(input.tree);
  switch (node?.tag) {
    case 'SelectStmt':
      noteConstants(node.fields['targetList'], input.answer, input.constants);
      return;
    case 'InsertStmt':
      noteInsertedTime(node.fields, input);
      break;
    case 'UpdateStmt':
      noteUpdatedTime(node.fields, input);
      break;
    default:
      break;
  }
  const returning = fieldsOf(node?.fields['returningClause'], 'ReturningClause');
  if (returning !== undefined) noteConstants(returning['exprs'], input.answer, input.constants);
}

function noteInsertedTime(statement: Fields, { table, answer, constants }: PinningInput): void {
  const [row] = answer?.rows ?? [];
  if (row === undefined || table === null || answer?.columns == null) return;
  const seen = seenColumns(statement, answer, table);
  if (typeof seen === 'string') return;
  const conflict = fieldsOf(statement['onConflictClause'], 'OnConflictClause');
  const mayUpdate = conflict?.['action'] === 'ONCONFLICT_UPDATE';
  for (const column of table.columns) {
    const index = seen.get(column.number);
    if (index === undefined) continue;
    const made = sourceIn(statement, column, table);
    const set = mayUpdate ? setIn(conflict, column) : undefined;
    const isConstant = made.isConstant || (set !== undefined && expressionFacts(set).isConstant);
    if (!isConstant) continue;
    // Of a row that may have been found, the time is its own unless it was set.
    const isTime = made.isTime && (!mayUpdate || (set !== undefined && isTransactionTime(set)));
    if (isTime && !table.hasRowTriggers) constants.sawTime(row[index] ?? null, answer.columns[index]!);
    else constants.sawPart();
  }
}

/** What gives a column its value in the first row. */
function sourceIn(
  statement: Fields,
  column: ColumnFacts,
  table: TableFacts,
): { readonly isConstant: boolean; readonly isTime: boolean } {
  const select = fieldsOf(statement['selectStmt'], 'SelectStmt');
  const targets = listOf(statement['cols']);
  const place =
    targets.length === 0
      ? table.columns.indexOf(column)
      : targets.findIndex((target) => fieldsOf(target, 'ResTarget')?.['name'] === column.name);
  const [list] = listOf(select?.['valuesLists']);
  const expression =
    list === undefined
      ? fieldsOf(listOf(select?.['targetList'])[place], 'ResTarget')?.['val']
      : listOf(fieldsOf(list, 'List')?.['items'])[place];
  if (place < 0 || expression === undefined || nodeOf(expression)?.tag === 'SetToDefault') {
    return {
      isConstant: column.default?.facts.isConstant ?? false,
      isTime: column.default?.isTransactionTime ?? false,
    };
  }
  return { isConstant: expressionFacts(expression).isConstant, isTime: isTransactionTime(expression) };
}

function setIn(conflict: Fields | undefined, column: ColumnFacts): unknown {
  const target = listOf(conflict?.['targetList']).find(
    (one) => textOf(fieldsOf(one, 'ResTarget')?.['name']) === column.name,
  );
  return fieldsOf(target, 'ResTarget')?.['val'];
}
