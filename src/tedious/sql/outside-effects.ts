import type { Token } from './lexer.ts';
import type { Statement } from './statements.ts';
import { isName, isSymbol, isWord, literalText, readName, wordOf, type ObjectName } from './token-tests.ts';

const words = (text: string): ReadonlySet<string> => new Set(text.split(' '));
const FUNCTIONS = words('OPENROWSET OPENQUERY OPENDATASOURCE');
const PROCEDURES = words(
  'SP_SEND_DBMAIL SP_START_JOB SP_STOP_JOB SP_CONFIGURE SP_EXECUTE_EXTERNAL_SCRIPT SP_INVOKE_EXTERNAL_REST_ENDPOINT ' +
    'SP_ADDLINKEDSERVER SP_DROPSERVER SP_SERVEROPTION SP_DETACH_DB SP_ATTACH_DB',
);
const COMMANDS = words('BACKUP RESTORE SHUTDOWN RECONFIGURE KILL DUMP LOAD DISK');
/** What CREATE, ALTER and DROP make of the server, and not of the database. */
const OF_THE_SERVER = words('DATABASE LOGIN SERVER ENDPOINT CREDENTIAL AVAILABILITY EVENT CRYPTOGRAPHIC');
const IN_A_TEXT = /\b(xp_\w+|sp_oa\w+|sp_send_dbmail|openrowset|openquery|opendatasource)\b/i;
const SERVER_PARTS = 4;
const DATABASE_PARTS = 3;
const TABLE_POSITIONS = words('FROM JOIN USING INTO');

/** Why a statement that is no read may act where a rollback of its transaction does not reach (A7); null if it can't be seen to. */
export function outsideReason(sql: string, { kind, tokens }: Statement): string | null {
  const may = (what: string): string => `it may act outside of the database (${what.toLowerCase()})`;
  if (COMMANDS.has(kind)) return may(kind);
  if (kind === 'BULK') return 'it reads a file of the server (BULK INSERT)';
  if (kind === 'CREATE' || kind === 'ALTER' || kind === 'DROP') {
    const what = wordOf(tokens[1]);
    // ALTER DATABASE SCOPED CONFIGURATION is of the database.
    if (what !== null && OF_THE_SERVER.has(what) && !isWord(tokens[2], 'SCOPED'))
      return may(`${kind} ${what}`);
  }
  const isExecution = kind === 'EXEC' || kind === 'EXECUTE' || kind === 'CALL';
  if (isExecution && tokens.some((token, i) => isWord(token, 'AT') && isSymbol(tokens[i - 1], ')'))) {
    return 'it may act on another server (EXECUTE … AT)';
  }
  for (let at = 0; at < tokens.length; at++) {
    const token = tokens[at]!;
    const word = wordOf(token);
    if (word !== null && FUNCTIONS.has(word)) return may(word);
    if (isExecution) {
      const found = IN_A_TEXT.exec(literalText(sql, token) ?? '')?.[1];
      if (found !== undefined) return may(found);
    }
    const name = readName(sql, tokens, at);
    if (name === null) continue;
    const last = name.parts.at(-1)!;
    if (PROCEDURES.has(last) || last.startsWith('XP_') || last.startsWith('SP_OA')) return may(last);
    if (name.parts.length >= SERVER_PARTS) return 'it may act on another server (a name of four parts)';
    at = name.end - 1;
  }
  return null;
}

/**
 * The databases that the names of three parts are of in which a statement writes, or whose procedures it calls; in upper
 * case.
 */
export function writtenDatabases(sql: string, statement: Statement): readonly string[] {
  return writtenNames(sql, statement).flatMap(({ parts }) => {
    const isTemporary = parts.at(-1)!.startsWith('#');
    return parts.length === DATABASE_PARTS && !isTemporary ? [parts[0]!] : [];
  });
}

function writtenNames(sql: string, { kind, tokens }: Statement): readonly ObjectName[] {
  const nameAt = (at: number): readonly ObjectName[] => {
    const name = readName(sql, tokens, at);
    return name === null ? [] : [name];
  };
  switch (kind) {
    case 'EXEC':
    case 'EXECUTE':
      return nameAt(tokens[1]?.kind === 'variable' && isSymbol(tokens[2], '=') ? 3 : 1);
    case 'CALL':
      return nameAt(0);
    case 'TRUNCATE':
      return nameAt(2);
    case 'CREATE':
    case 'ALTER':
    case 'DROP':
      // TABLE t, UNIQUE CLUSTERED INDEX i ON t, TABLE IF EXISTS t
      return tokens.flatMap((token, at) =>
        isName(token) && !isSymbol(tokens[at - 1], '.') ? nameAt(at) : [],
      );
    case 'SELECT':
    case 'INSERT':
    case 'UPDATE':
    case 'DELETE':
    case 'MERGE': {
      const target = targetOf(sql, tokens, kind);
      return [
        ...(target === null ? [] : [target, ...namedBy(sql, tokens, target)]),
        ...behindInto(sql, tokens),
      ];
    }
    default:
      return [];
  }
}

/**
 * What an INSERT, UPDATE, DELETE or MERGE changes, be it by an alias. Null for a variable, and where it can't be read.
 *
 * @param tokens of a statement, with the common table expressions in front of it
 */
export function targetOf(sql: string, tokens: readonly Token[], verb: string): ObjectName | null {
  const at = targetIndex(tokens, verb);
  return at === null ? null : readName(sql, tokens, at);
}

/** Where the name of what is changed begins. */
export function targetIndex(tokens: readonly Token[], verb: string): number | null {
  let depth = 0;
  let at = tokens.findIndex((token) => {
    if (isSymbol(token, '(')) depth++;
    if (isSymbol(token, ')')) depth--;
    return depth === 0 && isWord(token, verb);
  });
  if (at < 0 || verb === 'SELECT') return null;
  at++;
  if (isWord(tokens[at], 'TOP')) {
    while (at < tokens.length && !isSymbol(tokens[at], ')')) at++;
    at += isWord(tokens[at + 1], 'PERCENT') ? 2 : 1;
  }
  // INSERT BULK t is the head of a bulk load.
  return isWord(tokens[at], 'INTO', 'FROM', 'BULK') ? at + 1 : at;
}

/** UPDATE a SET … FROM other.dbo.t AS a */
function namedBy(sql: string, tokens: readonly Token[], target: ObjectName): readonly ObjectName[] {
  if (target.parts.length > 1) return [];
  return tokens.flatMap((token, i) => {
    if (!TABLE_POSITIONS.has(wordOf(token) ?? '') && !isSymbol(token, ',')) return [];
    const name = readName(sql, tokens, i + 1);
    if (name === null) return [];
    const alias = readName(sql, tokens, isWord(tokens[name.end], 'AS') ? name.end + 1 : name.end);
    return alias?.parts[0] === target.parts[0] || name.parts.at(-1) === target.parts[0] ? [name] : [];
  });
}

function behindInto(sql: string, tokens: readonly Token[]): readonly ObjectName[] {
  return tokens.flatMap((token, i) => {
    const name = isWord(token, 'INTO') ? readName(sql, tokens, i + 1) : null;
    return name === null ? [] : [name];
  });
}
