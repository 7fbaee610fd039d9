import {
  fieldsOf,
  isFields,
  listOf,
  namesOf,
  nodeOf,
  textOf,
  visitNodes,
  type Fields,
} from '../sql/syntax-tree.ts';

/**
 * Functions whose values differ when a statement runs again.
 *
 * Only what makes a value and does nothing else may be left out of a replay: a function that somebody has made may also
 * write, so a statement that calls one runs as it is.
 */

function words(...lists: string[]): ReadonlySet<string> {
  return new Set(lists.flatMap((list) => list.split(' ')));
}

/** The time at which the transaction began; of these the value is the same in all statements of one transaction (A9). */
export const TRANSACTION_TIME = words('now transaction_timestamp');
/** What else is the same for a whole transaction: its identifier, and its server process. */
export const TRANSACTION_IDENTITY = words('txid_current pg_current_xact_id pg_backend_pid');
/** Of SQLValueFunction: keywords with the time in them. */
const TIME_KEYWORD = /^SVFOP_(?:CURRENT_(?:DATE|TIME|TIMESTAMP)|LOCALTIME|LOCALTIMESTAMP)/;
const TIME_WORD = /^(?:now|today|tomorrow|yesterday|allballs)$/i;

const MADE = words(
  'random random_normal clock_timestamp statement_timestamp timeofday',
  'gen_random_uuid uuidv4 uuidv7 uuid_generate_v1 uuid_generate_v1mc uuid_generate_v4 gen_random_bytes',
);
const SEQUENCE = words('nextval currval lastval');
/** Compute, and have no effect: what they are given may be left out of a replay together with them. */
const COMPUTES = words(
  'abs btrim ceil ceiling char_length concat concat_ws convert_to date_part date_trunc decode digest encode extract floor',
  'format initcap justify_days justify_hours justify_interval left length lower lpad ltrim make_date make_interval',
  'make_time make_timestamp make_timestamptz md5 mod nullif position power replace reverse right round rpad rtrim sha224',
  'sha256 sha384 sha512 split_part sqrt strpos substr substring timezone to_char to_hex to_timestamp translate trunc upper',
  'jsonb_build_object json_build_object to_json to_jsonb array_to_string array_append uuid_send int8 int4 text',
);

/** What an expression calls. */
export interface ExpressionFacts {
  /** Transaction time or identity. */
  readonly isConstant: boolean;
  /** Something that is new at each call, or for each statement. */
  readonly isMade: boolean;
  /** nextval, other than as the expression itself: how far to move the sequence can't be seen from the value. */
  readonly hasNextval: boolean;
  /** currval or lastval. */
  readonly hasCurrval: boolean;
  /** A function that may do more than make a value, or a subquery. Null if there is none. */
  readonly unseen: string | null;
}

export const CALLS_NOTHING: ExpressionFacts = {
  isConstant: false,
  isMade: false,
  hasNextval: false,
  hasCurrval: false,
  unseen: null,
};

/** Name of the function that a FuncCall calls, without its schema. */
export function calledName(call: Fields): string {
  return namesOf(call['funcname']).at(-1) ?? '';
}

export function expressionFacts(expression: unknown): ExpressionFacts {
  let facts: ExpressionFacts = CALLS_NOTHING;
  visitNodes(expression, ({ tag, fields }) => {
    switch (tag) {
      case 'FuncCall':
        facts = withCall(facts, fields);
        break;
      case 'SQLValueFunction':
        if (TIME_KEYWORD.test(textOf(fields['op']) ?? '')) facts = { ...facts, isConstant: true };
        break;
      case 'TypeCast':
        if (isTimeWord(fields)) facts = { ...facts, isConstant: true };
        break;
      case 'SubLink':
        facts = { ...facts, unseen: facts.unseen ?? 'it holds a subquery' };
        break;
      default:
        break;
    }
    return undefined;
  });
  return facts;
}

function withCall(facts: ExpressionFacts, call: Fields): ExpressionFacts {
  const name = calledName(call);
  if (TRANSACTION_TIME.has(name) || TRANSACTION_IDENTITY.has(name)) return { ...facts, isConstant: true };
  if (MADE.has(name)) return { ...facts, isMade: true };
  if (SEQUENCE.has(name)) {
    return name === 'nextval' ? { ...facts, hasNextval: true } : { ...facts, hasCurrval: true };
  }
  if (COMPUTES.has(name)) return facts;
  return { ...facts, unseen: facts.unseen ?? `it calls the function ${name}` };
}

/** `'now'::timestamptz` is read once, when the statement is. */
function isTimeWord(cast: Fields): boolean {
  const literal = fieldsOf(fieldsOf(cast['arg'], 'A_Const')?.['sval'], 'String');
  return TIME_WORD.test(textOf(literal?.['sval']) ?? '') && nodeOf(cast['arg'])?.tag === 'A_Const';
}

/** The call of nextval that an expression consists of, but for casts; undefined if it is something else. */
export function nextvalOf(expression: unknown): Fields | undefined {
  let node = nodeOf(expression);
  while (node?.tag === 'TypeCast') node = nodeOf(node.fields['arg']);
  return node?.tag === 'FuncCall' && calledName(node.fields) === 'nextval' ? node.fields : undefined;
}

/** True if the value of an expression is the time of the transaction itself, at most cast to another type of time. */
export function isTransactionTime(expression: unknown): boolean {
  let node = nodeOf(expression);
  while (node?.tag === 'TypeCast') node = nodeOf(node.fields['arg']);
  if (node?.tag === 'FuncCall') return TRANSACTION_TIME.has(calledName(node.fields));
  return (
    node?.tag === 'SQLValueFunction' &&
    /^SVFOP_(?:CURRENT|LOCAL)_?TIMESTAMP/.test(textOf(node.fields['op']) ?? '')
  );
}

/** Texts (of a sequence's name) that a call is given as a literal; null for anything else. */
export function literalArgument(call: Fields): string | null {
  let node = nodeOf(listOf(call['args'])[0]);
  while (node?.tag === 'TypeCast') node = nodeOf(node.fields['arg']);
  if (node?.tag !== 'A_Const') return null;
  return textOf(fieldsOf(node.fields['sval'], 'String')?.['sval']) ?? null;
}

/** Number of the parameter that a call is given; null for anything else. */
export function parameterArgument(call: Fields): number | null {
  let node = nodeOf(listOf(call['args'])[0]);
  while (node?.tag === 'TypeCast') node = nodeOf(node.fields['arg']);
  return node?.tag === 'ParamRef' && typeof node.fields['number'] === 'number' ? node.fields['number'] : null;
}

/**
 * Replaces nodes anywhere below `root`, in place. What `replacement` answers undefined for is entered, what it puts in is
 * not.
 */
export function replaceNodes(root: unknown, replacement: (tag: string, fields: Fields) => unknown): void {
  const pending: unknown[] = [root];
  for (let value = pending.pop(); value !== undefined; value = pending.pop()) {
    if (typeof value !== 'object' || value === null) continue;
    const holder = value as Record<string, unknown>;
    for (const [key, child] of Object.entries(holder)) {
      const node = isFields(child) ? nodeOf(child) : undefined;
      const put = node === undefined ? undefined : replacement(node.tag, node.fields);
      if (put !== undefined) holder[key] = put;
      else pending.push(child);
    }
  }
}
