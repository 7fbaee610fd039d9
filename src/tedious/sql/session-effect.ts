import { EffectBuilder, NO_EFFECT, type SessionEffect } from './effect-builder.ts';
import { tokenize, type Token } from './lexer.ts';
import { effectOfCall, type Argument } from './procedure-effect.ts';
import { readSetStatement, type SetOption } from './set-statement.ts';
import { readStatements, type Statement } from './statements.ts';
import { isName, isSymbol, isWord, literalText, readName, wordOf, type ObjectName } from './token-tests.ts';

export {
  effectOfFailure,
  NO_EFFECT,
  type Pin,
  type SessionEffect,
  type UncertainPin,
} from './effect-builder.ts';
export { effectOfProcedure } from './procedure-effect.ts';

/**
 * Where a text runs. 'dynamic': as a text of sp_executesql, sp_prepare or EXECUTE('…'). What it sets, its USE and its
 * temporary tables end with it (SQL Server, "SET statements", "sp_executesql"); other things stay.
 */
export type TextScope = 'batch' | 'dynamic';

/** On: what comes behind is not run, or not as it is without. */
const NOT_RUN = new Set(['noexec', 'parseonly', 'fmtonly', 'showplan_all', 'showplan_text', 'showplan_xml']);
const MAX_NESTING = 4;

/**
 * Reads what a text does to its session. What it calls can't be seen: procedures and triggers of the application. A
 * setting counts only where it surely is made; where that can't be told it pins the session.
 */
export function sessionEffect(sql: string, scope: TextScope, nesting = 0): SessionEffect {
  const tokens = tokenize(sql);
  if (!tokens.some(({ kind }) => kind === 'unsure')) return effectOf(sql, tokens, scope, nesting);
  // A comment of which nobody is sure where it ends.
  const asItMayBe = sql.replaceAll(/[\r\u0085\u2028\u2029]/g, '\n');
  const readings = [
    effectOf(sql, tokens, scope, nesting),
    effectOf(asItMayBe, tokenize(asItMayBe), scope, nesting),
  ];
  const [first, second] = readings as [SessionEffect, SessionEffect];
  if (JSON.stringify(first) === JSON.stringify(second)) return first;
  const pin = { name: 'unsure', reason: 'it has run a text that reads in two ways', nests: false };
  return { ...NO_EFFECT, pins: [...first.pins, ...second.pins, pin] };
}

function effectOf(sql: string, tokens: readonly Token[], scope: TextScope, nesting: number): SessionEffect {
  const statements = readStatements(tokens);
  const reader = new Reader(sql, scope, nesting);
  for (const statement of statements) reader.read(statement);
  return reader.builder.build(statements.length);
}

class Reader {
  readonly builder = new EffectBuilder();
  readonly #sql: string;
  readonly #scope: TextScope;
  readonly #nesting: number;
  /** Temporary tables that end with the text: DROP means them, not those of the session with the same name. */
  readonly #own = new Set<string>();

  constructor(sql: string, scope: TextScope, nesting: number) {
    this.#sql = sql;
    this.#scope = scope;
    this.#nesting = nesting;
  }

  read(statement: Statement): void {
    const { kind, tokens } = statement;
    switch (kind) {
      case 'SET':
        this.#set(statement);
        break;
      case 'USE':
        if (this.#scope === 'batch' && isName(tokens[1])) {
          this.builder.database(this.#sql.slice(tokens[1]!.start, tokens[1]!.end));
        }
        break;
      case 'SELECT':
        this.#selectInto(statement);
        break;
      case 'CREATE':
        this.#create(statement);
        break;
      case 'DROP':
        this.#drop(statement);
        break;
      case 'DECLARE':
        this.#declareCursor(statement);
        break;
      case 'DEALLOCATE': {
        const name = readName(this.#sql, tokens, isWord(tokens[1], 'GLOBAL') ? 2 : 1);
        if (name !== null) this.builder.undo(`cursor ${name.parts[0] ?? ''}`, statement);
        break;
      }
      case 'EXEC':
      case 'EXECUTE':
        this.#execute(statement);
        break;
      case 'CALL':
        this.#call(statement, 0);
        break;
      case 'REVERT':
        this.builder.undo('execute_as', statement);
        break;
      case 'SETUSER':
        if (tokens.length > 1) this.builder.pin('setuser', 'it has changed its user (SETUSER)', statement);
        else this.builder.undo('setuser', statement);
        break;
      case 'OPEN':
      case 'CLOSE':
        this.#key(statement);
        break;
      case 'DBCC':
        this.#trace(statement);
        break;
      case 'RETURN':
      case 'GOTO':
        this.builder.left(false);
        break;
      case 'BREAK':
      case 'CONTINUE':
        this.builder.left(true);
    }
  }

  #set(statement: Statement): void {
    const found = readSetStatement(this.#sql, statement.tokens);
    switch (found.kind) {
      case 'variable':
        return;
      case 'unreadable':
        // CONTEXT_INFO is no option, and stays.
        if (this.#scope === 'batch' || found.name === 'context_info') {
          this.builder.pin(found.name, found.reason, statement);
        }
        return;
      case 'options':
        if (this.#scope === 'batch') for (const option of found.options) this.#option(option, statement);
    }
  }

  #option({ name, text, isOn }: SetOption, statement: Statement): void {
    if (NOT_RUN.has(name)) {
      if (isOn === true) {
        const reason = `it does not run its statements (SET ${name.toUpperCase()} ON)`;
        this.builder.pin(name, reason, statement);
      } else this.builder.undo(name, statement);
      return;
    }
    this.builder.setting(name, text, statement);
    if (name !== 'implicit_transactions' && name !== 'ansi_defaults') return;
    if (isOn === true) {
      const reason = `any of its statements may begin a transaction (SET ${name.toUpperCase()} ON)`;
      this.builder.pin('implicit_transactions', reason, statement);
    } else this.builder.undo('implicit_transactions', statement);
  }

  /** SELECT … INTO #t, in whatever query of a UNION it stands. */
  #selectInto(statement: Statement): void {
    const { tokens } = statement;
    for (const [at, token] of tokens.entries()) {
      if (!isWord(token, 'INTO')) continue;
      this.#temporary(readName(this.#sql, tokens, at + 1), 'temporary table', statement);
    }
  }

  #create(statement: Statement): void {
    const { tokens } = statement;
    if (isWord(tokens[1], 'TABLE')) {
      this.#temporary(readName(this.#sql, tokens, 2), 'temporary table', statement);
    } else if (isWord(tokens[1], 'PROC', 'PROCEDURE')) {
      this.#temporary(readName(this.#sql, tokens, 2), 'temporary procedure', statement);
    }
  }

  #temporary(name: ObjectName | null, what: string, statement: Statement): void {
    if (!isTemporary(name)) return;
    const key = name.parts.at(-1)!;
    if (this.#scope === 'batch' || name.last.startsWith('##')) {
      this.builder.pin(key, `it has the ${what} ${name.last}`, statement);
    } else this.#own.add(key);
  }

  /** DROP TABLE [IF EXISTS] #a, #b */
  #drop(statement: Statement): void {
    const { tokens } = statement;
    if (!isWord(tokens[1], 'TABLE', 'PROC', 'PROCEDURE')) return;
    let at = isWord(tokens[2], 'IF') ? 4 : 2;
    for (;;) {
      const name = readName(this.#sql, tokens, at);
      if (name === null) return;
      const key = name.parts.at(-1)!;
      if (isTemporary(name) && !this.#own.has(key)) this.builder.undo(key, statement);
      if (!isSymbol(tokens[name.end], ',')) return;
      at = name.end + 1;
    }
  }

  /** One in a variable, and one that is LOCAL, ends with its text. */
  #declareCursor(statement: Statement): void {
    const { tokens } = statement;
    const at = tokens.findIndex((token) => isWord(token, 'CURSOR'));
    const name = readName(this.#sql, tokens, 1);
    if (at < 0 || name === null || isWord(tokens[at + 1], 'LOCAL')) return;
    this.builder.pin(`cursor ${name.parts[0] ?? ''}`, `it has the cursor ${name.last}`, statement);
  }

  #execute(statement: Statement): void {
    const { tokens } = statement;
    if (isWord(tokens[1], 'AS')) {
      this.builder.pin('execute_as', 'it has changed its user (EXECUTE AS)', statement, true);
    } else if (isSymbol(tokens[1], '(')) {
      // EXEC ('…'), which is read if it is one literal; not one that runs elsewhere.
      const isOne = isSymbol(tokens[3], ')') || isSymbol(tokens[3], ',');
      if (isOne && !tokens.some((token) => isWord(token, 'AT'))) this.#text(tokens[2], statement);
    } else this.#call(statement, tokens[1]?.kind === 'variable' && isSymbol(tokens[2], '=') ? 3 : 1);
  }

  #call(statement: Statement, at: number): void {
    const { tokens } = statement;
    const name = readName(this.#sql, tokens, at);
    if (name === null) return;
    const procedure = name.parts.at(-1)!;
    const given = readArguments(this.#sql, tokens.slice(name.end));
    if (procedure === 'SP_EXECUTESQL') {
      const text = given.find((one) => one.name === '@STMT' || one.name === '@STATEMENT') ?? given[0];
      if (text?.text !== null && text !== undefined) this.#run(text.text, statement);
    } else this.builder.include(effectOfCall(procedure, given), statement);
  }

  #text(token: Token | undefined, statement: Statement): void {
    const text = literalText(this.#sql, token);
    if (text !== null) this.#run(text, statement);
  }

  #run(text: string, statement: Statement): void {
    if (this.#nesting >= MAX_NESTING) {
      this.builder.pin('nesting', 'it has run a text within a text that was not read', statement);
    } else this.builder.include(sessionEffect(text, 'dynamic', this.#nesting + 1), statement);
  }

  /** OPEN SYMMETRIC KEY k, OPEN MASTER KEY, CLOSE ALL SYMMETRIC KEYS; else it is of a cursor. */
  #key(statement: Statement): void {
    const { kind, tokens } = statement;
    const isMaster = isWord(tokens[1], 'MASTER');
    if (!isMaster && !isWord(tokens[1], 'SYMMETRIC', 'ALL')) return;
    const key = isMaster ? 'master' : (readName(this.#sql, tokens, 3)?.parts[0] ?? '');
    if (kind === 'OPEN') this.builder.pin(`key ${key}`, 'it has an open key (OPEN … KEY)', statement);
    // Which keys ALL are is not known here: the pins stay.
    else if (!isWord(tokens[1], 'ALL')) this.builder.undo(`key ${key}`, statement);
  }

  /** DBCC TRACEON (n): of the session; with -1 of the server. */
  #trace(statement: Statement): void {
    const { tokens } = statement;
    const command = wordOf(tokens[1]);
    if (tokens.some((token) => isSymbol(token, '-'))) return;
    for (const { kind, start, end } of tokens) {
      if (kind !== 'number') continue;
      const name = `trace flag ${this.#sql.slice(start, end)}`;
      if (command === 'TRACEON') this.builder.pin(name, `it has a ${name} of its own`, statement);
      else if (command === 'TRACEOFF') this.builder.undo(name, statement);
    }
  }
}

function isTemporary(name: ObjectName | null): name is ObjectName {
  return name?.last.startsWith('#') === true;
}

/** `@a = 'x', 'y'`: texts where they are literals by themselves. */
function readArguments(sql: string, tokens: readonly Token[]): readonly Argument[] {
  const given: Argument[] = [];
  for (let at = 0; at < tokens.length; at++) {
    let name = '';
    const token = tokens[at]!;
    if (token.kind === 'variable' && isSymbol(tokens[at + 1], '=')) {
      name = token.text;
      at += 2;
    }
    const value = tokens[at];
    let end = at;
    while (end < tokens.length && !isSymbol(tokens[end], ',')) end++;
    // A word without quotes is a text as well.
    const word = value?.kind === 'word' ? value.text : null;
    given.push({ name, text: end === at + 1 ? (literalText(sql, value) ?? word) : null });
    at = end;
  }
  return given;
}
