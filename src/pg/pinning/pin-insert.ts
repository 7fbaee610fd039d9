import { fieldsOf, listOf, namesOf, nodeOf, textOf, visitNodes, type Fields } from '../sql/syntax-tree.ts';
import { hasStar, InsertPins, overrideIdentity, type ColumnPins } from './insert-pins.ts';
import { expressionFacts } from './made-values.ts';
import { pinSelectedRows } from './pin-selected-rows.ts';
import { unpinned, type PinningInput, type StatementPins } from './pinning-input.ts';
import { columnNamed, seenColumns } from './seen-columns.ts';
import { assignment, columnNode } from './sql-nodes.ts';
import type { ColumnFacts, TableFacts } from './table-facts.ts';

type MutableFields = Record<string, unknown>;

/** Pins what an INSERT made: defaults, identities, and expressions whose values differ each time. */
export function pinInsert(statement: Fields, input: PinningInput): StatementPins {
  const { table, answer } = input;
  if (table === null) return unpinned('its table is not found');
  if (!table.isPlain) return unpinned('it writes into something else than a plain table');
  const seen = seenColumns(statement, answer, table);
  if (typeof seen === 'string') return unpinned(seen);
  const given = givenColumns(statement, table);
  if (typeof given === 'string') return unpinned(given);
  const select = fieldsOf(statement['selectStmt'], 'SelectStmt');
  const lists = listOf(select?.['valuesLists']).map((list) => [...listOf(fieldsOf(list, 'List')?.['items'])]);
  const insert = new InsertPins(table, given, seen, input, answer);
  if (select !== undefined && lists.length === 0) {
    return pinSelectedRows(statement, select, insert, input);
  }
  const rows = select === undefined ? [[]] : lists;
  const conflict = fieldsOf(statement['onConflictClause'], 'OnConflictClause');
  const refused = conflict === undefined ? null : pinConflict(conflict, table, insert);
  if (refused !== null) return unpinned(refused);
  const pins = insert.pinRows(rows.length, (column, row) => {
    const place = given.indexOf(column);
    const cell = place < 0 ? undefined : rows[row]?.[place];
    const isIgnored = column.isIdentity && statement['override'] === 'OVERRIDING_USER_VALUE';
    return cell === undefined || isIgnored || nodeOf(cell)?.tag === 'SetToDefault' ? null : cell;
  });
  if (typeof pins === 'string') return unpinned(pins);
  const reads = conflict === undefined ? null : readsPinned(conflict, pins);
  if (reads !== null) return unpinned(reads);
  if (pins.length === 0) return insert.result(false);
  for (const { column, cells } of pins) {
    let place = given.indexOf(column);
    if (place < 0) {
      place = given.push(column) - 1;
      for (const row of rows) row.push({ SetToDefault: {} });
    }
    cells.forEach((cell, row) => {
      if (cell !== null) rows[row]![place] = cell;
    });
  }
  const changed = statement as MutableFields;
  changed['cols'] = given.map((column) => assignment(column.name, undefined));
  changed['selectStmt'] = {
    SelectStmt: {
      ...(select ?? { limitOption: 'LIMIT_OPTION_DEFAULT', op: 'SETOP_NONE' }),
      valuesLists: rows.map((items) => ({ List: { items } })),
    },
  };
  overrideIdentity(changed, pins);
  return insert.result(true);
}

/** The columns that the statement gives values for, in its order. */
function givenColumns(statement: Fields, table: TableFacts): ColumnFacts[] | string {
  const targets = listOf(statement['cols']);
  const select = fieldsOf(statement['selectStmt'], 'SelectStmt');
  if (targets.length === 0) {
    const [first] = listOf(select?.['valuesLists']);
    const width =
      first === undefined
        ? listOf(select?.['targetList']).length
        : listOf(fieldsOf(first, 'List')?.['items']).length;
    if (first === undefined && select !== undefined && hasStar(select))
      return 'it lists no columns and selects *';
    return table.columns.slice(0, width);
  }
  const columns: ColumnFacts[] = [];
  for (const target of targets) {
    const fields = fieldsOf(target, 'ResTarget');
    if (listOf(fields?.['indirection']).length > 0) return 'it writes a part of a column';
    const column = columnNamed(table, textOf(fields?.['name']));
    if (column === undefined) return 'it names a column that is not there';
    columns.push(column);
  }
  return columns;
}

/**
 * ON CONFLICT: what is inserted has the final values, so that `excluded` has them too, which serves both ways. A string
 * says why that can't be done.
 */
function pinConflict(conflict: Fields, table: TableFacts, insert: InsertPins): string | null {
  if (conflict['action'] !== 'ONCONFLICT_UPDATE') return null;
  insert.mayUpdate();
  const where = expressionFacts(conflict['whereClause']);
  if (where.isMade || where.hasNextval) return 'its ON CONFLICT … WHERE differs each time';
  for (const target of listOf(conflict['targetList'])) {
    const fields = fieldsOf(target, 'ResTarget');
    const facts = expressionFacts(fields?.['val']);
    if (!(facts.isMade || facts.isConstant || facts.hasNextval)) continue;
    const column = columnNamed(table, textOf(fields?.['name']));
    const isRow = nodeOf(fields?.['val'])?.tag === 'MultiAssignRef';
    if (fields === undefined || column === undefined || isRow || facts.hasNextval || facts.unseen !== null) {
      return 'a value of its ON CONFLICT can’t be told from its result';
    }
    if (!insert.isSeen(column)) continue;
    insert.force(column);
    (fields as MutableFields)['val'] = columnNode('excluded', column.name);
  }
  return null;
}

/** Why what is pinned would change another value of its ON CONFLICT; null if it does not. */
function readsPinned(conflict: Fields, pins: readonly ColumnPins[]): string | null {
  const names = new Set(pins.map(({ column }) => column.name));
  const isRead = listOf(conflict['targetList']).some((target) => {
    const fields = fieldsOf(target, 'ResTarget');
    const value = fields?.['val'];
    return !isExcluded(value, textOf(fields?.['name']) ?? '') && mentionsExcluded(value, names);
  });
  return isRead || mentionsExcluded(conflict['whereClause'], names)
    ? 'its ON CONFLICT reads a value that was made'
    : null;
}

function isExcluded(value: unknown, name: string): boolean {
  const node = nodeOf(value);
  if (node?.tag !== 'ColumnRef') return false;
  const names = namesOf(node.fields['fields']);
  return names.length === 2 && names[0] === 'excluded' && names[1] === name;
}

function mentionsExcluded(expression: unknown, names: ReadonlySet<string>): boolean {
  let found = false;
  visitNodes(expression, ({ tag, fields }) => {
    if (tag !== 'ColumnRef') return undefined;
    const parts = namesOf(fields['fields']);
    if (parts[0] === 'excluded' && (parts.length === 1 || names.has(parts[1] ?? ''))) found = true;
    return undefined;
  });
  return found;
}
