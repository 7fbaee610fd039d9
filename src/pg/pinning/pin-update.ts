import { fieldsOf, listOf, nodeOf, textOf, type Fields } from '../sql/syntax-tree.ts';
import type { GivenAnswer } from './given-answer.ts';
import { expressionFacts, isTransactionTime } from './made-values.ts';
import { constantDefault } from './insert-pins.ts';
import { sameValue } from './pin-targets.ts';
import { NOTHING_TO_PIN, unpinned, type PinningInput, type StatementPins } from './pinning-input.ts';
import { columnNamed, seenColumns } from './seen-columns.ts';
import { columnNode } from './sql-nodes.ts';
import type { ColumnFacts, TableFacts } from './table-facts.ts';

type MutableFields = Record<string, unknown>;

/** Pins what an UPDATE made: `SET at = now()`, `SET token = gen_random_uuid()`, `SET at = DEFAULT`. */
export function pinUpdate(statement: Fields, input: PinningInput): StatementPins {
  const { table, answer, constants } = input;
  let reason: string | null = null;
  let isPinned = false;
  const drawsFrom: (number | string)[] = [];
  const condition = expressionFacts(statement['whereClause']);
  if (condition.isMade || condition.hasNextval) return unpinned('its WHERE differs each time');
  for (const target of listOf(statement['targetList'])) {
    const fields = fieldsOf(target, 'ResTarget');
    if (fields === undefined) continue;
    const expression = fields['val'];
    const column = table === null ? undefined : columnNamed(table, textOf(fields['name']));
    const isDefault = isDefaultValue(expression);
    const facts = isDefault ? column?.default?.facts : expressionFacts(expression);
    const isNextval = isDefault && column?.default?.isNextval === true;
    if (facts === undefined) continue;
    if (!facts.isMade && !facts.isConstant && !facts.hasNextval && !isNextval) {
      if (facts.unseen !== null && !facts.unseen.includes('subquery')) reason ??= facts.unseen;
      continue;
    }
    if (table === null || column === undefined) {
      reason ??= 'its table is not found';
      continue;
    }
    const put = isDefault ? constantDefault(column, constants) : null;
    if (put !== null) {
      (fields as MutableFields)['val'] = put;
      isPinned = true;
      continue;
    }
    const seen = seenColumns(statement, answer, table);
    if (typeof seen === 'string') {
      reason ??= seen;
      continue;
    }
    const index = seen.get(column.number);
    if (index === undefined || answer === null || answer.rows.length === 0) {
      if (isNextval && column.sequence !== null) drawsFrom.push(column.sequence);
      continue;
    }
    if (!table.isPlain) reason ??= 'it writes into something else than a plain table';
    else if (listOf(fields['indirection']).length > 0) reason ??= 'it writes a part of a column';
    else if (nodeOf(expression)?.tag === 'MultiAssignRef') reason ??= 'it sets several columns from one row';
    else if (facts.unseen !== null) reason ??= facts.unseen;
    else if (facts.hasNextval || isNextval) reason ??= 'it draws from a sequence for rows of a table';
    else if (answer.tag === null) reason ??= 'it was read in parts';
    else {
      const pinned = pinColumn(statement, column, index, table, seen, answer, input);
      if (typeof pinned === 'string') reason ??= pinned;
      else {
        (fields as MutableFields)['val'] = pinned;
        isPinned = true;
      }
    }
  }
  return { ...NOTHING_TO_PIN, isPinned, reason, drawsFrom };
}

/** One value for all rows, or a value by primary key. A string says why it can't be told. */
function pinColumn(
  statement: Fields,
  column: ColumnFacts,
  index: number,
  table: TableFacts,
  seen: ReadonlyMap<number, number>,
  answer: GivenAnswer,
  { values }: PinningInput,
): unknown {
  const { format } = answer.columns![index]!;
  const node = (row: number): unknown =>
    values.node(answer.rows[row]?.[index] ?? null, format, column.typeOid, column.type);
  if (sameValue(answer, index) !== undefined) return node(0);
  const key = table.primaryKey.map((number) => ({
    column: table.columns.find((one) => one.number === number)!,
    index: seen.get(number),
  }));
  if (key.length === 0 || key.some((part) => part.index === undefined)) {
    return 'its rows have different values and it does not return their primary key';
  }
  const isKeySet = listOf(statement['targetList']).some((target) =>
    key.some((part) => part.column.name === fieldsOf(target, 'ResTarget')?.['name']),
  );
  if (isKeySet) return 'it changes the primary key';
  const relation = fieldsOf(statement['relation'], 'RangeVar');
  const alias =
    textOf(fieldsOf(relation?.['alias'], 'Alias')?.['aliasname']) ?? textOf(relation?.['relname']) ?? '';
  const cases = answer.rows.map((row, at) => {
    const parts = key.map((part) => ({
      A_Expr: {
        kind: 'AEXPR_OP',
        name: [{ String: { sval: '=' } }],
        lexpr: columnNode(alias, part.column.name),
        rexpr: values.node(
          row[part.index!] ?? null,
          answer.columns![part.index!]!.format,
          part.column.typeOid,
          part.column.type,
        ),
      },
    }));
    const [only] = parts;
    const condition = parts.length === 1 ? only : { BoolExpr: { boolop: 'AND_EXPR', args: parts } };
    return { CaseWhen: { expr: condition, result: node(at) } };
  });
  return { CaseExpr: { args: cases } };
}

export function isDefaultValue(expression: unknown): boolean {
  return typeof expression === 'object' && expression !== null && 'SetToDefault' in expression;
}

/** Notes what an application was shown of its transaction's time, by columns that were set to it. */
export function noteUpdatedTime(statement: Fields, { table, answer, constants }: PinningInput): void {
  const [row] = answer?.rows ?? [];
  if (row === undefined || table === null) return;
  const seen = seenColumns(statement, answer, table);
  if (typeof seen === 'string') return;
  for (const target of listOf(statement['targetList'])) {
    const fields = fieldsOf(target, 'ResTarget');
    const column = columnNamed(table, textOf(fields?.['name']));
    const index = column === undefined ? undefined : seen.get(column.number);
    if (column === undefined || index === undefined) continue;
    const expression = fields?.['val'];
    const isDefault = isDefaultValue(expression);
    const isTime = isDefault ? column.default?.isTransactionTime === true : isTransactionTime(expression);
    if (isTime && !table.hasRowTriggers) constants.sawTime(row[index] ?? null, answer!.columns![index]!);
    else if ((isDefault ? column.default?.facts : expressionFacts(expression))?.isConstant === true) {
      constants.sawPart();
    }
  }
}
