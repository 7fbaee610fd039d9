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

/** Of `=` it can't be told whether it assigns. */
const EQUALITY = 'SELECT 1 = 1';

/** Words before a parenthesis that call nothing. */
const NO_CALLS = new Set(
  (
    'ALL AND ANY ARRAY AS ASSERT BY CASE CAST COALESCE CONFLICT DISTINCT ELSE ELSIF EXCEPT EXISTS EXTRACT FILTER FROM ' +
    'GREATEST GROUP GROUPING HAVING IF IN INSERT INTERSECT INTO IS JOIN LATERAL LEAST LIKE LIMIT NEXT NOT NULLIF OF OFFSET ' +
    'ON OR ORDER OVER OVERLAPS OVERLAY PARTITION PERFORM POSITION QUERY RETURN RETURNING ROW ROWS SELECT SET SOME SUBSTRING ' +
    'THEN TRIM UNION USING VALUES WHEN WHERE WHILE WITH WITHIN'
  ).split(' '),
);
const STATEMENT_WORDS = /^(?:SELECT|INSERT|UPDATE|DELETE|MERGE|PERFORM|TABLE|VALUES)$/;
/** What the language itself is written with; everything else is part of an expression. */
const STRUCTURE = new Set([':=', '=', '..']);

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
  return hiding.length === 0 && isComplete(body, queries, types)
    ? { statements: [...statements, EQUALITY], types }
    : undefined;
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
 * Guards against a tree that leaves something out (libpg-query does so with the defaults of some variables): every call
 * that the body shows must have come up in what was taken from it, and just as many statements and operators.
 */
function isComplete(body: string, queries: readonly string[], types: readonly string[]): boolean {
  const there = contentsOf([body]);
  const taken = contentsOf(queries);
  const declared = contentsOf(types);
  for (const call of there.calls) if (!taken.calls.has(call) && !declared.calls.has(call)) return false;
  if (taken.statements !== there.statements) return false;
  for (const symbol of new Set([...there.symbols.keys(), ...taken.symbols.keys()])) {
    const left = count(there.symbols, symbol) - count(taken.symbols, symbol);
    if (left < 0) return false;
    if (!STRUCTURE.has(symbol) && left > count(declared.symbols, symbol)) return false;
  }
  return true;
}

interface Contents {
  /** What stands before an opening parenthesis, in capitals. */
  readonly calls: ReadonlySet<string>;
  readonly statements: number;
  /** How often each character of an operator occurs; `:=` and `..` count as one. */
  readonly symbols: ReadonlyMap<string, number>;
}

function contentsOf(texts: readonly string[]): Contents {
  const calls = new Set<string>();
  const symbols = new Map<string, number>();
  let statements = 0;
  for (const text of texts) {
    let last = '';
    let symbolEnd = 0;
    for (const { kind, start, end } of tokens(text)) {
      if (kind === 'open' && last !== '') calls.add(last);
      last = '';
      const piece = upperCased(text.slice(start, end));
      if (kind === 'word' && STATEMENT_WORDS.test(piece)) statements += 1;
      if ((kind === 'word' && !NO_CALLS.has(piece)) || kind === 'quoted-identifier') last = piece;
      if (kind !== 'symbol' || symbolEnd > start) continue;
      const pair = text.slice(start, start + 2);
      const symbol = STRUCTURE.has(pair) ? pair : piece;
      symbols.set(symbol, count(symbols, symbol) + 1);
      symbolEnd = start + symbol.length;
    }
  }
  return { calls, statements, symbols };
}

function count(symbols: ReadonlyMap<string, number>, symbol: string): number {
  return symbols.get(symbol) ?? 0;
}
