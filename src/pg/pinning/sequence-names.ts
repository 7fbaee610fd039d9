import { visitNodes, type Fields } from '../sql/syntax-tree.ts';
import { calledName, literalArgument, parameterArgument } from './made-values.ts';
import type { WireParameter } from './wire-statement.ts';

/** The sequence that a call of nextval or currval names, as a literal or a parameter in text form. Null if neither. */
export function sequenceNamed(call: Fields, parameters: readonly WireParameter[]): string | null {
  const literal = literalArgument(call);
  if (literal !== null) return literal;
  const number = parameterArgument(call);
  const parameter = number === null ? undefined : parameters[number - 1];
  return parameter === undefined || parameter.value === null || parameter.format !== 0
    ? null
    : parameter.value.toString('utf8');
}

/** All sequences that a statement names. */
export function namedSequences(tree: unknown, parameters: readonly WireParameter[]): readonly string[] {
  const names = new Set<string>();
  visitNodes(tree, ({ tag, fields }) => {
    if (tag === 'FuncCall' && /^(?:nextval|currval)$/.test(calledName(fields))) {
      const name = sequenceNamed(fields, parameters);
      if (name !== null) names.add(name);
    }
    return undefined;
  });
  return [...names];
}
