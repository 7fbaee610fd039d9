import type { Token } from '../../../../src/tedious/sql/lexer.ts';
import type { Parameter } from '../engine.ts';
import { SyntaxFault } from './statements.ts';
import { isTypeName, parameterCast, postgresType } from './types.ts';

/** What a statement may refer to besides tables. */
export interface Scope {
  readonly sql: string;
  variable(name: string): Parameter | undefined;
  /** The value of @@NAME as an expression of PostgreSQL. */
  globalVariable(name: string): string;
  /** A function of SQL Server as an expression of PostgreSQL; null if PostgreSQL has it by its name. */
  call(name: string, parts: readonly string[]): string | null;
}

export interface Translated {
  readonly text: string;
  readonly values: readonly unknown[];
}

/** Puts one statement, or one expression, into PostgreSQL's words. What is not known is left as it is, and refused there. */
export function translate(tokens: readonly Token[], scope: Scope): Translated {
  const translation = new Translation(scope);
  const text = translation.statement(tokens);
  return { text, values: translation.values };
}

const SCHEMA_OF_ALL = 'dbo';
const LOCKING = new Set(['UPDLOCK', 'XLOCK', 'HOLDLOCK', 'SERIALIZABLE']);

class Translation {
  readonly values: unknown[] = [];
  readonly #scope: Scope;
  readonly #places = new Map<string, string>();

  constructor(scope: Scope) {
    this.#scope = scope;
  }

  statement(tokens: readonly Token[]): string {
    const output = cutOutput(tokens);
    let lock = '';
    const rest = cutHints(output.rest, (hints) => {
      if (hints.some((hint) => LOCKING.has(hint))) lock = ' FOR UPDATE';
      if (hints.includes('READPAST')) lock = ' FOR UPDATE SKIP LOCKED';
      if (hints.includes('NOWAIT')) lock = ' FOR UPDATE NOWAIT';
    });
    let text = this.expression(rest);
    if (output.columns !== null) text += ` RETURNING ${this.expression(output.columns)}`;
    else if (wordOf(rest[0]) === 'SELECT') text += lock;
    return text;
  }

  expression(tokens: readonly Token[]): string {
    const parts: string[] = [];
    const limits: (string | null)[] = [null];
    for (let i = 0; i < tokens.length; i++) {
      const token = tokens[i]!;
      const word = wordOf(token);
      if (word === 'TOP') {
        const [count, next] = this.#top(tokens, i + 1);
        limits[limits.length - 1] = count;
        i = next - 1;
        continue;
      }
      if (word === 'CAST' && isSymbol(tokens[i + 1], '(')) {
        const end = closing(tokens, i + 1);
        parts.push(this.#cast(tokens.slice(i + 2, end)));
        i = end;
        continue;
      }
      if (word === 'CONVERT' && isSymbol(tokens[i + 1], '(')) {
        const end = closing(tokens, i + 1);
        const [type, value] = split(tokens.slice(i + 2, end));
        parts.push(`CAST(${this.expression(value ?? [])} AS ${this.#type(type ?? [])[0]})`);
        i = end;
        continue;
      }
      if (word !== null && isSymbol(tokens[i + 1], '(') && !isSymbol(tokens[i - 1], '.')) {
        const end = closing(tokens, i + 1);
        const args = split(tokens.slice(i + 2, end)).map((one) => this.expression(one));
        const call = this.#scope.call(word, args);
        if (call !== null) {
          parts.push(call);
          i = end;
          continue;
        }
      }
      if (isSymbol(token, '(')) limits.push(null);
      if (isSymbol(token, ')')) {
        const limit = limits.pop();
        if (limit !== null && limit !== undefined) parts.push(`LIMIT ${limit}`);
      }
      if (isName(token) && isSymbol(tokens[i + 1], '.') && nameOf(token, this.#scope.sql) === SCHEMA_OF_ALL) {
        i++;
        continue;
      }
      parts.push(this.#token(token, tokens, i));
    }
    const [limit] = limits;
    if (limit !== null && limit !== undefined) parts.push(`LIMIT ${limit}`);
    return parts.join(' ').replaceAll(' . ', '.');
  }

  #top(tokens: readonly Token[], at: number): [string, number] {
    if (isSymbol(tokens[at], '(')) {
      const end = closing(tokens, at);
      return [this.expression(tokens.slice(at + 1, end)), end + 1];
    }
    return [this.expression(tokens.slice(at, at + 1)), at + 1];
  }

  #cast(tokens: readonly Token[]): string {
    let as = -1;
    let depth = 0;
    tokens.forEach((token, i) => {
      if (isSymbol(token, '(')) depth++;
      if (isSymbol(token, ')')) depth--;
      if (depth === 0 && wordOf(token) === 'AS') as = i;
    });
    if (as < 0) throw new SyntaxFault('CAST without AS');
    return `CAST(${this.expression(tokens.slice(0, as))} AS ${this.#type(tokens.slice(as + 1))[0]})`;
  }

  /** The type that stands at the beginning, and how many tokens it takes. */
  #type(tokens: readonly Token[]): [string, number] {
    const name = wordOf(tokens[0]) ?? nameOf(tokens[0]!, this.#scope.sql).toUpperCase();
    if (!isSymbol(tokens[1], '(')) return [postgresType(name, ''), 1];
    const end = closing(tokens, 1);
    const argument = tokens
      .slice(2, end)
      .map((token) => this.#scope.sql.slice(token.start, token.end))
      .join('');
    return [postgresType(name, argument), end + 1];
  }

  #token(token: Token, tokens: readonly Token[], at: number): string {
    const { sql } = this.#scope;
    const source = sql.slice(token.start, token.end);
    switch (token.kind) {
      case 'string':
        if (wordOf(tokens[at - 1]) === 'AS') return quote(source.replace(/^[Nn]?'|'$/g, ''));
        return source.replace(/^[Nn]/, '');
      case 'number':
        return /^0x/i.test(source) ? `'\\x${source.slice(2)}'::bytea` : source;
      case 'quoted':
        return quote(nameOf(token, sql));
      case 'variable':
        return token.text.startsWith('@@')
          ? this.#scope.globalVariable(token.text)
          : this.#parameter(token.text);
      case 'unsure':
        return '';
      case 'symbol':
        if (token.text === '+' && (isText(tokens[at - 1]) || isText(tokens[at + 1]))) return '||';
        if (token.text === '!' && isSymbol(tokens[at + 1], '=')) return '<>';
        if (token.text === '=' && isSymbol(tokens[at - 1], '!')) return '';
        if (token.text === '>' && isSymbol(tokens[at - 1], '<')) return '';
        if (token.text === '<' && isSymbol(tokens[at + 1], '>')) return '<>';
        if (token.text === '=' && (isSymbol(tokens[at - 1], '<') || isSymbol(tokens[at - 1], '>'))) return '';
        if ((token.text === '<' || token.text === '>') && isSymbol(tokens[at + 1], '='))
          return `${token.text}=`;
        return token.text;
      case 'word':
        return token.text.startsWith('#') ? quote(source.toLowerCase()) : source;
    }
  }

  #parameter(name: string): string {
    const known = this.#places.get(name);
    if (known !== undefined) return known;
    const parameter = this.#scope.variable(name);
    if (parameter === undefined) throw new SyntaxFault(`Must declare the scalar variable "${name}".`);
    this.values.push(parameter.value);
    const place = `$${this.values.length}::${parameterCast(parameter.type)}`;
    this.#places.set(name, place);
    return place;
  }
}

/** OUTPUT … stands in the middle; RETURNING at the end. */
function cutOutput(tokens: readonly Token[]): { rest: readonly Token[]; columns: readonly Token[] | null } {
  const from = tokens.findIndex((token) => wordOf(token) === 'OUTPUT');
  if (from < 0) return { rest: tokens, columns: null };
  let to = from + 1;
  let depth = 0;
  const ends = new Set(['VALUES', 'SELECT', 'DEFAULT', 'FROM', 'WHERE', 'INTO']);
  while (to < tokens.length && !(depth === 0 && ends.has(wordOf(tokens[to]) ?? ''))) {
    if (isSymbol(tokens[to], '(')) depth++;
    if (isSymbol(tokens[to], ')')) depth--;
    to++;
  }
  if (wordOf(tokens[to]) === 'INTO') throw new SyntaxFault('the test server does not model OUTPUT … INTO');
  const columns = tokens.slice(from + 1, to).filter((token, i, all) => {
    const isPrefix = (one: Token | undefined): boolean =>
      wordOf(one) === 'INSERTED' || wordOf(one) === 'DELETED';
    if (wordOf(token) === 'DELETED' && wordOf(tokens[0]) === 'UPDATE') {
      throw new SyntaxFault('the test server does not model OUTPUT deleted of an UPDATE');
    }
    return !(isPrefix(token) && isSymbol(all[i + 1], '.')) && !(isSymbol(token, '.') && isPrefix(all[i - 1]));
  });
  return { rest: [...tokens.slice(0, from), ...tokens.slice(to)], columns };
}

function cutHints(tokens: readonly Token[], told: (hints: readonly string[]) => void): readonly Token[] {
  const rest: Token[] = [];
  for (let i = 0; i < tokens.length; i++) {
    if (i > 0 && wordOf(tokens[i]) === 'WITH' && isSymbol(tokens[i + 1], '(')) {
      const end = closing(tokens, i + 1);
      told(tokens.slice(i + 2, end).flatMap((token) => wordOf(token) ?? []));
      i = end;
      continue;
    }
    rest.push(tokens[i]!);
  }
  return rest;
}

/** CREATE TABLE, whose columns have types and IDENTITY. */
export function translateCreateTable(tokens: readonly Token[], sql: string): string {
  const open = tokens.findIndex((token) => isSymbol(token, '('));
  const name = tableName(tokens.slice(2, open), sql);
  const isTemporary = name.includes('"#');
  const columns = split(tokens.slice(open + 1, closing(tokens, open))).map((column) =>
    createColumn(column, sql),
  );
  return `CREATE ${isTemporary ? 'TEMPORARY ' : ''}TABLE ${name} (${columns.join(', ')})`;
}

function createColumn(tokens: readonly Token[], sql: string): string {
  const parts: string[] = [];
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i]!;
    const word = wordOf(token);
    const source = sql.slice(token.start, token.end);
    if (word === 'IDENTITY') {
      parts.push('GENERATED BY DEFAULT AS IDENTITY');
      if (isSymbol(tokens[i + 1], '(')) i = closing(tokens, i + 1);
    } else if (word === 'CLUSTERED' || word === 'NONCLUSTERED' || word === 'ASC') continue;
    else if (i > 0 && word !== null && isTypeName(word) && parts.length <= 1) {
      if (isSymbol(tokens[i + 1], '(')) {
        const end = closing(tokens, i + 1);
        const argument = sql.slice(tokens[i + 1]!.end, tokens[end]!.start);
        parts.push(postgresType(word, argument));
        i = end;
      } else parts.push(postgresType(word, ''));
    } else if (word === 'GETDATE' || word === 'SYSDATETIME' || word === 'SYSUTCDATETIME') {
      parts.push('localtimestamp');
      i = closing(tokens, i + 1);
    } else if (word === 'NEWID') {
      parts.push('gen_random_uuid()');
      i = closing(tokens, i + 1);
    } else if (token.kind === 'quoted') parts.push(quote(nameOf(token, sql)));
    else if (isSymbol(tokens[i + 1], '.') && nameOf(token, sql) === SCHEMA_OF_ALL) i++;
    else parts.push(token.kind === 'string' ? source.replace(/^[Nn]/, '') : source);
  }
  return parts.join(' ').replaceAll(' . ', '.');
}

export function tableName(tokens: readonly Token[], sql: string): string {
  const names = tokens.filter(isName).map((token) => nameOf(token, sql));
  return (names[0] === SCHEMA_OF_ALL ? names.slice(1) : names).map(quote).join('.');
}

export function nameOf(token: Token, sql: string): string {
  const source = sql.slice(token.start, token.end);
  if (token.kind !== 'quoted') return source.toLowerCase();
  return source
    .slice(1, -1)
    .replaceAll(source.startsWith('[') ? ']]' : '""', source.startsWith('[') ? ']' : '"')
    .toLowerCase();
}

function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

export function wordOf(token: Token | undefined): string | null {
  return token?.kind === 'word' ? token.text : null;
}

export function isSymbol(token: Token | undefined, text: string): boolean {
  return token?.kind === 'symbol' && token.text === text;
}

function isName(token: Token | undefined): boolean {
  return token?.kind === 'word' || token?.kind === 'quoted';
}

function isText(token: Token | undefined): boolean {
  return token?.kind === 'string';
}

/** Index of the parenthesis that closes this one. */
export function closing(tokens: readonly Token[], open: number): number {
  let depth = 0;
  for (let i = open; i < tokens.length; i++) {
    if (isSymbol(tokens[i], '(')) depth++;
    if (isSymbol(tokens[i], ')') && --depth === 0) return i;
  }
  throw new SyntaxFault('a parenthesis is not closed');
}

/** At the commas outside of parentheses. */
export function split(tokens: readonly Token[]): readonly (readonly Token[])[] {
  const parts: Token[][] = [[]];
  let depth = 0;
  for (const token of tokens) {
    if (isSymbol(token, '(')) depth++;
    if (isSymbol(token, ')')) depth--;
    if (depth === 0 && isSymbol(token, ',')) parts.push([]);
    else parts.at(-1)!.push(token);
  }
  return parts.length === 1 && parts[0]!.length === 0 ? [] : parts;
}
