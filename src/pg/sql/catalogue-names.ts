import type { SqlRow, SqlRunner } from '../sql-runner.ts';
import { arrayLiteral } from './array-literal.ts';
import type { NodeKey } from './catalogue-node.ts';
import { isMade } from './catalogue-node.ts';
import type { Problem } from './catalogue-problem.ts';
import { builtInProblem, problem } from './catalogue-problem.ts';
import { NAMES, NAMESPACES } from './catalogue-queries.ts';
import type { ReferencedNames } from './referenced-names.ts';
import type { SearchPath } from './search-path.ts';

/** One name of a statement, in one use. `attribute` is `table.name`, `arity` the number of a function's arguments. */
export interface NameItem {
  readonly use: 'read' | 'insert' | 'modify' | 'function' | 'attribute' | 'operator' | 'type';
  readonly schema: string | null;
  readonly name: string;
  readonly arity: number;
  /** Nothing of that name need exist. */
  readonly optional: boolean;
}

/** What a name may stand for: the objects behind it, and what is said against it already. */
export interface ResolvedName {
  readonly roots: readonly NodeKey[];
  readonly problems: readonly Problem[];
  readonly loadedAtMillis: number;
}

/** As the `NamesQuery` of `catalogue-queries.ts` gives them. */
interface NameRow {
  readonly what: string;
  readonly oid: string;
  readonly namespace: string;
  readonly name: string;
  readonly details: SqlRow;
}

interface Namespace {
  readonly oid: string;
  /** There is a role of that name, so that the schema is the `"$user"` of somebody. */
  readonly isUser: boolean;
}

const PG_CATALOG = 'pg_catalog';
const WHATS: Readonly<Record<NameItem['use'], NameRow['what']>> = {
  read: 'relation',
  insert: 'relation',
  modify: 'relation',
  function: 'function',
  attribute: 'attribute',
  operator: 'operator',
  type: 'type',
};

/** The names of a statement as items, each once. */
export function nameItemsOf(names: ReferencedNames): readonly NameItem[] {
  const plain = { arity: 0, optional: true };
  return [
    ...names.read.map((relation) => ({ ...relation, use: 'read' as const, arity: 0 })),
    ...names.written.map(({ schema, name, mode }) => ({
      schema,
      name,
      use: mode,
      arity: 0,
      optional: false,
    })),
    ...names.functions.map((named) => ({ ...named, use: 'function' as const })),
    ...names.operators.map((operator) => ({ ...operator, ...plain, use: 'operator' as const })),
    ...names.types.map((type) => ({ ...type, ...plain, use: 'type' as const })),
    ...names.attributes.map((name) => ({
      ...plain,
      schema: null,
      name,
      arity: 1,
      use: 'attribute' as const,
    })),
  ];
}

/** Identifies an item among those of one search_path. */
export function itemKey({ use, schema, name, arity, optional }: NameItem): string {
  return JSON.stringify([use, schema, name, arity, optional]);
}

/**
 * Looks up names as the server would, or wider. Where a name could be found in several schemas of the path, all are
 * taken: which comes first depends on what the role may use, and the answer is for all roles. So `"$user"` stands for
 * every schema that is called like some role. Temporary objects are not found; whoever has any must not ask.
 */
export async function resolveNames(
  items: readonly NameItem[],
  path: SearchPath,
  runner: SqlRunner,
  nowMillis: number,
): Promise<ReadonlyMap<string, ResolvedName>> {
  const explicit = items.flatMap(({ schema }) => schema ?? []);
  const namespaces = await askNamespaces(
    [PG_CATALOG, ...path.schemas, ...explicit],
    path.includesUser,
    runner,
  );
  const inPath = new Set<string>();
  for (const [name, { oid, isUser }] of namespaces) {
    if (name === PG_CATALOG || path.schemas.includes(name) || (isUser && path.includesUser)) inPath.add(oid);
  }
  const rows = await askNames(items, [...namespaces.values()], runner);
  const resolved = new Map<string, ResolvedName>();
  for (const item of items) {
    const allowed = item.schema === null ? inPath : new Set([namespaces.get(item.schema)?.oid ?? '']);
    const found = rows.filter(({ name, namespace }) => name === item.name && allowed.has(namespace));
    resolved.set(itemKey(item), { ...resolve(item, found), loadedAtMillis: nowMillis });
  }
  return resolved;
}

async function askNamespaces(
  names: readonly string[],
  withUsers: boolean,
  runner: SqlRunner,
): Promise<ReadonlyMap<string, Namespace>> {
  const rows = await runner.run(NAMESPACES, [arrayLiteral([...new Set(names)]), String(withUsers)]);
  return new Map(
    rows.map(([oid, name, isUser]) => [name ?? '', { oid: oid ?? '', isUser: isUser === 'true' }]),
  );
}

async function askNames(
  items: readonly NameItem[],
  namespaces: readonly Namespace[],
  runner: SqlRunner,
): Promise<readonly NameRow[]> {
  const named = (...uses: readonly NameItem['use'][]): string =>
    arrayLiteral([...new Set(items.filter(({ use }) => uses.includes(use)).map(({ name }) => name))]);
  const types = items.filter((item) => item.use === 'type' || isLikeACast(item)).map(({ name }) => name);
  const rows = await runner.run(NAMES, [
    arrayLiteral(namespaces.map(({ oid }) => oid)),
    named('read', 'insert', 'modify'),
    named('function'),
    named('attribute'),
    named('operator'),
    arrayLiteral([...new Set(types)]),
  ]);
  return rows.map(([what, oid, namespace, name, ...details]) => ({
    what: what ?? '',
    oid: oid ?? '',
    namespace: namespace ?? '',
    name: name ?? '',
    details,
  }));
}

/** `name(x)` is a cast if there is a type of that name. */
function isLikeACast({ use, arity }: NameItem): boolean {
  return use === 'function' && arity === 1;
}

function resolve(item: NameItem, found: readonly NameRow[]): Omit<ResolvedName, 'loadedAtMillis'> {
  const roots: NodeKey[] = [];
  const problems: Problem[] = [];
  let candidates = 0;
  for (const row of found) {
    if (row.what === 'type' && isLikeACast(item)) {
      candidates += 1;
      roots.push(`type:${row.oid}`);
    }
    if (row.what !== WHATS[item.use]) continue;
    if (!takes(row, item)) continue;
    candidates += 1;
    candidate(item, row, roots, problems);
  }
  if (item.schema?.startsWith('pg_temp') === true) problems.push(problem(`${describe(item)} is temporary`));
  else if (candidates === 0 && !item.optional)
    problems.push(problem(`${describe(item)} is not found`, 'unseen'));
  return { roots, problems };
}

/** Relations, operators and types are told apart by their names only. */
function takes({ what, details: [most, defaults, variadic] }: NameRow, { arity }: NameItem): boolean {
  if (what !== 'function' && what !== 'attribute') return true;
  const fewest = Number(most) - Number(defaults);
  return fewest <= arity && (arity <= Number(most) || variadic === 'true');
}

function candidate(item: NameItem, row: NameRow, roots: NodeKey[], problems: Problem[]): void {
  const { oid, details } = row;
  switch (item.use) {
    case 'read':
    case 'insert':
    case 'modify': {
      const [kind, persistence, hasMoreBehind] = details;
      if (persistence === 't') problems.push(problem(`${describe(item)} is temporary`));
      // A plain table of built-in types is all that there is to it.
      const isPlain = hasMoreBehind === 'false' && (kind === 'r' || kind === 'm');
      if (!isPlain) roots.push(`read:${oid}`);
      if (item.use !== 'read') roots.push(`${item.use}:${oid}`);
      break;
    }
    case 'function':
    case 'attribute': {
      const found = isMade(oid) ? undefined : builtInProblem(item.name, details[3] ?? '', true);
      if (found !== undefined) problems.push(found);
      if (isMade(oid)) roots.push(`call:${oid}`);
      break;
    }
    case 'operator':
    case 'type':
      roots.push(`${item.use}:${oid}`);
      break;
  }
}

function describe({ use, schema, name }: NameItem): string {
  const kind = use === 'read' || use === 'insert' || use === 'modify' ? 'relation' : use;
  return `the ${kind} ${schema === null ? '' : `${schema}.`}${name}`;
}
