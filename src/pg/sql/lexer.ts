/**
 * Finds the tokens of SQL text as PostgreSQL's own scanner does (src/backend/parser/scan.l), so far as is needed to
 * tell statements, bare words, strings and parentheses apart.
 *
 * It is total: every text has tokens, none throws. What the server would refuse (a string that never ends, a number
 * with letters behind it) still gets some token, because a text that the server refuses does nothing there. It must
 * never take for a string or a comment what the server takes for a statement, or a COMMIT would be overlooked (R11).
 */

/** `symbol` is any one character that is nothing else: operators are of no interest here. */
export type TokenKind =
  | 'word'
  | 'quoted-identifier'
  | 'string'
  | 'number'
  | 'parameter'
  | 'semicolon'
  | 'open'
  | 'close'
  | 'comma'
  | 'symbol';

/** Characters `start` (inclusive) to `end` (exclusive) of the text. */
export interface Token {
  readonly kind: TokenKind;
  readonly start: number;
  readonly end: number;
}

export interface LexerOptions {
  /**
   * The session's `standard_conforming_strings`. Default true, as in PostgreSQL since 9.1. While it is off, a backslash
   * escapes the next character in '…' as well.
   */
  readonly standardConformingStrings?: boolean;
}

const QUOTE = 39;
const DOUBLE_QUOTE = 34;
const BACKSLASH = 92;
const DOLLAR = 36;
const MINUS = 45;
const SLASH = 47;
const STAR = 42;
const AMPERSAND = 38;
const DOT = 46;
const UNDERSCORE = 95;

const PUNCTUATION: Readonly<Record<string, TokenKind>> = {
  ';': 'semicolon',
  '(': 'open',
  ')': 'close',
  ',': 'comma',
};

const WORD_LEADING_TO_STRING = /^(?:[bnx]|u&)$/i;

/** The tokens of `text` in order, without white space and comments. */
export function* tokens(text: string, options: LexerOptions = {}): Generator<Token, void, undefined> {
  const { standardConformingStrings = true } = options;
  let at = skipBlank(text, 0);
  while (at < text.length) {
    const token = tokenAt(text, at, !standardConformingStrings);
    yield token;
    at = skipBlank(text, token.end);
  }
}

function tokenAt(text: string, start: number, plainStringsEscape: boolean): Token {
  const code = text.charCodeAt(start);
  if (code === QUOTE) return token('string', start, stringEnd(text, start, plainStringsEscape));
  if (code === DOUBLE_QUOTE) return token('quoted-identifier', start, quotedEnd(text, start, DOUBLE_QUOTE));
  if (isWordStart(code)) return wordOrPrefixed(text, start, plainStringsEscape);
  if (isDigit(code) || (code === DOT && isDigit(text.charCodeAt(start + 1)))) {
    return token('number', start, numberEnd(text, start));
  }
  if (code === DOLLAR) return dollarToken(text, start);
  return token(PUNCTUATION[text.charAt(start)] ?? 'symbol', start, start + 1);
}

function token(kind: TokenKind, start: number, end: number): Token {
  return { kind, start, end };
}

/** A bare word, or the string or identifier that a one-letter prefix belongs to: E'…', B'…', X'…', N'…', U&'…', U&"…". */
function wordOrPrefixed(text: string, start: number, plainStringsEscape: boolean): Token {
  let end = start + 1;
  while (isWordPart(text.charCodeAt(end))) end += 1;
  const next = text.charCodeAt(end);
  if (end !== start + 1) return token('word', start, end);
  if (next === AMPERSAND && /[uU]/.test(text.charAt(start))) {
    const quote = text.charCodeAt(end + 1);
    if (quote === QUOTE) return token('string', start, quotedEnd(text, end + 1, QUOTE));
    if (quote === DOUBLE_QUOTE)
      return token('quoted-identifier', start, quotedEnd(text, end + 1, DOUBLE_QUOTE));
  }
  if (next !== QUOTE) return token('word', start, end);
  if (/[eE]/.test(text.charAt(start))) return token('string', start, stringEnd(text, end, true));
  if (!WORD_LEADING_TO_STRING.test(text.charAt(start))) return token('word', start, end);
  // N'…' is a plain string to the scanner, B'…' and X'…' know no escapes.
  const escapes = plainStringsEscape && /[nN]/.test(text.charAt(start));
  return token('string', start, stringEnd(text, end, escapes));
}

/** End of the string whose opening quote is at `quote`, with all parts that continue it on later lines. */
function stringEnd(text: string, quote: number, backslashEscapes: boolean): number {
  if (!backslashEscapes) return quotedEnd(text, quote, QUOTE);
  let end = escapedEnd(text, quote);
  // E'…' goes on after a line break and is still an escape string there; a plain part would end at another quote.
  for (let next = continuation(text, end); next !== undefined; next = continuation(text, end)) {
    end = escapedEnd(text, next);
  }
  return end;
}

/** End of '…' or "…", where only the doubled quote stands for itself. */
function quotedEnd(text: string, quote: number, quoteCode: number): number {
  const mark = quoteCode === QUOTE ? "'" : '"';
  let at = quote + 1;
  for (;;) {
    const close = text.indexOf(mark, at);
    if (close < 0) return text.length;
    if (text.charCodeAt(close + 1) !== quoteCode) return close + 1;
    at = close + 2;
  }
}

function escapedEnd(text: string, quote: number): number {
  let at = quote + 1;
  while (at < text.length) {
    const code = text.charCodeAt(at);
    if (code === BACKSLASH) at += 2;
    else if (code !== QUOTE) at += 1;
    else if (text.charCodeAt(at + 1) === QUOTE) at += 2;
    else return at + 1;
  }
  return text.length;
}

/** The opening quote of the next part of a string: white space with a line break, and `--` comments, may lie between. */
function continuation(text: string, from: number): number | undefined {
  let at = from;
  let newLine = false;
  for (;;) {
    const code = text.charCodeAt(at);
    if (isNewLine(code)) newLine = true;
    else if (code === MINUS && text.charCodeAt(at + 1) === MINUS) {
      at = lineEnd(text, at);
      continue;
    } else if (!isSpace(code)) return newLine && code === QUOTE ? at : undefined;
    at += 1;
  }
}

/** `$1`, `$tag$…$tag$`, or a lone dollar. */
function dollarToken(text: string, start: number): Token {
  let end = start + 1;
  if (isDigit(text.charCodeAt(end))) {
    while (isDigit(text.charCodeAt(end))) end += 1;
    return token('parameter', start, end);
  }
  if (isWordStart(text.charCodeAt(end))) {
    end += 1;
    while (isWordPart(text.charCodeAt(end)) && text.charCodeAt(end) !== DOLLAR) end += 1;
  }
  if (text.charCodeAt(end) !== DOLLAR) return token('symbol', start, start + 1);
  const tag = text.slice(start, end + 1);
  const close = text.indexOf(tag, end + 1);
  return token('string', start, close < 0 ? text.length : close + tag.length);
}

/** Letters are left to the next token: `1e'…'` was a number and a string before PostgreSQL 15, and is an error since. */
function numberEnd(text: string, start: number): number {
  let end = start;
  for (;;) {
    const code = text.charCodeAt(end);
    if (!isDigit(code) && code !== DOT && !(code === UNDERSCORE && isDigit(text.charCodeAt(end + 1))))
      return end;
    end += 1;
  }
}

/** The first character from `from` on that is neither white space nor within a comment. */
function skipBlank(text: string, from: number): number {
  let at = from;
  for (;;) {
    const code = text.charCodeAt(at);
    if (isSpace(code)) at += 1;
    else if (code === MINUS && text.charCodeAt(at + 1) === MINUS) at = lineEnd(text, at);
    else if (code === SLASH && text.charCodeAt(at + 1) === STAR) at = commentEnd(text, at);
    else return at;
  }
}

function lineEnd(text: string, from: number): number {
  let at = from;
  while (at < text.length && !isNewLine(text.charCodeAt(at))) at += 1;
  return at;
}

/** Comments nest. */
function commentEnd(text: string, from: number): number {
  let depth = 1;
  let at = from + 2;
  while (at < text.length && depth > 0) {
    const code = text.charCodeAt(at);
    const next = text.charCodeAt(at + 1);
    if (code === SLASH && next === STAR) {
      depth += 1;
      at += 2;
    } else if (code === STAR && next === SLASH) {
      depth -= 1;
      at += 2;
    } else at += 1;
  }
  return Math.min(at, text.length);
}

function isNewLine(code: number): boolean {
  return code === 10 || code === 13;
}

/** Of all white space only ASCII's: anything above is part of a word to PostgreSQL. */
function isSpace(code: number): boolean {
  return code === 32 || (code >= 9 && code <= 13);
}

function isDigit(code: number): boolean {
  return code >= 48 && code <= 57;
}

function isWordStart(code: number): boolean {
  return (code >= 97 && code <= 122) || (code >= 65 && code <= 90) || code === UNDERSCORE || code > 127;
}

function isWordPart(code: number): boolean {
  return isWordStart(code) || isDigit(code) || code === DOLLAR;
}
