import type { Token } from './lexer.ts';

/** The word's text; null for anything else. */
export function wordOf(token: Token | undefined): string | null {
  return token?.kind === 'word' ? token.text : null;
}

export function isWord(token: Token | undefined, ...texts: readonly string[]): boolean {
  return token?.kind === 'word' && texts.includes(token.text);
}

export function isSymbol(token: Token | undefined, text: string): boolean {
  return token?.kind === 'symbol' && token.text === text;
}

/** It may be a name, quoted or not: keywords are words as well. */
export function isName(token: Token | undefined): boolean {
  return token?.kind === 'word' || token?.kind === 'quoted';
}

/** The text of a string literal without its quotes; of anything else null. */
export function literalText(sql: string, token: Token | undefined): string | null {
  if (token?.kind !== 'string') return null;
  const from = sql[token.start] === "'" ? token.start + 1 : token.start + 2;
  return sql.slice(from, token.end - 1).replaceAll("''", "'");
}

/** A name of one to four parts. */
export interface ObjectName {
  /** Without quotes, in upper case. Those that are left out (`db..t`) are empty. */
  readonly parts: readonly string[];
  /** As it stands in the text. */
  readonly last: string;
  /** Index of the token behind it. */
  readonly end: number;
}

/** The name that begins at a token; null if none does. */
export function readName(sql: string, tokens: readonly Token[], at: number): ObjectName | null {
  let token = tokens[at];
  if (!isName(token)) return null;
  const parts = [plainName(sql, token!)];
  let end = at + 1;
  let dots = 0;
  for (; ; end++) {
    token = tokens[end];
    if (isSymbol(token, '.')) {
      dots++;
      continue;
    }
    if (dots === 0 || !isName(token)) break;
    for (; dots > 1; dots--) parts.push('');
    parts.push(plainName(sql, token!));
    dots = 0;
  }
  end -= dots;
  return { parts: parts.map((part) => part.toUpperCase()), last: parts.at(-1)!, end };
}

function plainName(sql: string, { kind, start, end }: Token): string {
  const text = sql.slice(start, end);
  if (kind !== 'quoted') return text;
  return text.startsWith('[')
    ? text.slice(1, -1).replaceAll(']]', ']')
    : text.slice(1, -1).replaceAll('""', '"');
}
