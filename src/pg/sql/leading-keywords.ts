import type { LexerOptions } from './lexer.ts';
import { tokens } from './lexer.ts';

/** How one statement of a text begins. */
export interface StatementHead {
  /** Its first bare words in capitals, up to 6, ending before the first token that is something else. */
  readonly words: readonly string[];
  /** True if nothing stands before the semicolon or the end of the text. */
  readonly isEmpty: boolean;
  /** Where its first token stands in the text; behind the last one if it is empty. */
  readonly start: number;
}

const MAX_WORDS = 6;

/**
 * The head of each `;`-separated statement of `text`, without the help of a parser.
 *
 * A semicolon within parentheses separates nothing (CREATE RULE … DO (a; b)). One within BEGIN ATOMIC … END does here,
 * though not for the server: the parts of such a body look like statements, and its END like a COMMIT. A text without
 * any semicolon, be it empty, has one head; one that ends in a semicolon has an empty head last.
 */
export function statementHeads(text: string, options?: LexerOptions): readonly StatementHead[] {
  const heads: StatementHead[] = [];
  let words: string[] = [];
  let isEmpty = true;
  let isLeading = true;
  let depth = 0;
  let first = -1;
  for (const { kind, start, end } of tokens(text, options)) {
    if (kind === 'semicolon' && depth <= 0) {
      heads.push({ words, isEmpty, start: first < 0 ? start : first });
      words = [];
      first = -1;
      isEmpty = true;
      isLeading = true;
      depth = 0;
      continue;
    }
    if (kind === 'open') depth += 1;
    if (kind === 'close') depth -= 1;
    isEmpty = false;
    if (first < 0) first = start;
    isLeading &&= kind === 'word' && words.length < MAX_WORDS;
    if (isLeading) words.push(upperCased(text.slice(start, end)));
  }
  heads.push({ words, isEmpty, start: first < 0 ? text.length : first });
  return heads;
}

/** Only ASCII letters, as PostgreSQL does for keywords: to JavaScript `commıt` (dotless i) would become COMMIT. */
export function upperCased(word: string): string {
  return word.replace(/[a-z]+/g, (letters) => letters.toUpperCase());
}
