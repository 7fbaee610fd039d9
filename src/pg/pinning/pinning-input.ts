import type { GivenAnswer } from './given-answer.ts';
import type { PinnedValues } from './sql-nodes.ts';
import type { TableFacts } from './table-facts.ts';
import type { TransactionConstants } from './transaction-constants.ts';
import type { WireParameter } from './wire-statement.ts';

/** Values that were drawn from a sequence, and seen. */
export interface DrawnValues {
  /** Object identifier of the sequence, or its name as the statement has it. */
  readonly sequence: number | string;
  readonly values: readonly bigint[];
}

export interface PinningInput {
  /** The statement's syntax tree, which is changed. */
  readonly tree: unknown;
  readonly parameters: readonly WireParameter[];
  /** Null if it was not kept. */
  readonly answer: GivenAnswer | null;
  /** The table that is written, if there is one and it is found. */
  readonly table: TableFacts | null;
  readonly constants: TransactionConstants;
  readonly values: PinnedValues;
}

export interface StatementPins {
  /** The tree was changed. */
  readonly isPinned: boolean;
  /** Why some of what differs when it runs again can't be pinned; null if there is nothing. */
  readonly reason: string | null;
  readonly drawn: readonly DrawnValues[];
  /** The last value of each is what currval gave behind it. */
  readonly givesCurrent: boolean;
  /** Sequences that it draws from itself when it runs. */
  readonly drawsFrom: readonly (number | string)[];
}

export const NOTHING_TO_PIN: StatementPins = {
  isPinned: false,
  reason: null,
  drawn: [],
  givesCurrent: true,
  drawsFrom: [],
};

export function unpinned(reason: string): StatementPins {
  return { ...NOTHING_TO_PIN, reason };
}
