import { tokenize, type Token } from '../../../../src/tedious/sql/lexer.ts';

/** One statement of a batch, as a range of its tokens. */
export type Statement =
  | { readonly kind: 'simple'; readonly verb: string; readonly tokens: readonly Token[] }
  | {
      readonly kind: 'if';
      readonly condition: readonly Token[];
      readonly then: Statement;
      readonly otherwise: Statement | null;
    }
  | { readonly kind: 'block'; readonly statements: readonly Statement[] }
  | { readonly kind: 'try'; readonly body: readonly Statement[]; readonly handler: readonly Statement[] };

const STARTS = new Set(
  'SELECT INSERT UPDATE DELETE MERGE BEGIN COMMIT ROLLBACK SAVE IF ELSE SET DECLARE EXEC EXECUTE PRINT RAISERROR THROW USE WAITFOR CREATE ALTER DROP TRUNCATE WITH WHILE RETURN END KILL'.split(
    ' ',
  ),
);

/** A batch that the test server can't read. */
export class SyntaxFault extends Error {}

/** Cuts a batch into statements. T-SQL needs nothing between two of them, so each knows the words that belong to it. */
export function parseBatch(sql: string): readonly Statement[] {
  const parser = new Parser(tokenize(sql));
  const statements = parser.statements(() => false);
  return statements;
}

class Parser {
  readonly #tokens: readonly Token[];
  #at = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  statements(isEnd: (word: string | null) => boolean): readonly Statement[] {
    const found: Statement[] = [];
    for (;;) {
      while (this.#isSymbol(this.#at, ';')) this.#at++;
      if (this.#at >= this.#tokens.length) return found;
      if (isEnd(this.#word(this.#at))) return found;
      found.push(this.#statement());
    }
  }

  #statement(): Statement {
    const verb = this.#word(this.#at);
    if (verb === null) throw new SyntaxFault('a statement does not begin with a word');
    if (verb === 'IF') return this.#if();
    const next = this.#word(this.#at + 1);
    if (verb === 'BEGIN' && next !== 'TRAN' && next !== 'TRANSACTION') {
      if (next === 'TRY') return this.#try();
      this.#at++;
      const statements = this.statements((word) => word === 'END');
      this.#at++;
      return { kind: 'block', statements };
    }
    return this.#simple(verb);
  }

  #try(): Statement {
    this.#at += 2;
    const body = this.statements((word) => word === 'END');
    this.#at += 2; // END TRY
    if (this.#word(this.#at) !== 'BEGIN' || this.#word(this.#at + 1) !== 'CATCH') {
      throw new SyntaxFault('TRY without CATCH');
    }
    this.#at += 2;
    const handler = this.statements((word) => word === 'END');
    this.#at += 2;
    return { kind: 'try', body, handler };
  }

  #if(): Statement {
    const from = ++this.#at;
    let depth = 0;
    while (this.#at < this.#tokens.length) {
      if (this.#isSymbol(this.#at, '(')) depth++;
      if (this.#isSymbol(this.#at, ')')) depth--;
      const word = this.#word(this.#at);
      if (depth === 0 && word !== null && STARTS.has(word)) break;
      this.#at++;
    }
    const condition = this.#tokens.slice(from, this.#at);
    const then = this.#statement();
    if (this.#isSymbol(this.#at, ';') && this.#word(this.#at + 1) === 'ELSE') this.#at++;
    if (this.#word(this.#at) !== 'ELSE') return { kind: 'if', condition, then, otherwise: null };
    this.#at++;
    return { kind: 'if', condition, then, otherwise: this.#statement() };
  }

  #simple(verb: string): Statement {
    const from = this.#at++;
    let depth = 0;
    let mayHaveSelect = verb === 'INSERT' || verb === 'WITH' || verb === 'DECLARE';
    let mayHaveSet = verb === 'UPDATE' || verb === 'MERGE' || verb === 'ALTER';
    let mayHaveWrite = verb === 'WITH';
    while (this.#at < this.#tokens.length && !(depth === 0 && this.#isSymbol(this.#at, ';'))) {
      if (this.#isSymbol(this.#at, '(')) depth++;
      if (this.#isSymbol(this.#at, ')')) depth--;
      const word = depth === 0 ? this.#word(this.#at) : null;
      if (word === 'VALUES' || word === 'DEFAULT') mayHaveSelect = false;
      if (word !== null && STARTS.has(word)) {
        const before = this.#word(this.#at - 1);
        const isUnion =
          before === 'UNION' || before === 'ALL' || before === 'EXCEPT' || before === 'INTERSECT';
        const isTableHint = word === 'WITH' && this.#isSymbol(this.#at + 1, '(');
        if (word === 'SELECT' && (mayHaveSelect || isUnion)) mayHaveSelect = false;
        else if (word === 'SET' && mayHaveSet) mayHaveSet = false;
        else if ((word === 'INSERT' || word === 'UPDATE' || word === 'DELETE') && mayHaveWrite) {
          mayHaveWrite = false;
          mayHaveSelect = word === 'INSERT';
          mayHaveSet = word === 'UPDATE';
        } else if (before === 'ON' || isTableHint || (verb === 'ALTER' && word !== 'SELECT')) {
          // ON DELETE CASCADE, WITH (UPDLOCK), ALTER TABLE t ALTER COLUMN …
        } else if (word === 'END' && before !== null && depth === 0 && this.#isInCase(from)) {
          // CASE … END
        } else if (word === 'ELSE' && this.#isInCase(from)) {
          // CASE … ELSE … END
        } else break;
      }
      this.#at++;
    }
    return { kind: 'simple', verb, tokens: this.#tokens.slice(from, this.#at) };
  }

  #isInCase(from: number): boolean {
    let open = 0;
    for (let i = from; i < this.#at; i++) {
      if (this.#word(i) === 'CASE') open++;
      if (this.#word(i) === 'END') open--;
    }
    return open > 0;
  }

  #word(at: number): string | null {
    const token = this.#tokens[at];
    return token?.kind === 'word' ? token.text : null;
  }

  #isSymbol(at: number, text: string): boolean {
    const token = this.#tokens[at];
    return token?.kind === 'symbol' && token.text === text;
  }
}
