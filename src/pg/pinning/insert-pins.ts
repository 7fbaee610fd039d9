import { fieldsOf, listOf, nodeOf, type Fields } from '../sql/syntax-tree.ts';
import { integerOf, type GivenAnswer } from './given-answer.ts';
import { CALLS_NOTHING, expressionFacts, nextvalOf, type ExpressionFacts } from './made-values.ts';
import type { PinningInput, StatementPins } from './pinning-input.ts';
import { sequenceNamed } from './sequence-names.ts';
import { castNode } from './sql-nodes.ts';
import type { ColumnFacts, TableFacts } from './table-facts.ts';
import type { TransactionConstants } from './transaction-constants.ts';
import type { WireParameter } from './wire-statement.ts';

/** What gives a column its value in one row: the statement's expression, or the column's default. */
export interface Source {
  readonly facts: ExpressionFacts;
  /** It is `nextval` and nothing else, or an identity. */
  readonly isNextval: boolean;
  /** The column's default, and no expression of the statement. */
  readonly isDefault: boolean;
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
      const put = source.isDefault ? constantDefault(column, this.#input.constants) : null;
      if (put !== null) return put;
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

/** The default of a column with what is the same for the whole transaction put in. Null if it is made of something else. */
export function constantDefault(column: ColumnFacts, constants: TransactionConstants): unknown {
  const facts = column.default?.facts;
  if (facts === undefined || !facts.isConstant || facts.isMade || facts.hasNextval) return null;
  const node = facts.unseen === null ? constants.defaultNode(column.default!.expression) : null;
  return node === null ? null : castNode(node, column.type);
}

export function sourceOfDefault(column: ColumnFacts): Source | null {
  return column.default === null ? null : { ...column.default, isDefault: true, sequence: column.sequence };
}

export function sourceOf(expression: unknown, parameters: readonly WireParameter[]): Source {
  const facts = expressionFacts(expression);
  const call = nextvalOf(expression);
  return {
    facts,
    isNextval: call !== undefined,
    isDefault: false,
    sequence: call === undefined ? null : sequenceNamed(call, parameters),
  };
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

export function hasStar(select: Fields): boolean {
  return listOf(select['targetList']).some((target) => {
    const value = nodeOf(fieldsOf(target, 'ResTarget')?.['val']);
    return (
      value?.tag === 'ColumnRef' &&
      listOf(value.fields['fields']).some((part) => nodeOf(part)?.tag === 'A_Star')
    );
  });
}
