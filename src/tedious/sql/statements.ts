import type { Token } from './lexer.ts';
import { isName, isSymbol, isWord, wordOf } from './token-tests.ts';

/** What a statement stands in, and with it the reason why it may not run. Each block is an object of its own. */
export interface Block {
  readonly kind: 'if' | 'else' | 'while' | 'begin' | 'try' | 'catch';
}

export interface Statement {
  /**
   * Its first keyword; of WITH that of what stands behind the common table expressions; `CALL` for a procedure's name
   * without EXECUTE, `LABEL`, and `UNKNOWN` for what no statement begins with. BEGIN has its second word with it, but for a
   * plain block, and so has `END CONVERSATION`. All of a definition with a body is one CREATE or ALTER.
   */
  readonly kind: string;
  /** From its first keyword on, which for WITH is WITH; without the semicolon. */
  readonly tokens: readonly Token[];
  /** From the outermost to the innermost. */
  readonly blocks: readonly Block[];
}

const words = (text: string): ReadonlySet<string> => new Set(text.split(' '));

/** Reserved, so that outside of quotes and parentheses a statement begins with them, but for what `#goesOn` knows. */
const STARTS = words(
  'ALTER BACKUP BEGIN BREAK BULK CHECKPOINT CLOSE COMMIT CONTINUE CREATE DBCC DEALLOCATE DECLARE DELETE DENY DISK DROP DUMP ' +
    'ELSE END EXEC EXECUTE FETCH GOTO GRANT IF INSERT KILL LINENO LOAD MERGE OPEN PRINT RAISERROR READTEXT RECONFIGURE ' +
    'RESTORE RETURN REVERT REVOKE ROLLBACK SAVE SELECT SET SETUSER SHUTDOWN TRUNCATE UPDATE UPDATETEXT USE WAITFOR WHILE ' +
    'WRITETEXT',
);
/** Not reserved: they begin a statement only where one must begin. */
const SOFT_STARTS = words('ADD COPY DISABLE ENABLE GET MOVE RECEIVE RENAME SEND THROW');
/** What is defined with a body, which goes to the end of the text and is not run. */
const WITH_BODY = words('PROC PROCEDURE FUNCTION TRIGGER VIEW');
const BODY_VERBS = words('SELECT INSERT UPDATE DELETE MERGE');
/** Anything else is dropped from what ALTER names. */
const DROPPED_BY_ITSELF = words(
  'TABLE VIEW PROC PROCEDURE FUNCTION TRIGGER INDEX DATABASE SCHEMA TYPE SEQUENCE SYNONYM USER LOGIN ROLE STATISTICS',
);
const JOIN_KINDS = words('INNER LEFT RIGHT FULL OUTER');

/**
 * Cuts a text into its statements. T-SQL needs nothing between two of them; but its keywords are reserved, so where they
 * stand tells. Of a text that is no valid T-SQL the cuts mean nothing, which does no harm: it does not run.
 */
export function readStatements(tokens: readonly Token[]): readonly Statement[] {
  return new Splitter(tokens).read();
}

class Splitter {
  readonly #tokens: readonly Token[];
  readonly #done: Statement[] = [];
  /** One for each BEGIN that is not ended: its block, and the conditions in front of it. */
  readonly #frames: (readonly Block[])[] = [];
  /** IF, ELSE and WHILE whose statement is still to come. */
  #conditions: Block[] = [];
  #from = 0;
  #kind: string | null = null;
  #blocks: readonly Block[] = [];
  /** INSERT: what is inserted has come. UPDATE, ALTER: its SET has. GRANT and the like: its list of rights is over. */
  #isPast = false;
  #depth = 0;
  /** The depths at which a CASE is open. */
  readonly #cases: number[] = [];

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  read(): readonly Statement[] {
    for (let at = 0; at < this.#tokens.length; at++) {
      const token = this.#tokens[at]!;
      if (isSymbol(token, ';')) this.#end(at);
      else if (this.#kind === null) at = this.#begin(at);
      else if (isSymbol(token, '(')) this.#open(at);
      else if (isSymbol(token, ')')) this.#depth = Math.max(0, this.#depth - 1);
      else if (isWord(token, 'CASE')) this.#cases.push(this.#depth);
      else if (isWord(token, 'END') && this.#cases.at(-1) === this.#depth) this.#cases.pop();
      else if (token.kind === 'word' && this.#depth === 0) at = this.#word(token.text, at);
    }
    this.#end(this.#tokens.length);
    return this.#done;
  }

  #end(at: number): void {
    if (this.#kind !== null) {
      this.#done.push({
        kind: this.#kind,
        tokens: this.#tokens.slice(this.#from, at),
        blocks: this.#blocks,
      });
    }
    this.#kind = null;
    this.#depth = 0;
    this.#cases.length = 0;
  }

  /** A statement must begin here. Returns the index of the last token that it has taken. */
  #begin(at: number): number {
    const token = this.#tokens[at]!;
    const word = wordOf(token);
    this.#from = at;
    this.#isPast = false;
    this.#blocks = [...this.#frames.flat(), ...this.#conditions];
    switch (word) {
      case 'IF':
      case 'WHILE':
      case 'ELSE':
        return this.#condition(word, at);
      case 'BEGIN':
        return this.#block(at);
      case 'END':
        return this.#endOfBlock(at);
      default:
        this.#conditions = [];
    }
    if (isName(token) && isSymbol(this.#tokens[at + 1], ':') && !isSymbol(this.#tokens[at + 2], ':')) {
      this.#kind = 'LABEL';
      this.#end(at + 2);
      return at + 1;
    }
    if (word === 'CREATE' || word === 'ALTER') {
      this.#kind = word;
      const isEither = isWord(this.#tokens[at + 1], 'OR') && isWord(this.#tokens[at + 2], 'ALTER');
      const what = wordOf(this.#tokens[isEither ? at + 3 : at + 1]);
      return what !== null && WITH_BODY.has(what) ? this.#takeTheRest() : at;
    }
    if (isSymbol(token, '(')) {
      const first = this.#tokens.slice(at).find((one) => !isSymbol(one, '('));
      this.#kind = isWord(first, 'SELECT') ? 'SELECT' : 'UNKNOWN';
      this.#open(at);
      return at;
    }
    if (word !== null && (STARTS.has(word) || SOFT_STARTS.has(word) || word === 'WITH')) this.#kind = word;
    else this.#kind = this.#done.length === 0 && isName(token) ? 'CALL' : 'UNKNOWN';
    return at;
  }

  #takeTheRest(): number {
    this.#end(this.#tokens.length);
    return this.#tokens.length;
  }

  #condition(word: 'IF' | 'WHILE' | 'ELSE', at: number): number {
    this.#kind = word;
    const kind = word === 'IF' ? 'if' : word === 'WHILE' ? 'while' : 'else';
    this.#conditions = [...this.#conditions, { kind }];
    if (word === 'ELSE') this.#end(at + 1);
    return at;
  }

  #block(at: number): number {
    const next = wordOf(this.#tokens[at + 1]);
    switch (next) {
      case 'TRAN':
      case 'TRANSACTION':
      case 'DISTRIBUTED':
      case 'DIALOG':
      case 'CONVERSATION':
        this.#conditions = [];
        this.#kind = `BEGIN ${next}`;
        return at + 1;
      default:
    }
    const hasName = next === 'TRY' || next === 'CATCH';
    const kind = next === 'TRY' ? 'try' : next === 'CATCH' ? 'catch' : 'begin';
    this.#frames.push([...this.#conditions, { kind }]);
    this.#conditions = [];
    const last = hasName ? at + 1 : at;
    this.#kind = hasName ? `BEGIN ${next}` : 'BEGIN';
    this.#end(last + 1);
    return last;
  }

  #endOfBlock(at: number): number {
    const next = this.#tokens[at + 1];
    this.#conditions = [];
    if (isWord(next, 'CONVERSATION')) {
      this.#kind = 'END CONVERSATION';
      return at + 1;
    }
    this.#frames.pop();
    const last = isWord(next, 'TRY', 'CATCH') ? at + 1 : at;
    this.#kind = 'END';
    this.#end(last + 1);
    return last;
  }

  #open(at: number): void {
    const [before, next] = [this.#tokens[at - 1], this.#tokens[at + 1]];
    if (this.#depth === 0) {
      // INSERT t (SELECT …); and WITH a AS (…) (SELECT …)
      if (this.#kind === 'INSERT' && (isWord(next, 'SELECT', 'WITH') || isSymbol(next, '(')))
        this.#isPast = true;
      if (this.#kind === 'WITH' && isSymbol(before, ')')) this.#kind = 'SELECT';
    }
    this.#depth++;
  }

  /** A word outside of parentheses, inside of a statement. Returns the index of the last token that was taken. */
  #word(word: string, at: number): number {
    if (isSymbol(this.#tokens[at - 1], '.')) return at;
    if (STARTS.has(word) && !this.#goesOn(word, at)) {
      this.#end(at);
      return this.#begin(at);
    }
    if (this.#kind === 'WITH' && BODY_VERBS.has(word)) {
      this.#kind = word;
      this.#isPast = false;
    } else if (this.#kind === 'INSERT' && ['SELECT', 'VALUES', 'EXEC', 'EXECUTE'].includes(word)) {
      this.#isPast = true;
    } else if (word === 'SET') this.#isPast = true;
    else if (isRights(this.#kind) && (word === 'ON' || word === 'TO' || word === 'FROM')) this.#isPast = true;
    return at;
  }

  /** The word does not begin a statement: it belongs to the one that it stands in. */
  #goesOn(word: string, at: number): boolean {
    const kind = this.#kind;
    const previous = wordOf(this.#tokens[at - 1]);
    const next = wordOf(this.#tokens[at + 1]);
    if (isRights(kind) && !this.#isPast) return true;
    switch (word) {
      case 'SELECT':
        if (previous === 'ALL') return isWord(this.#tokens[at - 2], 'UNION');
        if (previous === 'UNION' || previous === 'EXCEPT' || previous === 'INTERSECT' || previous === 'FOR')
          return true;
        return kind === 'WITH' || (kind === 'INSERT' && !this.#isPast);
      case 'MERGE':
        if (next === 'JOIN' || next === 'UNION' || JOIN_KINDS.has(previous ?? '')) return true;
        return kind === 'WITH';
      case 'INSERT':
      case 'UPDATE':
      case 'DELETE':
        if (kind === 'WITH' || (word === 'INSERT' && previous === 'BULK')) return true;
        return previous === 'ON' || previous === 'FOR' || (kind === 'MERGE' && previous === 'THEN');
      case 'BULK':
        return previous === 'INSERT';
      case 'SET':
        if (kind === 'MERGE') return previous === 'UPDATE';
        if (kind === 'UPDATE') return !this.#isPast;
        if (kind === 'CREATE' || kind === 'ALTER') {
          if (next === 'NULL' || next === 'DEFAULT' || isSymbol(this.#tokens[at + 1], '(')) return true;
          return isWord(this.#tokens[this.#from + 1], 'DATABASE') && !this.#isPast;
        }
        return false;
      case 'EXEC':
      case 'EXECUTE':
        return previous === 'WITH' || (kind === 'INSERT' && !this.#isPast);
      case 'FETCH':
        // ORDER BY … OFFSET 10 ROWS FETCH NEXT 5 ROWS ONLY
        if (previous !== 'ROW' && previous !== 'ROWS') return false;
        return (next === 'NEXT' || next === 'FIRST') && !isWord(this.#tokens[at + 2], 'FROM');
      case 'IF':
        // DROP TABLE IF EXISTS t
        if (kind !== 'DROP' && kind !== 'ALTER') return false;
        return next === 'EXISTS' && !isSymbol(this.#tokens[at + 2], '(');
      case 'ALTER':
        return kind === 'ALTER' && next === 'COLUMN';
      case 'DROP':
        return kind === 'ALTER' && !DROPPED_BY_ITSELF.has(next ?? '');
      case 'ROLLBACK':
        return previous === 'WITH';
      case 'ELSE':
        return this.#cases.length > 0;
      default:
        return false;
    }
  }
}

function isRights(kind: string | null): boolean {
  return kind === 'GRANT' || kind === 'DENY' || kind === 'REVOKE';
}
