import { fieldsOf, listOf, namesOf, nodeOf, textOf, visitNodes, type Fields } from '../sql/syntax-tree.ts';
import { integerOf, type GivenAnswer } from './given-answer.ts';
import {
  CALLS_NOTHING,
  expressionFacts,
  isTransactionTime,
  nextvalOf,
  type ExpressionFacts,
} from './made-values.ts';
import { pinSelectedRows } from './pin-selected-rows.ts';
import { unpinned, type PinningInput, type StatementPins } from './pinning-input.ts';
import { columnNamed, seenColumns } from './seen-columns.ts';
import { sequenceNamed } from './sequence-names.ts';
import { assignment, castNode, columnNode } from './sql-nodes.ts';
import type { ColumnFacts, TableFacts } from './table-facts.ts';
import type { WireParameter } from './wire-statement.ts';

/** What gives a column its value in one row: the statement's expression, or the column's default. */
export interface Source {
  readonly facts: ExpressionFacts;
  /** It is `nextval` and nothing else, or an identity. */
  readonly isNextval: boolean;
  readonly isTransactionTime: boolean;
  /** That nextval draws from: object identifier, or the name as the statement has it. */
  readonly sequence: number | string | null;
}

/** How a column of an INSERT gets its values in a replay. */
export interface ColumnPins {
  readonly column: ColumnFacts;
  /** Of each row: an expression to put in, or null to leave what is there. */
  readonly cells: readonly unknown[];
}

type MutableFields = Record<string, unknown>;

/** Pins what an INSERT made: defaults, identities, and expressions whose values differ each time. */
export function pinInsert(statement: Fields, input: PinningInput): StatementPins {
  const { table, answer } = input;
  if (table === null) return unpinned('its table is not found');
  if (!table.isPlain) return unpinned('it writes into something else than a plain table');
  const seen = seenColumns(statement, answer);
  if (typeof seen === 'string') return unpinned(seen);
  const given = givenColumns(statement, table);
  if (typeof given === 'string') return unpinned(given);
  const select = fieldsOf(statement['selectStmt'], 'SelectStmt');
  const lists = listOf(select?.['valuesLists']).map((list) => [...listOf(fieldsOf(list, 'List')?.['items'])]);
  const insert = new InsertPins(table, given, seen, input, answer);
  if (select !== undefined && lists.length === 0) {
    return pinSelectedRows(statement as MutableFields, select, insert, input);
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

/** Says that identities are given, if they are. */
export function overrideIdentity(statement: MutableFields, pins: readonly ColumnPins[]): void {
  const isUserIgnored = statement['override'] === 'OVERRIDING_USER_VALUE';
  if (
    pins.some(
      ({ column }) => column.isAlwaysIdentity || (isUserIgnored && column.default?.isNextval === true),
    )
  ) {
    statement['override'] = 'OVERRIDING_SYSTEM_VALUE';
  }
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

export function hasStar(select: Fields): boolean {
  return listOf(select['targetList']).some((target) => {
    const value = nodeOf(fieldsOf(target, 'ResTarget')?.['val']);
    return (
      value?.tag === 'ColumnRef' &&
      listOf(value.fields['fields']).some((part) => nodeOf(part)?.tag === 'A_Star')
    );
  });
}

/** Finds out of one INSERT what has to be pinned, column by column. */
export class InsertPins {
  readonly table: TableFacts;
  readonly given: readonly ColumnFacts[];
  readonly answer: GivenAnswer | null;
  readonly #seen: ReadonlyMap<number, number>;
  readonly #input: PinningInput;
  #reason: string | null = null;
  readonly #drawn = new Map<number | string, bigint[]>();
  readonly #drawsFrom = new Set<number | string>();
  #mayUpdate = false;
  /** Columns whose values must be given, whatever the statement gives. */
  readonly #forced = new Set<ColumnFacts>();

  constructor(
    table: TableFacts,
    given: readonly ColumnFacts[],
    seen: ReadonlyMap<number, number>,
    input: PinningInput,
    answer: GivenAnswer | null,
  ) {
    this.table = table;
    this.given = given;
    this.answer = answer;
    this.#seen = seen;
    this.#input = input;
  }

  /** ON CONFLICT DO UPDATE: rows may be found instead of made. */
  mayUpdate(): void {
    this.#mayUpdate = true;
  }

  force(column: ColumnFacts): void {
    this.#forced.add(column);
  }

  isSeen(column: ColumnFacts): boolean {
    return this.#seen.has(column.number);
  }

  result(isPinned: boolean): StatementPins {
    const drawn = [...this.#drawn].map(([sequence, values]) => ({ sequence, values }));
    return {
      isPinned,
      reason: this.#reason,
      drawn,
      // Where a row was found, the value that was drawn for it was seen by nobody.
      givesCurrent: !this.#mayUpdate,
      drawsFrom: [...this.#drawsFrom],
    };
  }

  /**
   * What to put into which column. `cellOf`: the statement's own expression, null where the default counts. A string says
   * why nothing can be pinned.
   */
  pinRows(
    count: number,
    cellOf: (column: ColumnFacts, row: number) => unknown,
  ): readonly ColumnPins[] | string {
    const pins: ColumnPins[] = [];
    const isComplete = this.answer?.tag != null && this.answer.rows.length === count;
    for (const column of this.table.columns) {
      if (column.isGenerated) continue;
      const cells: unknown[] = [];
      for (let row = 0; row < count; row++) {
        const cell = cellOf(column, row);
        const source = cell === null ? sourceOfDefault(column) : sourceOf(cell, this.#input.parameters);
        const pin = this.pinCell(column, source, row, isComplete);
        if (typeof pin === 'string') return pin;
        cells.push(pin);
      }
      if (cells.some((cell) => cell !== null)) pins.push({ column, cells });
    }
    return pins;
  }

  /** An expression, null for what can stay, a string where only all could be pinned and the rows don't match. */
  pinCell(column: ColumnFacts, source: Source | null, row: number, isComplete: boolean): unknown {
    const isForced = this.#forced.has(column) && this.isSeen(column);
    if (source === null && !isForced) return null;
    const facts = source?.facts ?? CALLS_NOTHING;
    if (source !== null && !isForced) {
      if (!(source.isNextval || facts.isMade || facts.isConstant || facts.hasNextval)) {
        if (facts.unseen !== null && this.isSeen(column)) this.#because(`a column’s value: ${facts.unseen}`);
        return null;
      }
      const { constants } = this.#input;
      if (source.isTransactionTime && constants.isTimeKnown)
        return castNode(constants.timeNode(), column.type);
    }
    const index = this.#seen.get(column.number);
    if (index === undefined || this.answer === null || this.answer.rows.length === 0) {
      if (source?.isNextval === true && source.sequence !== null) this.#drawsFrom.add(source.sequence);
      return null;
    }
    if (facts.unseen !== null) return this.#because(`a column’s value: ${facts.unseen}`);
    if (facts.hasNextval && source?.isNextval === false) {
      return this.#because('a column’s value is made from a sequence and something else');
    }
    if (!isComplete) return 'not as many rows came back as it gives, or it was read in parts';
    const value = this.answer.rows[row]?.[index] ?? null;
    const given = this.answer.columns![index]!;
    if (source?.isNextval === true) {
      const number = integerOf(value, given);
      if (number === null || source.sequence === null)
        return this.#because('a column’s sequence is not known');
      this.#drew(source.sequence, number);
    }
    return this.#input.values.node(value, given.format, column.typeOid, column.type);
  }

  #drew(sequence: number | string, value: bigint): void {
    const values = this.#drawn.get(sequence) ?? [];
    this.#drawn.set(sequence, values);
    values.push(value);
  }

  #because(reason: string): null {
    this.#reason ??= reason;
    return null;
  }
}

export function sourceOfDefault(column: ColumnFacts): Source | null {
  return column.default === null ? null : { ...column.default, sequence: column.sequence };
}

export function sourceOf(expression: unknown, parameters: readonly WireParameter[]): Source {
  const facts = expressionFacts(expression);
  const call = nextvalOf(expression);
  return {
    facts,
    isNextval: call !== undefined,
    isTransactionTime: isTransactionTime(expression),
    sequence: call === undefined ? null : sequenceNamed(call, parameters),
  };
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
    if (fields === undefined || column === undefined || facts.hasNextval || facts.unseen !== null) {
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
