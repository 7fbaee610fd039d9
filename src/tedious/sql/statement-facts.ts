import { tokenize, type Token } from './lexer.ts';
import { outsideReason, targetIndex, targetOf, writtenDatabases } from './outside-effects.ts';
import { callsOnlyBuiltIns, changesNothing } from './read-only.ts';
import { NO_EFFECT, sessionEffect, type SessionEffect, type TextScope } from './session-effect.ts';
import { readSetStatement } from './set-statement.ts';
import { readStatements, type Statement } from './statements.ts';
import { isSymbol, isWord, readName, wordOf } from './token-tests.ts';

/** What is known of a text from its words alone, all its statements taken together. What can't be read counts as what it may be. */
export interface StatementFacts {
  /** Nothing in the database changes, and no code of the application runs but views. */
  readonly isRead: boolean;
  /** The same, or it sets what can be set again: outside of a transaction it may run twice. */
  readonly isRepeatable: boolean;
  /** One INSERT, UPDATE, DELETE or MERGE, and nothing else that stays: a transaction can be put around it. */
  readonly isSingleWrite: boolean;
  /** Why it must not run a second time even if it was rolled back (A7); null if it may, but for `databases`. */
  readonly actsOutside: string | null;
  /** Databases by whose names it writes, in upper case: all but the current one are outside. */
  readonly databases: readonly string[];
  /** Its result depends on the moment: it keeps the recorded precedence when it is replayed (B). */
  readonly momentDependent: boolean;
  /** A savepoint may stand behind it. */
  readonly mayLeaveSavepoint: boolean;
  /** It asks for @@IDENTITY as an earlier text has left it. On another session it gets another answer. */
  readonly asksForIdentity: boolean;
  /** The same of SCOPE_IDENTITY(). A call has a scope of its own, which begins without one. */
  readonly asksForScopeIdentity: boolean;
  /** The same of @@ROWCOUNT or @@ERROR. */
  readonly asksForRowCount: boolean;
  /** It surely runs an INSERT that lasts. */
  readonly inserts: boolean;
  readonly effect: SessionEffect;
}

const words = (text: string): ReadonlySet<string> => new Set(text.split(' '));
const WRITES = words('INSERT UPDATE DELETE MERGE');
/** They decide which of the others run. */
const FLOW = words('IF ELSE BEGIN END');
/** Options that make no difference to a transaction that is put around the text. */
const HARMLESS_OPTIONS = words(
  'ansi_nulls ansi_padding ansi_warnings arithabort concat_null_yields_null datefirst dateformat deadlock_priority language ' +
    'lock_timeout nocount numeric_roundabort quoted_identifier textsize',
);
/** What stands behind them need not run. */
const LEAVES = words('RETURN GOTO THROW BREAK CONTINUE');
const MOMENT = words('READPAST NOWAIT');
const MOMENT_KINDS = words(
  'CREATE ALTER DROP TRUNCATE ENABLE DISABLE RENAME ROLLBACK EXEC EXECUTE CALL UNKNOWN RECEIVE GET KILL WAITFOR',
);
/** Left by the statement in front; an INSERT leaves all of them. */
const LAST_RESULT = words('@@ROWCOUNT @@ERROR ROWCOUNT_BIG');
const LAST_IDENTITY = words('@@IDENTITY SCOPE_IDENTITY');
/** Another answer where a transaction is put around them. */
const TRANSACTION_STATE = words('@@TRANCOUNT XACT_STATE @@PROCID @@NESTLEVEL');

/** Never throws. */
export function statementFacts(sql: string, scope: TextScope): StatementFacts {
  const tokens = tokenize(sql);
  const statements = readStatements(tokens);
  const effect = sessionEffect(sql, scope);
  const isUnsure = tokens.some(({ kind }) => kind === 'unsure');
  const isRead = (statement: Statement): boolean => isReadStatement(sql, statement);
  const writing = statements.filter((statement) => !isRead(statement));
  const actsOutside = writing
    .map((statement) => outsideReason(sql, statement))
    .find((reason) => reason !== null);
  const asksForIdentity = asksEarlier(statements, '@@IDENTITY');
  const asksForScopeIdentity = scope === 'batch' && asksEarlier(statements, 'SCOPE_IDENTITY');
  const asksForRowCount = asksRowCount(statements);
  const isRepeatable =
    !isUnsure &&
    !asksForIdentity &&
    !asksForScopeIdentity &&
    !asksForRowCount &&
    effect.pins.length === 0 &&
    writing.every((statement) => sets(sql, statement));
  return {
    isRead: isRepeatable && writing.length === 0,
    isRepeatable,
    isSingleWrite:
      !isUnsure && effect === NO_EFFECT && actsOutside === undefined && isSingleWrite(sql, statements, scope),
    actsOutside: actsOutside ?? null,
    databases: [...new Set(writing.flatMap((statement) => writtenDatabases(sql, statement)))],
    momentDependent: isUnsure || statements.some((statement) => liesInTheMoment(sql, statement)),
    mayLeaveSavepoint: isUnsure || statements.some(savesOrCalls),
    asksForIdentity,
    asksForScopeIdentity,
    asksForRowCount,
    inserts: surelyInserts(statements),
    effect,
  };
}

function isReadStatement(sql: string, statement: Statement): boolean {
  const { kind, tokens } = statement;
  switch (kind) {
    case 'SELECT':
    case 'DECLARE':
    case 'PRINT':
    case 'IF':
      return changesNothing(tokens) && callsOnlyBuiltIns(tokens);
    case 'SET':
      return tokens[1]?.kind === 'variable' && changesNothing(tokens) && callsOnlyBuiltIns(tokens);
    case 'INSERT':
      return writesVariable(statement) && callsOnlyBuiltIns(tokens);
    default:
      return FLOW.has(kind);
  }
}

/** INSERT INTO @t …: a table that ends with the text. */
function writesVariable({ kind, tokens }: Statement): boolean {
  const at = targetIndex(tokens, kind);
  return at !== null && tokens[at]?.kind === 'variable' && changesNothing(tokens, at);
}

/** It sets an option or the database, to what stands there. */
function sets(sql: string, { kind, tokens }: Statement): boolean {
  return kind === 'USE' || (kind === 'SET' && readSetStatement(sql, tokens).kind === 'options');
}

function liesInTheMoment(sql: string, { kind, tokens }: Statement): boolean {
  if (MOMENT_KINDS.has(kind)) return true;
  // RAISERROR … WITH NOWAIT only says it at once.
  if (kind === 'RAISERROR') return false;
  if (kind === 'SET' && isWord(tokens[1], 'LOCK_TIMEOUT')) return true;
  if (kind === 'SELECT' && tokens.some((token) => isWord(token, 'INTO'))) return true;
  return tokens.some((token) => MOMENT.has(wordOf(token) ?? ''));
}

/** A procedure may have saved one. */
function savesOrCalls({ kind, tokens }: Statement): boolean {
  if (kind === 'CREATE' || kind === 'ALTER') return false;
  if (kind === 'CALL' || kind === 'UNKNOWN') return true;
  return tokens.some((token) => isWord(token, 'SAVE', 'EXEC', 'EXECUTE'));
}

function mentions({ tokens }: Statement, names: ReadonlySet<string>): boolean {
  return tokens.some(
    (token) => (token.kind === 'word' || token.kind === 'variable') && names.has(token.text),
  );
}

/** It is in or in front of the first statement that leaves another one. */
function asksEarlier(statements: readonly Statement[], name: string): boolean {
  const names = new Set([name]);
  const firstWrite = statements.findIndex(
    ({ kind }) => WRITES.has(kind) || kind === 'EXEC' || kind === 'EXECUTE',
  );
  const inFront = firstWrite < 0 ? statements : statements.slice(0, firstWrite + 1);
  return inFront.some((statement) => mentions(statement, names));
}

/** Nothing in front of it leaves the text, and it stands under no condition. */
function surelyInserts(statements: readonly Statement[]): boolean {
  const leaves = statements.findIndex(({ kind }) => LEAVES.has(kind));
  const inFront = leaves < 0 ? statements : statements.slice(0, leaves);
  return inFront.some((one) => one.kind === 'INSERT' && one.blocks.length === 0 && !writesVariable(one));
}

function asksRowCount([first]: readonly Statement[]): boolean {
  return first !== undefined && mentions(first, LAST_RESULT);
}

function isSingleWrite(sql: string, statements: readonly Statement[], scope: TextScope): boolean {
  const writes = statements.filter((one) => WRITES.has(one.kind) && !writesVariable(one));
  const [write] = writes;
  if (write === undefined || writes.length > 1 || !isPlainWrite(sql, write)) return false;
  if (statements.some((statement) => mentions(statement, TRANSACTION_STATE))) return false;
  const inFront = statements.slice(0, statements.indexOf(write) + 1);
  // The token's INSERT comes in front of all of them.
  if (inFront.some((one) => mentions(one, LAST_IDENTITY) || mentions(one, LAST_RESULT))) return false;
  return statements.every((one) => one === write || isBesideWrite(sql, one, scope));
}

/** It changes what lasts; not UPDATE STATISTICS, INSERT … EXECUTE, INSERT BULK and the like. */
function isPlainWrite(sql: string, { kind, tokens }: Statement): boolean {
  const at = targetIndex(tokens, kind);
  if (at === null || isWord(tokens[at], 'STATISTICS') || isWord(tokens[at - 1], 'BULK')) return false;
  const target = targetOf(sql, tokens, kind);
  if (target === null || target.last.startsWith('#')) return false;
  return !tokens.some((token) => isWord(token, 'EXEC', 'EXECUTE', 'CURSOR', 'CURRENT'));
}

/** It leaves nothing behind, and nothing that a transaction around it would change. */
function isBesideWrite(sql: string, statement: Statement, scope: TextScope): boolean {
  const { kind, tokens } = statement;
  switch (kind) {
    case 'SELECT':
      return changesNothing(tokens) || (scope === 'dynamic' && selectsIntoOwnTable(sql, tokens));
    case 'DECLARE':
    case 'PRINT':
      return changesNothing(tokens);
    case 'SET': {
      if (tokens[1]?.kind === 'variable') return changesNothing(tokens);
      const found = readSetStatement(sql, tokens);
      if (found.kind !== 'options') return false;
      return found.options.every(
        ({ name }) => HARMLESS_OPTIONS.has(name) || name.startsWith('identity_insert '),
      );
    }
    case 'DROP':
      // Knex: SELECT … INTO #out, INSERT … OUTPUT … INTO #out, SELECT … FROM #out, DROP TABLE #out
      return scope === 'dynamic' && isWord(tokens[1], 'TABLE') && isDropOfOne(sql, tokens);
    default:
      return WRITES.has(kind) && writesVariable(statement);
  }
}

function selectsIntoOwnTable(sql: string, tokens: readonly Token[]): boolean {
  const at = tokens.findIndex((token) => isWord(token, 'INTO'));
  const name = readName(sql, tokens, at + 1);
  if (at < 0 || name?.last.startsWith('#') !== true || name.last.startsWith('##')) return false;
  return changesNothing(tokens.slice(0, at)) && changesNothing(tokens, name.end);
}

function isDropOfOne(sql: string, tokens: readonly Token[]): boolean {
  const name = readName(sql, tokens, isWord(tokens[2], 'IF') ? 4 : 2);
  return name?.last.startsWith('#') === true && !isSymbol(tokens[name.end], ',');
}
