import { tokens } from './lexer.ts';
import { upperCased } from './leading-keywords.ts';
import { parsePlpgsql } from './parser.ts';
import { isFields, listOf, nodeOf, textOf, visitNodes } from './syntax-tree.ts';

/** A function in PL/pgSQL, taken apart into the SQL that it runs. */
export interface PlpgsqlBody {
  /** Statements as such, expressions as `SELECT …`. */
  readonly statements: readonly string[];
  /** Names of types as they are declared, `table%ROWTYPE` and the like among them. */
  readonly types: readonly string[];
}

/** What only leads from one statement or expression to the next. Everything else hides what it does. */
const TRANSPARENT = new Set(
  (
    'function rec var row recfield type expr stmt_block stmt_assign stmt_if if_elsif stmt_case case_when stmt_loop ' +
    'stmt_while stmt_fori stmt_fors stmt_foreach_a stmt_exit stmt_return stmt_return_next stmt_return_query stmt_raise ' +
    'raise_option stmt_assert stmt_execsql stmt_perform stmt_getdiag diag_item exception_block exception condition'
  )
    .split(' ')
    .map((name) => `PLpgSQL_${name}`),
);
/** Nodes without a tag: the variables that INTO fills. */
const UNTAGGED = 'PLpgSQL_row.fields';
/** `parse_mode` of an expression (RawParseMode): a whole statement, an expression, and assignments from 3 on. */
const STATEMENT = 0;
const EXPRESSION = 2;

/** Words before a parenthesis that call nothing. */
const NO_CALLS = new Set(
  (
    'ALL AND ANY ARRAY AS ASSERT BY CASE CAST COALESCE CONFLICT DISTINCT ELSE ELSIF EXCEPT EXISTS EXTRACT FILTER FROM ' +
    'GREATEST GROUP GROUPING HAVING IF IN INSERT INTERSECT INTO IS JOIN LATERAL LEAST LIKE LIMIT NEXT NOT NULLIF OF OFFSET ' +
    'ON OR ORDER OVER OVERLAPS OVERLAY PARTITION PERFORM POSITION QUERY RETURN RETURNING ROW ROWS SELECT SET SOME SUBSTRING ' +
    'THEN TRIM UNION USING VALUES WHEN WHERE WHILE WITH WITHIN'
  ).split(' '),
);
const RUNS = /^(?:SELECT|INSERT|UPDATE|DELETE|MERGE|PERFORM|TABLE|VALUES)$/;

/**
 * Takes a CREATE FUNCTION … LANGUAGE plpgsql apart. `undefined` if it does anything that does not show: EXECUTE, cursors
 * that are opened, CALL, COMMIT, or anything that the parser does not understand.
 */
export function plpgsqlBody(definition: string, body: string): PlpgsqlBody | undefined {
  const tree = parsePlpgsql(definition);
  if (!isFields(tree)) return undefined;
  const queries: string[] = [];
  const statements: string[] = [];
  const types: string[] = [];
  const hiding: string[] = [];
  for (const root of listOf(tree['plpgsql_funcs'])) {
    if (nodeOf(root) === undefined) return undefined;
    visitNodes(root, ({ tag, fields }) => {
      if (!(TRANSPARENT.has(tag) || tag === UNTAGGED) || fields['dynquery'] !== undefined) hiding.push(tag);
      if (tag === 'PLpgSQL_type') types.push(textOf(fields['typname']) ?? '');
      if (tag === 'PLpgSQL_expr') {
        const query = textOf(fields['query']) ?? '';
        queries.push(query);
        statements.push(...statementsOf(query, fields['parseMode']));
      }
      return undefined;
    });
  }
  return hiding.length === 0 && isComplete(body, queries, types) ? { statements, types } : undefined;
}

function statementsOf(query: string, mode: unknown): readonly string[] {
  if (mode === STATEMENT) return [query];
  if (mode === EXPRESSION) return [`SELECT ${query}`];
  // `target := expression`: the subscripts of a target are expressions as well.
  let depth = 0;
  for (const { kind, start, end } of tokens(query)) {
    const piece = query.slice(start, end);
    if (kind === 'open' || piece === '[') depth += 1;
    if (kind === 'close' || piece === ']') depth -= 1;
    if (piece !== '=' || depth > 0) continue;
    const target = query.slice(0, start).replace(/:$/, '');
    return [`SELECT ${query.slice(end)}`, ...(target.includes('[') ? [`SELECT ${target}`] : [])];
  }
  return [query];
}

/**
 * Guards against a tree that leaves something out: every call that the body's words show must have come up in what was
 * taken from it, and just as many statements.
 */
function isComplete(body: string, queries: readonly string[], types: readonly string[]): boolean {
  const there = countWords(body);
  const taken = queries.map((query) => countWords(query));
  const calls = new Set(
    [...taken, ...types.map((type) => countWords(type))].flatMap((counted) => [...counted.calls]),
  );
  for (const call of there.calls) if (!calls.has(call)) return false;
  return taken.reduce((sum, { runs }) => sum + runs, 0) === there.runs;
}

function countWords(text: string): { readonly calls: ReadonlySet<string>; readonly runs: number } {
  const calls = new Set<string>();
  let runs = 0;
  let last = '';
  for (const { kind, start, end } of tokens(text)) {
    if (kind === 'open' && last !== '') calls.add(last);
    last = '';
    if (kind !== 'word' && kind !== 'quoted-identifier') continue;
    const word = upperCased(text.slice(start, end));
    if (kind === 'word' && RUNS.test(word)) runs += 1;
    if (!NO_CALLS.has(word)) last = word;
  }
  return { calls, runs };
}
