import { isBuiltIn } from './built-in-functions.ts';
import type { Token } from './lexer.ts';
import { isName, isSymbol, isWord, wordOf } from './token-tests.ts';

const words = (text: string): ReadonlySet<string> => new Set(text.split(' '));
/** Reserved words, which a query that changes nothing has nowhere, in parentheses or not. */
const NOT_IN_READS = words(
  'INSERT UPDATE DELETE INTO EXEC EXECUTE OPENROWSET OPENQUERY OPENDATASOURCE BULK CURSOR TRUNCATE DROP CREATE ALTER SAVE ' +
    'COMMIT ROLLBACK UPDATETEXT WRITETEXT RECEIVE',
);
const JOINS = words('INNER LEFT RIGHT FULL OUTER');
const HINTS = words(
  'FORCESCAN FORCESEEK HOLDLOCK INDEX KEEPIDENTITY NOEXPAND NOLOCK NOWAIT PAGLOCK READCOMMITTED READCOMMITTEDLOCK READPAST ' +
    'READUNCOMMITTED REPEATABLEREAD ROWLOCK SERIALIZABLE SNAPSHOT TABLOCK TABLOCKX UPDLOCK XLOCK',
);
/** Of values of type xml. */
const METHODS = words('VALUE QUERY EXIST NODES');
/** Schemas of the server's own. */
const SYSTEM_SCHEMAS = words('SYS INFORMATION_SCHEMA');

/** A query or an expression in it changes nothing in the database, whatever functions it calls. @param from where to begin */
export function changesNothing(tokens: readonly Token[], from = 0): boolean {
  return tokens.every((token, i) => {
    const word = wordOf(token);
    if (i < from || word === null || isSymbol(tokens[i - 1], '.')) return true;
    // A hint for joins.
    if (word === 'MERGE')
      return JOINS.has(wordOf(tokens[i - 1]) ?? '') || isWord(tokens[i + 1], 'JOIN', 'UNION');
    if (word === 'NEXT') return !isWord(tokens[i + 1], 'VALUE');
    return !NOT_IN_READS.has(word);
  });
}

/**
 * It calls the server's own functions only. Those of the application can't change the database either, but may be written
 * in other languages, and act anywhere.
 */
export function callsOnlyBuiltIns(tokens: readonly Token[]): boolean {
  return tokens.every((token, i) => {
    if (!isName(token) || !isSymbol(tokens[i + 1], '(')) return true;
    if (isSymbol(tokens[i - 1], '.')) return isKnownMethod(tokens, i) || isHint(tokens, i);
    const word = wordOf(token);
    return (word !== null && isBuiltIn(word)) || isHint(tokens, i) || isListOfColumns(tokens, i);
  });
}

/** c.value('(/a)[1]', 'int'), or a function of the schema sys. */
function isKnownMethod(tokens: readonly Token[], at: number): boolean {
  if (METHODS.has(wordOf(tokens[at]) ?? '')) return tokens[at + 2]?.kind === 'string';
  return SYSTEM_SCHEMAS.has(wordOf(tokens[at - 2]) ?? '') && !isSymbol(tokens[at - 3], '.');
}

/** FROM t (NOLOCK) */
function isHint(tokens: readonly Token[], at: number): boolean {
  return (
    HINTS.has(wordOf(tokens[at + 2]) ?? '') &&
    (isSymbol(tokens[at + 3], ')') || isSymbol(tokens[at + 3], ','))
  );
}

/** WITH a (x, y) AS …, or FROM (…) AS a (x, y) */
function isListOfColumns(tokens: readonly Token[], at: number): boolean {
  let end = at + 2;
  while (isName(tokens[end]) || isSymbol(tokens[end], ',')) end++;
  if (!isSymbol(tokens[end], ')')) return false;
  const before = tokens[at - 1];
  if (isWord(before, 'AS', 'INDEX') || isSymbol(before, ')')) return true;
  return (
    isWord(before, 'WITH') ||
    (isSymbol(before, ',') && isWord(tokens[end + 1], 'AS') && isSymbol(tokens[end + 2], '('))
  );
}
