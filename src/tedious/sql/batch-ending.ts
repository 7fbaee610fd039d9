import type { Ending } from '../../session/loss-situation.ts';
import { tokenize, type Token } from './lexer.ts';

/** What a batch may do to the transaction that is open when it runs, and whether it may leave another one open. */
export interface BatchEnding {
  readonly ending: Ending;
  readonly opens: boolean;
}

const NOTHING: BatchEnding = { ending: 'none', opens: false };
const UNCLEAR: BatchEnding = { ending: 'unclear', opens: true };

/**
 * Words that are reserved, so that outside of quotes they can't be names, and without one of which no batch ends or
 * begins a transaction. EXECUTE may: what it runs can do all of it.
 */
const DECISIVE = new Set(['COMMIT', 'ROLLBACK', 'SAVE', 'EXEC', 'EXECUTE']);
const TRANSACTION = new Set(['TRAN', 'TRANSACTION']);
/** With one of these it depends on more than the text which statement runs. */
const CONTROL_FLOW = new Set([
  'IF',
  'ELSE',
  'WHILE',
  'GOTO',
  'RETURN',
  'BREAK',
  'CONTINUE',
  'TRY',
  'CATCH',
  'THROW',
]);
/** What stands behind it is not run now: it is the text of something that is made, or SET has turned running off. */
const NOT_RUN = new Set(['PROC', 'PROCEDURE', 'TRIGGER', 'FUNCTION', 'NOEXEC', 'PARSEONLY', 'FMTONLY']);
/** A batch whose first word is none of these calls a procedure of that name. */
const FIRST_WORDS = new Set(
  (
    'ADD ALTER BACKUP BEGIN BULK CHECKPOINT CLOSE COMMIT CREATE DBCC DEALLOCATE DECLARE DELETE DENY DISABLE DROP ENABLE ' +
    'EXEC EXECUTE FETCH GOTO GRANT IF INSERT KILL MERGE OPEN PRINT RAISERROR READTEXT RECONFIGURE RESTORE RETURN REVERT ' +
    'REVOKE ROLLBACK SAVE SELECT SET SETUSER SHUTDOWN THROW TRUNCATE UPDATE UPDATETEXT USE WAITFOR WHILE WITH WRITETEXT'
  ).split(' '),
);

/**
 * Reads what a batch does to transactions. T-SQL needs nothing between two statements, so only what can't be otherwise is
 * called by its name; all else is 'unclear'. Triggers can't be seen here. One that ends the transaction of its statement
 * makes that statement fail (3609), but what it did to the transaction stands: who decides by 'none' must know that.
 *
 * @param isOpen a transaction is open: another BEGIN only counts, and so does the COMMIT that belongs to it
 */
export function batchEnding(sql: string, isOpen: boolean): BatchEnding {
  const tokens = withoutSemicolonsAtTheEnd(tokenize(sql));
  const first = tokens[0];
  if (first === undefined) return NOTHING;
  if (tokens.some(({ kind }) => kind === 'unsure')) return UNCLEAR;
  if (first.kind !== 'word' && !isSymbol(first, ';') && !isSymbol(first, '(')) return UNCLEAR;
  if (first.kind === 'word' && !FIRST_WORDS.has(first.text)) return UNCLEAR;
  const decisive = tokens.filter((token, i) => isDecisive(token, tokens[i + 1]));
  if (decisive.length === 0) return turnsOnImplicitTransactions(tokens) ? UNCLEAR : NOTHING;
  const lone = loneCommand(tokens);
  switch (lone) {
    case 'begin':
      return { ending: 'none', opens: true };
    case 'commit':
    case 'rollback':
      return { ending: lone, opens: false };
    case 'save':
      return NOTHING;
    case null:
      return trailingCommit(tokens, decisive, isOpen);
  }
}

function isDecisive(token: Token, next: Token | undefined): boolean {
  if (token.kind !== 'word') return false;
  if (DECISIVE.has(token.text)) return true;
  return (
    token.text === 'BEGIN' &&
    next?.kind === 'word' &&
    (TRANSACTION.has(next.text) || next.text === 'DISTRIBUTED')
  );
}

/** The whole batch is one of the commands. */
function loneCommand(tokens: readonly Token[]): 'begin' | 'commit' | 'rollback' | 'save' | null {
  const [first, second, third] = tokens;
  const isTransaction = second?.kind === 'word' && TRANSACTION.has(second.text);
  switch (first?.kind === 'word' ? first.text : '') {
    case 'BEGIN':
      return isTransaction && tokens.length <= 3 && isName(third) ? 'begin' : null;
    case 'SAVE':
      return isTransaction && tokens.length === 3 && isName(third) ? 'save' : null;
    case 'COMMIT':
      if (tokens.length === 1) return 'commit';
      if (second?.kind === 'word' && second.text === 'WORK') return tokens.length === 2 ? 'commit' : null;
      // The name of a COMMIT means nothing.
      return isTransaction && tokens.length <= 3 && isName(third) ? 'commit' : null;
    case 'ROLLBACK':
      if (tokens.length === 1) return 'rollback';
      // With a name it goes back to a savepoint, or ends all: only the server knows.
      if (tokens.length !== 2) return null;
      return isTransaction || (second?.kind === 'word' && second.text === 'WORK') ? 'rollback' : null;
    default:
      return null;
  }
}

/** Nothing, or one word that may be a name. */
function isName(token: Token | undefined): boolean {
  if (token === undefined || token.kind === 'quoted' || token.kind === 'variable') return true;
  return token.kind === 'word' && !FIRST_WORDS.has(token.text) && token.text !== 'WITH';
}

/** The only COMMIT stands at the end, and nothing in front of it can have been left out, or have ended the transaction. */
function trailingCommit(tokens: readonly Token[], decisive: readonly Token[], isOpen: boolean): BatchEnding {
  const words = decisive.map((token) => (token.kind === 'word' ? token.text : ''));
  const isUnsure = (token: Token): boolean =>
    token.kind === 'word' && (CONTROL_FLOW.has(token.text) || NOT_RUN.has(token.text));
  if (tokens.some(isUnsure)) return UNCLEAR;
  const last = decisive.at(-1)!;
  const at = tokens.indexOf(last);
  if (words.at(-1) !== 'COMMIT' || loneCommand(tokens.slice(at)) !== 'commit') return UNCLEAR;
  const inFront = words.slice(0, -1).filter((word) => word !== 'SAVE');
  if (inFront.length === 0) return isOpen ? { ending: 'trailing-commit', opens: false } : UNCLEAR;
  // Its own BEGIN at the very beginning: it is a transaction of its own, unless one is open, when both only count.
  const isItsOwn = inFront.length === 1 && inFront[0] === 'BEGIN' && tokens[0] === decisive[0];
  return isItsOwn && !isOpen ? { ending: 'trailing-commit', opens: true } : UNCLEAR;
}

/** From then on any statement may open a transaction. */
function turnsOnImplicitTransactions(tokens: readonly Token[]): boolean {
  return tokens.some(
    (token, i) =>
      token.kind === 'word' &&
      (token.text === 'IMPLICIT_TRANSACTIONS' || token.text === 'ANSI_DEFAULTS') &&
      tokens.slice(0, i).some((one) => one.kind === 'word' && one.text === 'SET'),
  );
}

function withoutSemicolonsAtTheEnd(tokens: readonly Token[]): readonly Token[] {
  let end = tokens.length;
  while (end > 0 && isSymbol(tokens[end - 1]!, ';')) end--;
  return tokens.slice(0, end);
}

function isSymbol(token: Token, text: string): boolean {
  return token.kind === 'symbol' && token.text === text;
}
