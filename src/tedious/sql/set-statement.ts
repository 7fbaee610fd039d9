import type { Token } from './lexer.ts';
import { isName, isSymbol, isWord, readName, wordOf } from './token-tests.ts';

/** What a SET statement sets in its session. */
export type SetStatement =
  /** A variable. */
  | { readonly kind: 'variable' }
  | { readonly kind: 'options'; readonly options: readonly SetOption[] }
  /** What can't be set again from its text. */
  | { readonly kind: 'unreadable'; readonly name: string; readonly reason: string };

export interface SetOption {
  /** In lower case; with the name of the table for IDENTITY_INSERT. */
  readonly name: string;
  /** A statement that sets it alone. */
  readonly text: string;
  /** ON or OFF; null for other values. */
  readonly isOn: boolean | null;
}

const words = (text: string): ReadonlySet<string> => new Set(text.split(' '));
/** SQL Server, "SET statements". */
const SWITCHES = words(
  'ANSI_DEFAULTS ANSI_NULL_DFLT_OFF ANSI_NULL_DFLT_ON ANSI_NULLS ANSI_PADDING ANSI_WARNINGS ARITHABORT ARITHIGNORE ' +
    'CONCAT_NULL_YIELDS_NULL CURSOR_CLOSE_ON_COMMIT FMTONLY FORCEPLAN IMPLICIT_TRANSACTIONS NOCOUNT NOEXEC ' +
    'NUMERIC_ROUNDABORT PARSEONLY QUOTED_IDENTIFIER REMOTE_PROC_TRANSACTIONS SHOWPLAN_ALL SHOWPLAN_TEXT SHOWPLAN_XML ' +
    'XACT_ABORT',
);
const STATISTICS = words('IO PROFILE TIME XML');
const VALUES = words(
  'DATEFIRST DATEFORMAT DEADLOCK_PRIORITY FIPS_FLAGGER LANGUAGE LOCK_TIMEOUT QUERY_GOVERNOR_COST_LIMIT ROWCOUNT TEXTSIZE',
);
const LEVELS = ['READ UNCOMMITTED', 'READ COMMITTED', 'REPEATABLE READ', 'SNAPSHOT', 'SERIALIZABLE'];

/** @param tokens of one statement, whose first is SET */
export function readSetStatement(sql: string, tokens: readonly Token[]): SetStatement {
  if (tokens[1]?.kind === 'variable') return { kind: 'variable' };
  const first = wordOf(tokens[1]) ?? '';
  const name = first.toLowerCase();
  if (first === 'CONTEXT_INFO') {
    return { kind: 'unreadable', name, reason: 'it has a CONTEXT_INFO' };
  }
  const options = readOptions(sql, tokens, first);
  if (options !== null) return { kind: 'options', options };
  return {
    kind: 'unreadable',
    name,
    reason: `it has a setting whose value can't be read from its text (${name})`,
  };
}

function readOptions(sql: string, tokens: readonly Token[], first: string): readonly SetOption[] | null {
  if (first === 'TRANSACTION') return isolation(tokens);
  if (first === 'IDENTITY_INSERT') return identityInsert(sql, tokens);
  const valueAt = VALUES.has(first) ? 2 : tokens.length - 1;
  if (VALUES.has(first)) {
    const text = literal(sql, tokens.slice(valueAt));
    return text === null ? null : [{ name: first.toLowerCase(), text: `SET ${first} ${text}`, isOn: null }];
  }
  const value = wordOf(tokens.at(-1));
  if (value !== 'ON' && value !== 'OFF') return null;
  const isStatistics = first === 'STATISTICS';
  const names = listOf(tokens.slice(isStatistics ? 2 : 1, -1));
  const known = isStatistics ? STATISTICS : SWITCHES;
  if (names === null || !names.every((name) => known.has(name))) return null;
  return names.map((one) => {
    const name = isStatistics ? `STATISTICS ${one}` : one;
    return { name: name.toLowerCase(), text: `SET ${name} ${value}`, isOn: value === 'ON' };
  });
}

/** SET TRANSACTION ISOLATION LEVEL … */
function isolation(tokens: readonly Token[]): readonly SetOption[] | null {
  if (!isWord(tokens[2], 'ISOLATION') || !isWord(tokens[3], 'LEVEL')) return null;
  const level = tokens
    .slice(4)
    .map((token) => wordOf(token) ?? '?')
    .join(' ');
  if (!LEVELS.includes(level)) return null;
  return [{ name: 'isolation', text: `SET TRANSACTION ISOLATION LEVEL ${level}`, isOn: null }];
}

/** SET IDENTITY_INSERT t ON: of each table by itself, since OFF for one of them says nothing about another. */
function identityInsert(sql: string, tokens: readonly Token[]): readonly SetOption[] | null {
  const table = readName(sql, tokens, 2);
  const value = wordOf(tokens.at(-1));
  if (table === null || table.end !== tokens.length - 1 || (value !== 'ON' && value !== 'OFF')) return null;
  const written = sql.slice(tokens[2]!.start, tokens[table.end - 1]!.end);
  return [
    {
      name: `identity_insert ${table.parts.join('.')}`,
      text: `SET IDENTITY_INSERT ${written} ${value}`,
      isOn: value === 'ON',
    },
  ];
}

/** Words with commas between them. */
function listOf(tokens: readonly Token[]): readonly string[] | null {
  const names: string[] = [];
  for (const [index, token] of tokens.entries()) {
    const isComma = isSymbol(token, ',');
    if (isComma !== (index % 2 === 1)) return null;
    if (!isComma) names.push(wordOf(token) ?? '');
  }
  return names.length === 0 ? null : names;
}

/** A number, a string or a word; null for anything else, a variable above all. */
function literal(sql: string, tokens: readonly Token[]): string | null {
  const [first, second] = tokens;
  if (first === undefined) return null;
  if (tokens.length === 1 && (first.kind === 'number' || first.kind === 'string' || isName(first))) {
    return sql.slice(first.start, first.end);
  }
  const isNegative = isSymbol(first, '-') && second?.kind === 'number' && tokens.length === 2;
  return isNegative ? `-${sql.slice(second.start, second.end)}` : null;
}
