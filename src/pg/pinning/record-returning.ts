import { parse } from '../sql/parser.ts';
import { tokens } from '../sql/lexer.ts';
import { quoteIdentifier } from '../sql/quote-sql.ts';
import { isSameTree } from './deparser.ts';
import { RECORDED_PREFIX } from './given-answer.ts';
import { isDefaultValue } from './pin-update.ts';
import { hasStar } from './insert-pins.ts';
import { expressionFacts, nextvalOf, type ExpressionFacts } from './made-values.ts';
import { columnNode } from './sql-nodes.ts';
import { fieldsOf, listOf, namesOf, nodeOf, textOf, type Fields } from '../sql/syntax-tree.ts';
import type { ColumnFacts, TableFacts } from './table-facts.ts';
import { writtenRelation } from './written-relation.ts';

/** An INSERT or UPDATE that returns more than the application asked for. */
export interface RecordedText {
  readonly text: string;
  /** Columns behind the application's own. */
  readonly columns: readonly ColumnFacts[];
  /** The application gets rows of its own from it. */
  readonly returnsRows: boolean;
}

/**
 * The statement with the columns appended to its RETURNING whose values the server makes and the application is not
 * given. Null if there are none, or if it is anything but one plain INSERT or UPDATE of one table.
 *
 * What is the same for a whole transaction (`DEFAULT now()`) is left out: to have seen it binds all statements of the
 * transaction (A9), and the application has not asked for it.
 *
 * The text is added to, not written anew: positions in errors stay what they are. What comes out must parse as the tree
 * that is meant.
 */
export function recordedText(text: string, table: TableFacts): RecordedText | null {
  // Reads in two ways, by standard_conforming_strings.
  if (text.includes('\\')) return null;
  const outcome = parse(text);
  if (outcome.kind === 'not-understood' || outcome.statements.length !== 1) return null;
  const tree = structuredClone(outcome.statements[0]);
  const statement = nodeOf(tree);
  if (statement === undefined || !isPlainWrite(statement.tag, statement.fields)) return null;
  const { fields } = statement;
  const returning = fieldsOf(fields['returningClause'], 'ReturningClause');
  if (listOf(returning?.['options']).length > 0) return null;
  const given = returning === undefined ? new Set<string>() : returnedColumns(returning, fields, table);
  if (given === null) return null;
  const made =
    statement.tag === 'InsertStmt' ? insertedColumns(fields, table) : updatedColumns(fields, table);
  const columns = made.filter(({ name }) => !given.has(name));
  if (columns.length === 0) return null;
  const targets = columns.map((column, index) => ({
    ResTarget: { name: recordedName(index), val: columnNode(column.name) },
  }));
  (fields as Record<string, unknown>)['returningClause'] = {
    ...returning,
    exprs: [...listOf(returning?.['exprs']), ...targets],
  };
  const list = columns.map((column, index) => `${quoteIdentifier(column.name)} AS ${recordedName(index)}`);
  const at = endOf(text);
  const added = `${returning === undefined ? ' RETURNING ' : ', '}${list.join(', ')}`;
  const changed = text.slice(0, at) + added + text.slice(at);
  const again = parse(changed);
  if (again.kind === 'not-understood' || again.statements.length !== 1) return null;
  if (!isSameTree(again.statements[0], tree)) return null;
  return { text: changed, columns, returnsRows: returning !== undefined };
}

function recordedName(index: number): string {
  return `${RECORDED_PREFIX}${index + 1}`;
}

/** Behind the last token of the statement: a comment or a semicolon may follow. */
function endOf(text: string): number {
  let at = text.length;
  for (const { kind, end } of tokens(text)) if (kind !== 'semicolon') at = end;
  return at;
}

function isPlainWrite(tag: string, fields: Fields): boolean {
  if (fields['withClause'] !== undefined) return false;
  if (tag === 'InsertStmt') return true;
  return tag === 'UpdateStmt' && listOf(fields['fromClause']).length === 0;
}

/** The table's columns that a RETURNING gives as they are; null if it returns what can't be told. */
function returnedColumns(
  returning: Fields,
  statement: Fields,
  table: TableFacts,
): ReadonlySet<string> | null {
  const relation = fieldsOf(statement['relation'], 'RangeVar');
  const alias =
    textOf(fieldsOf(relation?.['alias'], 'Alias')?.['aliasname']) ?? textOf(relation?.['relname']);
  const given = new Set<string>();
  for (const target of listOf(returning['exprs'])) {
    const value = nodeOf(fieldsOf(target, 'ResTarget')?.['val']);
    if (value?.tag !== 'ColumnRef') continue;
    const parts = listOf(value.fields['fields']);
    const names = namesOf(parts);
    if (parts.length > 1 && names[0] !== alias) {
      if (names[0] === 'old') return null;
      continue;
    }
    if (nodeOf(parts.at(-1))?.tag === 'A_Star') for (const { name } of table.columns) given.add(name);
    else given.add(names.at(-1) ?? '');
  }
  return given;
}

function isMade(facts: ExpressionFacts, isNextval: boolean): boolean {
  return (facts.isMade || isNextval) && !facts.isConstant && facts.unseen === null;
}

function insertedColumns(statement: Fields, table: TableFacts): readonly ColumnFacts[] {
  const select = fieldsOf(statement['selectStmt'], 'SelectStmt');
  const lists = listOf(select?.['valuesLists']).map((list) => listOf(fieldsOf(list, 'List')?.['items']));
  const isSet = select?.['op'] !== undefined && select['op'] !== 'SETOP_NONE';
  const rows =
    lists.length > 0
      ? lists
      : select === undefined || isSet || hasStar(select)
        ? []
        : [listOf(select['targetList']).map((target) => fieldsOf(target, 'ResTarget')?.['val'])];
  const names = listOf(statement['cols']).map((target) => textOf(fieldsOf(target, 'ResTarget')?.['name']));
  // Without a list of columns the values are those of the first ones.
  if (names.length === 0 && select !== undefined && rows.length === 0) return [];
  const placeOf = (column: ColumnFacts): number => {
    if (names.length > 0) return names.indexOf(column.name);
    const place = table.columns.indexOf(column);
    return place < (rows[0]?.length ?? 0) ? place : -1;
  };
  const conflict = fieldsOf(statement['onConflictClause'], 'OnConflictClause');
  const set = conflict?.['action'] === 'ONCONFLICT_UPDATE' ? listOf(conflict['targetList']) : [];
  return table.columns.filter((column) => {
    if (column.isGenerated) return false;
    if (set.some((target) => isSetToMade(target, column))) return true;
    const byDefault = column.default !== null && isMade(column.default.facts, column.default.isNextval);
    const place = placeOf(column);
    if (place < 0) return byDefault;
    if (column.isIdentity && statement['override'] === 'OVERRIDING_USER_VALUE') return byDefault;
    return rows.some((row) =>
      isDefaultValue(row[place])
        ? byDefault
        : isMade(expressionFacts(row[place]), nextvalOf(row[place]) !== undefined),
    );
  });
}

function isSetToMade(target: unknown, column: ColumnFacts): boolean {
  const fields = fieldsOf(target, 'ResTarget');
  if (textOf(fields?.['name']) !== column.name) return false;
  const value = fields?.['val'];
  if (isDefaultValue(value)) return column.default !== null && isMade(column.default.facts, false);
  return isMade(expressionFacts(value), false);
}

/** Those that are set to what is made, and the key by which a replay tells the rows apart. */
function updatedColumns(statement: Fields, table: TableFacts): readonly ColumnFacts[] {
  const targets = listOf(statement['targetList']);
  const made = table.columns.filter((column) => targets.some((target) => isSetToMade(target, column)));
  if (made.length === 0) return [];
  const key = table.primaryKey.flatMap(
    (number) => table.columns.find((column) => column.number === number) ?? [],
  );
  return [...new Set([...key, ...made])];
}

/** The relation that a text writes if it is one plain INSERT or UPDATE, quoted and as it is named there; else null. */
export function recordableRelation(text: string): string | null {
  if (text.includes('\\')) return null;
  const outcome = parse(text);
  if (outcome.kind === 'not-understood' || outcome.statements.length !== 1) return null;
  const [tree] = outcome.statements;
  const node = nodeOf(tree);
  return node !== undefined && isPlainWrite(node.tag, node.fields) ? writtenRelation(tree) : null;
}
