import { parse } from '../sql/parser.ts';
import { isFields } from '../sql/syntax-tree.ts';

/** Writes syntax trees as SQL (pgsql-deparser, from the makers of the grammar). Loaded only when something is pinned. */

type Deparse = (tree: unknown, options: { readonly pretty: boolean }) => string;

let deparse: Deparse | undefined;

export async function loadDeparser(): Promise<void> {
  deparse ??= (await import('pgsql-deparser')).deparseSync as unknown as Deparse;
}

/**
 * The SQL of one statement. Null if it can't be written: what is written must be read by PostgreSQL's own grammar as the
 * very tree that was meant, so that an error of the deparser never reaches a server.
 */
export function writeStatement(tree: unknown): string | null {
  if (deparse === undefined) return null;
  let text: string;
  try {
    text = deparse(tree, { pretty: false });
  } catch {
    return null;
  }
  const outcome = parse(text);
  if (outcome.kind === 'not-understood' || outcome.statements.length !== 1) return null;
  return isSameTree(outcome.statements[0], tree) ? text : null;
}

/** Where something stands in its text is no part of what it means. */
const PLACES: ReadonlySet<string> = new Set([
  'location',
  'list_start',
  'list_end',
  'rexpr_list_start',
  'rexpr_list_end',
]);

/** True if two trees mean the same: where something stands in its text does not count. */
export function isSameTree(one: unknown, other: unknown): boolean {
  if (Array.isArray(one)) {
    return (
      Array.isArray(other) &&
      one.length === other.length &&
      one.every((item, index) => isSameTree(item, other[index]))
    );
  }
  if (!isFields(one)) return one === other;
  if (!isFields(other)) return false;
  const names = (value: object): readonly string[] => Object.keys(value).filter((name) => !PLACES.has(name));
  const mine = names(one);
  return mine.length === names(other).length && mine.every((name) => isSameTree(one[name], other[name]));
}
