/**
 * T-SQL as tokens, as far as it takes to tell keywords from what only looks like them. It never fails: what is not closed
 * goes to the end.
 */
export type Token =
  /** A keyword or an unquoted name, in upper case. */
  | { readonly kind: 'word'; readonly text: string; readonly start: number; readonly end: number }
  /** [name] or "name", or a string in quotes where QUOTED_IDENTIFIER is off. */
  | { readonly kind: 'quoted'; readonly start: number; readonly end: number }
  /** 'text' or N'text'. */
  | { readonly kind: 'string'; readonly start: number; readonly end: number }
  | { readonly kind: 'number'; readonly start: number; readonly end: number }
  /** `@name` or `@@NAME`, in upper case. */
  | { readonly kind: 'variable'; readonly text: string; readonly start: number; readonly end: number }
  /** A comment of one line in which something stands that another reader may take for the end of the line. */
  | { readonly kind: 'unsure'; readonly start: number; readonly end: number }
  /** One character. */
  | { readonly kind: 'symbol'; readonly text: string; readonly start: number; readonly end: number };

const SPACE = /\s/;
const UNSURE_LINE_END = /\r(?!\n)|[\u0085\u2028\u2029]/;
/** What a name begins with (SQL Server, "Database identifiers"); # is a temporary table. */
const NAME_START = /[\p{L}_#]/u;
const NAME_PART = /[\p{L}\p{N}_@$#]/u;
const DIGIT = /[0-9]/;
const NUMBER_PART = /[0-9a-zA-Z.]/;

export function tokenize(sql: string): readonly Token[] {
  const tokens: Token[] = [];
  let at = 0;
  while (at < sql.length) {
    const start = at;
    const char = sql[at]!;
    if (SPACE.test(char)) {
      at++;
    } else if (sql.startsWith('--', at)) {
      const end = sql.indexOf('\n', at);
      at = end < 0 ? sql.length : end + 1;
      if (UNSURE_LINE_END.test(sql.slice(start, at))) tokens.push({ kind: 'unsure', start, end: at });
    } else if (sql.startsWith('/*', at)) {
      at = endOfComment(sql, at);
    } else if (char === "'" || ((char === 'N' || char === 'n') && sql[at + 1] === "'")) {
      at = endOfQuoted(sql, char === "'" ? at + 1 : at + 2, "'");
      tokens.push({ kind: 'string', start, end: at });
    } else if (char === '[' || char === '"') {
      at = endOfQuoted(sql, at + 1, char === '[' ? ']' : '"');
      tokens.push({ kind: 'quoted', start, end: at });
    } else if (char === '@') {
      at = endOf(sql, at + 1, NAME_PART);
      tokens.push({ kind: 'variable', text: sql.slice(start, at).toUpperCase(), start, end: at });
    } else if (DIGIT.test(char)) {
      at = endOf(sql, at + 1, NUMBER_PART);
      tokens.push({ kind: 'number', start, end: at });
    } else if (NAME_START.test(char)) {
      at = endOf(sql, at + 1, NAME_PART);
      tokens.push({ kind: 'word', text: sql.slice(start, at).toUpperCase(), start, end: at });
    } else {
      at++;
      tokens.push({ kind: 'symbol', text: char, start, end: at });
    }
  }
  return tokens;
}

function endOf(sql: string, from: number, part: RegExp): number {
  let at = from;
  while (at < sql.length && part.test(sql[at]!)) at++;
  return at;
}

/** A quote that is doubled stands for itself. */
function endOfQuoted(sql: string, from: number, quote: string): number {
  for (let at = from; ;) {
    const end = sql.indexOf(quote, at);
    if (end < 0) return sql.length;
    if (sql[end + 1] !== quote) return end + 1;
    at = end + 2;
  }
}

/** Comments nest. */
function endOfComment(sql: string, from: number): number {
  let depth = 0;
  for (let at = from; at < sql.length;) {
    if (sql.startsWith('/*', at)) {
      depth++;
      at += 2;
    } else if (sql.startsWith('*/', at)) {
      at += 2;
      if (--depth === 0) return at;
    } else at++;
  }
  return sql.length;
}
