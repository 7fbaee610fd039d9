import { parse } from '../sql/parser.ts';
import { fieldsOf, listOf } from '../sql/syntax-tree.ts';
import type { GivenValue } from './given-answer.ts';
import type { WireParameter } from './wire-statement.ts';

/** New nodes of syntax trees, as the grammar itself makes them. */

export function stringNode(text: string): unknown {
  return { String: { sval: text } };
}

export function columnNode(...names: readonly string[]): unknown {
  return { ColumnRef: { fields: names.map(stringNode) } };
}

export function assignment(name: string, value: unknown): unknown {
  return value === undefined ? { ResTarget: { name } } : { ResTarget: { name, val: value } };
}

/** An expression from its SQL. Throws if that does not parse: it is the driver's own, or the server's. */
export function expressionNode(sql: string): unknown {
  const outcome = parse(`SELECT ${sql}`);
  const select = outcome.kind === 'parsed' ? fieldsOf(outcome.statements[0], 'SelectStmt') : undefined;
  const value = fieldsOf(listOf(select?.['targetList'])[0], 'ResTarget')?.['val'];
  if (value === undefined) throw new SyntaxError('an expression of the catalogue does not parse');
  return value;
}

/** `type` as format_type gives it. */
export function castNode(value: unknown, type: string): unknown {
  const cast = fieldsOf(expressionNode(`CAST(NULL AS ${type})`), 'TypeCast')!;
  return { TypeCast: { ...cast, arg: value } };
}

/**
 * Values that are put into a statement: text as literals, binary ones as more parameters behind the statement's own, so
 * that no value is ever converted here.
 */
export class PinnedValues {
  readonly #own: number;
  readonly parameters: WireParameter[] = [];
  readonly types: number[] = [];

  /** @param own - how many parameters the statement has */
  constructor(own: number) {
    this.#own = own;
  }

  /** Takes back all parameters but the first `count` of those that were added. */
  forgetBehind(count: number): void {
    this.parameters.length = count;
    this.types.length = count;
  }

  /** One value as an expression of this type. */
  node(value: GivenValue, format: number, typeOid: number, type: string): unknown {
    return castNode(this.#bare(value, format, typeOid), type);
  }

  #bare(value: GivenValue, format: number, typeOid: number): unknown {
    if (value === null) return { A_Const: { isnull: true } };
    if (format === 0) return { A_Const: { sval: { sval: value.toString('utf8') } } };
    this.parameters.push({ value, format });
    this.types.push(typeOid);
    return { ParamRef: { number: this.#own + this.parameters.length } };
  }
}
