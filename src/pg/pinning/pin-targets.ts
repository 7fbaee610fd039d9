import { fieldsOf, listOf, nodeOf, textOf, type Fields } from '../sql/syntax-tree.ts';
import {
  givenWidth,
  integerOf,
  type GivenAnswer,
  type GivenColumn,
  type GivenValue,
} from './given-answer.ts';
import {
  calledName,
  expressionFacts,
  nextvalOf,
  TRANSACTION_IDENTITY,
  isTransactionTime,
} from './made-values.ts';
import { NOTHING_TO_PIN, type DrawnValues, type PinningInput, type StatementPins } from './pinning-input.ts';
import { sequenceNamed } from './sequence-names.ts';
import type { TransactionConstants } from './transaction-constants.ts';

/**
 * Types of what the functions of `made-values.ts` give, and their casts. Of another type nothing is pinned in a list of
 * expressions: what it is called on the server is not known without asking.
 */
const TYPES: ReadonlyMap<number, string> = new Map([
  [16, 'bool'], [17, 'bytea'], [20, 'int8'], [21, 'int2'], [23, 'int4'], [25, 'text'], [114, 'json'], [700, 'float4'],
  [701, 'float8'], [1042, 'bpchar'], [1043, 'varchar'], [1082, 'date'], [1083, 'time'], [1114, 'timestamp'],
  [1184, 'timestamptz'], [1186, 'interval'], [1266, 'timetz'], [1700, 'numeric'], [2950, 'uuid'], [3802, 'jsonb'],
  [5069, 'xid8'],
]); // prettier-ignore

const TEXT = 25;
const TIMESTAMPTZ = 1184;

/** The expressions of a list that stand for one column each, with its number; none if the list holds a star. */
export function plainTargets(
  list: unknown,
  answer: GivenAnswer | null,
): readonly (readonly [Fields, number])[] {
  const targets = listOf(list);
  if (answer?.columns == null || givenWidth(answer.columns) !== targets.length) return [];
  return targets.map((target, index) => [fieldsOf(target, 'ResTarget') ?? {}, index] as const);
}

/** Notes what an application was shown of its transaction's time and identity. */
export function noteConstants(
  list: unknown,
  answer: GivenAnswer | null,
  constants: TransactionConstants,
): void {
  const value = answer?.rows[0];
  if (value === undefined || answer?.columns == null) return;
  const targets = plainTargets(list, answer);
  if (targets.length === 0 && listOf(list).some((target) => expressionFacts(valueOf(target)).isConstant)) {
    constants.sawPart();
  }
  for (const [target, index] of targets) {
    const expression = target['val'];
    if (!expressionFacts(expression).isConstant) continue;
    const column = answer.columns[index]!;
    const call = nodeOf(expression);
    const name = call?.tag === 'FuncCall' ? calledName(call.fields) : '';
    const asText = timeAsText(expression, column);
    if (asText !== null) constants.sawTime(value[index] ?? null, asText);
    else if (isTransactionTime(expression)) constants.sawTime(value[index] ?? null, column);
    else if (TRANSACTION_IDENTITY.has(name)) constants.sawIdentity(name, value[index] ?? null, column);
    else constants.sawPart();
  }
}

/** `now()::text`: its whole value, in the session's own style. */
function timeAsText(expression: unknown, column: GivenColumn): GivenColumn | null {
  const cast = nodeOf(expression);
  const arg = cast?.tag === 'TypeCast' ? nodeOf(cast.fields['arg']) : undefined;
  const isWhole =
    arg !== undefined &&
    isTransactionTime({ [arg.tag]: arg.fields }) &&
    arg.tag !== 'TypeCast' &&
    (arg.tag === 'FuncCall' || arg.fields['op'] === 'SVFOP_CURRENT_TIMESTAMP');
  const isText = column.typeOid === TEXT && column.format === 0;
  return isWhole && isText ? { ...column, typeOid: TIMESTAMPTZ, typeModifier: -1 } : null;
}

function valueOf(target: unknown): unknown {
  return fieldsOf(target, 'ResTarget')?.['val'];
}

/**
 * Puts the values that were seen in the place of expressions of a list that make new ones. What is the same for a whole
 * statement, or was drawn once, can be put in; of what differs from row to row nobody knows which row is which.
 */
export function pinTargets(list: unknown, input: PinningInput, mayDraw: boolean): StatementPins {
  const { answer, values, parameters } = input;
  const drawn: DrawnValues[] = [];
  let isPinned = false;
  let reason: string | null = null;
  if (answer?.columns == null || answer.rows.length === 0) return NOTHING_TO_PIN;
  for (const [target, index] of plainTargets(list, answer)) {
    const facts = expressionFacts(target['val']);
    if (!facts.isMade && !facts.isConstant && !facts.hasNextval) {
      if (facts.unseen !== null && facts.unseen.startsWith('it calls')) reason ??= facts.unseen;
      continue;
    }
    const column = answer.columns[index]!;
    const type = TYPES.get(column.typeOid);
    const value = sameValue(answer, index);
    const call = nextvalOf(target['val']);
    if (facts.unseen !== null) reason ??= facts.unseen;
    else if (value === undefined) reason ??= 'a value differs from row to row';
    else if (type === undefined) reason ??= 'a value has a type that is not known here';
    else if (
      facts.hasNextval &&
      (call === undefined || !mayDraw || answer.rows.length !== 1 || answer.tag === null)
    ) {
      reason ??= 'nextval is called for rows of a table, or in an expression';
    } else {
      if (call !== undefined) {
        const sequence = sequenceNamed(call, parameters);
        const number = integerOf(value, column);
        if (sequence === null || number === null) {
          reason ??= 'the sequence of a nextval is not known';
          continue;
        }
        drawn.push({ sequence, values: [number] });
      }
      const holder = target as Record<string, unknown>;
      holder['name'] = textOf(holder['name']) ?? column.name;
      holder['val'] = values.node(value, column.format, column.typeOid, type);
      isPinned = true;
    }
  }
  return isPinned || reason !== null ? { ...NOTHING_TO_PIN, isPinned, reason, drawn } : NOTHING_TO_PIN;
}

/** The value of a column if it is the same in all rows. */
export function sameValue(answer: GivenAnswer, index: number): GivenValue | undefined {
  const first = answer.rows[0]?.[index] ?? null;
  const isSame = answer.rows.every((row) => {
    const value = row[index] ?? null;
    return value === null || first === null ? value === first : value.equals(first);
  });
  return isSame ? first : undefined;
}

/** The same of a RETURNING list, added to what was pinned of its statement. */
export function pinReturned(statement: Fields, pins: StatementPins, input: PinningInput): StatementPins {
  const returning = fieldsOf(statement['returningClause'], 'ReturningClause');
  if (returning === undefined) return pins;
  const returned = pinTargets(returning['exprs'], input, false);
  return {
    ...pins,
    isPinned: pins.isPinned || returned.isPinned,
    reason: pins.reason ?? returned.reason,
  };
}
