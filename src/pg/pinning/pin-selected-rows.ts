import { fieldsOf, listOf, nodeOf, type Fields } from '../sql/syntax-tree.ts';
import { expressionFacts } from './made-values.ts';
import {
  hasStar,
  overrideIdentity,
  sourceOf,
  sourceOfDefault,
  type ColumnPins,
  type InsertPins,
} from './insert-pins.ts';
import { unpinned, type PinningInput, type StatementPins } from './pinning-input.ts';
import { assignment, castNode, columnNode, expressionNode } from './sql-nodes.ts';
import type { ColumnFacts } from './table-facts.ts';

type MutableFields = Record<string, unknown>;

/** Names that no statement has. */
const ROW = 'holdfast_row';
const SELECTED = 'holdfast_selected';
const NUMBERED = 'holdfast_numbered';

/**
 * INSERT … SELECT: the rows of the SELECT are numbered, and each gets the values that were made for the row of its number.
 * The other columns come from the SELECT again, so that they are compared as always.
 */
export function pinSelectedRows(
  statement: MutableFields,
  select: Fields,
  insert: InsertPins,
  input: PinningInput,
): StatementPins {
  const { given, table, answer } = insert;
  const isSet = select['op'] !== undefined && select['op'] !== 'SETOP_NONE';
  const targets = isSet || hasStar(select) ? [] : listOf(select['targetList']);
  const rows = answer?.rows.length ?? 0;
  const pins: ColumnPins[] = [];
  for (const column of table.columns) {
    if (column.isGenerated) continue;
    const place = given.indexOf(column);
    const expression = place < 0 ? undefined : fieldsOf(targets[place], 'ResTarget')?.['val'];
    if (place >= 0 && expression === undefined) continue; // A star, or several SELECTs: compared as they are.
    const source = place < 0 ? sourceOfDefault(column) : sourceOf(expression, input.parameters);
    const cells: unknown[] = [];
    // What is the same for the whole transaction needs no number.
    for (let row = 0; row < Math.max(rows, 1); row++) {
      const cell = insert.pinCell(column, source, row, answer?.tag != null);
      if (typeof cell === 'string') return unpinned(cell);
      cells.push(cell);
    }
    if (cells.some((cell) => cell !== null)) pins.push({ column, cells });
  }
  if (pins.length === 0) return insert.result(false);
  if (statement['onConflictClause'] !== undefined) return unpinned('it selects rows, with ON CONFLICT');
  if (table.hasRowTriggers) return unpinned('it selects rows for a table with triggers');
  if (listOf(select['lockingClause']).length > 0) return unpinned('it selects rows and locks them');
  if (given.length === 0) return unpinned('it lists no columns');
  if (expressionFacts(select['whereClause']).isMade) return unpinned('its WHERE differs each time');
  const extra = pins.flatMap(({ column }) => (given.includes(column) ? [] : column));
  statement['cols'] = [...given, ...extra].map((column) => assignment(column.name, undefined));
  statement['selectStmt'] = numberedRows(typed(select, targets, given), [...given, ...extra], given, pins);
  overrideIdentity(statement, pins);
  return insert.result(true);
}

/** Literals and parameters take the types of the columns, which they would not do in a subquery. */
function typed(select: Fields, targets: readonly unknown[], given: readonly ColumnFacts[]): Fields {
  if (targets.length === 0) return select;
  const list = targets.map((target, index) => {
    const fields = fieldsOf(target, 'ResTarget')!;
    const column = given[index];
    const tag = nodeOf(fields['val'])?.tag;
    if (column === undefined || (tag !== 'A_Const' && tag !== 'ParamRef')) return target;
    return { ResTarget: { ...fields, val: castNode(fields['val'], column.type) } };
  });
  return { ...select, targetList: list };
}

function numberedRows(
  select: Fields,
  columns: readonly ColumnFacts[],
  given: readonly ColumnFacts[],
  pins: readonly ColumnPins[],
): unknown {
  const name = (index: number): string => `${SELECTED}_${index + 1}`;
  const targets = columns.map((column) => {
    const pin = pins.find((one) => one.column === column);
    const value = pin === undefined ? columnNode(NUMBERED, name(given.indexOf(column))) : pickedByNumber(pin);
    return { ResTarget: { val: value } };
  });
  const inner = {
    SelectStmt: {
      targetList: [
        { ResTarget: { name: ROW, val: expressionNode('pg_catalog.row_number() OVER ()') } },
        { ResTarget: { val: { ColumnRef: { fields: [{ String: { sval: SELECTED } }, { A_Star: {} }] } } } },
      ],
      fromClause: [
        subselect(
          { SelectStmt: select },
          SELECTED,
          given.map((_, index) => name(index)),
        ),
      ],
      limitOption: 'LIMIT_OPTION_DEFAULT',
      op: 'SETOP_NONE',
    },
  };
  return {
    SelectStmt: {
      targetList: targets,
      fromClause: [subselect(inner, NUMBERED, [])],
      sortClause: [
        {
          SortBy: {
            node: columnNode(NUMBERED, ROW),
            sortby_dir: 'SORTBY_DEFAULT',
            sortby_nulls: 'SORTBY_NULLS_DEFAULT',
          },
        },
      ],
      limitOption: 'LIMIT_OPTION_DEFAULT',
      op: 'SETOP_NONE',
    },
  };
}

function pickedByNumber({ cells }: ColumnPins): unknown {
  const [first] = cells;
  if (cells.length === 1) return first;
  return {
    CaseExpr: {
      arg: columnNode(NUMBERED, ROW),
      args: cells.map((cell, index) => ({
        CaseWhen: { expr: { A_Const: { ival: { ival: index + 1 } } }, result: cell },
      })),
    },
  };
}

function subselect(query: unknown, name: string, columns: readonly string[]): unknown {
  const alias = {
    aliasname: name,
    ...(columns.length === 0 ? {} : { colnames: columns.map((column) => ({ String: { sval: column } })) }),
  };
  return { RangeSubselect: { subquery: query, alias } };
}
