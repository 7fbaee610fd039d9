import { LruMap } from '../../lru-map.ts';
import { tokenize, type Token } from './lexer.ts';
import { NO_EFFECT, sessionEffect, type SessionEffect } from './session-effect.ts';

/** What is known of a text beforehand, by its words alone: what can't be read counts as what it may be. */
export interface TextAnalysis {
  /** It may run twice outside of a transaction and leave the same behind: it only reads, or sets what is set. */
  readonly isRepeatable: boolean;
  /** One INSERT, UPDATE, DELETE or MERGE, with nothing but reads behind it: it can have a transaction of its own. */
  readonly isSingleWrite: boolean;
  /** Why it must not run a second time even if it was rolled back (A7); null if it may. */
  readonly actsOutside: string | null;
  /** Its result depends on the moment: it keeps the recorded precedence when it is replayed (B). */
  readonly liesInTheMoment: boolean;
  /** A savepoint may stand behind it: what comes later may go back to it. */
  readonly mayLeaveSavepoint: boolean;
  readonly effect: SessionEffect;
}

/** What changes nothing. */
export const PLAIN: TextAnalysis = {
  isRepeatable: true,
  isSingleWrite: false,
  actsOutside: null,
  liesInTheMoment: false,
  mayLeaveSavepoint: false,
  effect: NO_EFFECT,
};

/** What nobody can see through: a procedure. */
export const OPAQUE: TextAnalysis = {
  ...PLAIN,
  isRepeatable: false,
  liesInTheMoment: true,
  mayLeaveSavepoint: true,
};

const words = (text: string): ReadonlySet<string> => new Set(text.split(' '));
const WRITES = words('INSERT UPDATE DELETE MERGE');
/** With none of these a text that begins with SELECT or WITH only reads. */
const NOT_IN_READS = words(
  'INSERT UPDATE DELETE MERGE INTO EXEC EXECUTE TRUNCATE DROP CREATE ALTER GRANT REVOKE DENY BEGIN COMMIT ROLLBACK SAVE ' +
    'SET USE BULK OPENROWSET OPENQUERY OPENDATASOURCE NEXT DBCC BACKUP RESTORE KILL SHUTDOWN RECONFIGURE RAISERROR THROW ' +
    'UPDATETEXT WRITETEXT OPEN FETCH CLOSE DEALLOCATE CHECKPOINT REVERT SETUSER ENABLE DISABLE IF WHILE GOTO RETURN ' +
    'CURSOR DECLARE WAITFOR PRINT',
);
/** Behind a single write there may be reads, and nothing of these. */
const NOT_BESIDE_A_WRITE = words(
  'EXEC EXECUTE TRUNCATE DROP CREATE ALTER GRANT REVOKE DENY BEGIN COMMIT ROLLBACK SAVE USE BULK OPENROWSET OPENQUERY ' +
    'OPENDATASOURCE DBCC BACKUP RESTORE KILL SHUTDOWN RECONFIGURE RAISERROR THROW UPDATETEXT WRITETEXT OPEN FETCH CLOSE ' +
    'DEALLOCATE CHECKPOINT REVERT SETUSER ENABLE DISABLE IF WHILE GOTO RETURN CURSOR DECLARE WAITFOR PRINT STATISTICS',
);
const MOMENT = words('READPAST NOWAIT CREATE ALTER DROP TRUNCATE ROLLBACK EXEC EXECUTE');
const OUTSIDE = words('OPENROWSET OPENQUERY OPENDATASOURCE BULK XP_CMDSHELL SP_SEND_DBMAIL');

const SAVEPOINT = words('SAVE EXEC EXECUTE');
/** What sees that it runs in a transaction of its own. */
const TRANSACTION_STATE = words('@@TRANCOUNT XACT_STATE');

const MAX_TEXTS = 2_000;
const MAX_CHARACTERS = 8_000_000;
const known: Readonly<Record<'batch' | 'dynamic', LruMap<string, TextAnalysis>>> = {
  batch: new LruMap(MAX_TEXTS, MAX_CHARACTERS),
  dynamic: new LruMap(MAX_TEXTS, MAX_CHARACTERS),
};

/** @param scope 'dynamic': a text of sp_executesql, of which SET and temporary tables do not outlive it */
export function analyse(sql: string, scope: 'batch' | 'dynamic'): TextAnalysis {
  const cache = known[scope];
  let analysis = cache.get(sql);
  if (analysis === undefined) {
    analysis = analyseText(sql, scope);
    cache.set(sql, analysis, sql.length);
  }
  return analysis;
}

function analyseText(sql: string, scope: 'batch' | 'dynamic'): TextAnalysis {
  const tokens = tokenize(sql);
  const all = tokens.flatMap((token) => (token.kind === 'word' ? token.text : []));
  const isUnsure = tokens.some(({ kind }) => kind === 'unsure');
  const effect = sessionEffect(sql, scope);
  const isRead =
    !isUnsure &&
    beginsWith(tokens, 'SELECT', 'WITH') &&
    !all.some((word) => NOT_IN_READS.has(word)) &&
    !callsDotted(tokens);
  const actsOutside = outside(tokens, all, isRead);
  const isSetting = !isUnsure && onlySets(tokens, effect);
  return {
    isRepeatable: isRead || isSetting || tokens.length === 0,
    isSingleWrite:
      !isUnsure &&
      effect === NO_EFFECT &&
      actsOutside === null &&
      !seesTransaction(tokens) &&
      isSingleWrite(tokens, all),
    actsOutside,
    liesInTheMoment: all.some((word) => MOMENT.has(word)),
    mayLeaveSavepoint: isUnsure || all.some((word) => SAVEPOINT.has(word)),
    effect,
  };
}

function beginsWith(tokens: readonly Token[], ...starts: readonly string[]): boolean {
  const first = tokens.find(
    (token) => !(token.kind === 'symbol' && (token.text === '(' || token.text === ';')),
  );
  return first?.kind === 'word' && starts.includes(first.text);
}

/** `dbo.f(…)`: code of the database, which may be an extension that does anything. */
function callsDotted(tokens: readonly Token[]): boolean {
  return tokens.some(
    (token, i) =>
      isSymbol(token, '.') && isName(tokens[i + 1]) && isSymbol(tokens[i + 2], '(') && isName(tokens[i - 1]),
  );
}

/** Nothing but SETs of literals. */
function onlySets(tokens: readonly Token[], effect: SessionEffect): boolean {
  if (effect.settings.length === 0 || effect.pins.length > 0) return false;
  const sets = tokens.filter((token) => token.kind === 'word' && token.text === 'SET').length;
  const statements = new Set(
    'SELECT INSERT UPDATE DELETE MERGE EXEC EXECUTE BEGIN COMMIT ROLLBACK SAVE CREATE DROP ALTER TRUNCATE DECLARE IF WHILE'.split(
      ' ',
    ),
  );
  return (
    beginsWith(tokens, 'SET') &&
    sets === effect.settings.length &&
    !tokens.some((token) => token.kind === 'word' && statements.has(token.text))
  );
}

function seesTransaction(tokens: readonly Token[]): boolean {
  return tokens.some(
    (token) => (token.kind === 'variable' || token.kind === 'word') && TRANSACTION_STATE.has(token.text),
  );
}

function isSingleWrite(tokens: readonly Token[], all: readonly string[]): boolean {
  if (!beginsWith(tokens, 'INSERT', 'UPDATE', 'DELETE', 'MERGE', 'WITH')) return false;
  const writes = all.filter((word) => WRITES.has(word));
  const isMerge = writes[0] === 'MERGE';
  if (isMerge ? writes.filter((word) => word === 'MERGE').length !== 1 : writes.length !== 1) return false;
  // MERGE ends with its semicolon: what stands behind another one is a statement.
  if (isMerge && tokens.slice(0, -1).some((token) => isSymbol(token, ';'))) return false;
  const sets = all.filter((word) => word === 'SET').length;
  if (writes[0] === 'INSERT' || writes[0] === 'DELETE' ? sets > 0 : !isMerge && sets !== 1) return false;
  const intos = all.filter((word) => word === 'INTO').length;
  if (intos > (writes[0] === 'INSERT' || isMerge ? 1 : 0)) return false;
  return !all.some((word) => NOT_BESIDE_A_WRITE.has(word));
}

function outside(tokens: readonly Token[], all: readonly string[], isRead: boolean): string | null {
  // The head of a bulk load, whose rows come by another message.
  if (all[0] === 'INSERT' && all[1] === 'BULK') return null;
  const word = all.find((one) => OUTSIDE.has(one) || one.startsWith('SP_OA') || one.startsWith('XP_'));
  if (word !== undefined) return `it may act outside of the database (${word.toLowerCase()})`;
  if (!isRead && hasLinkedServer(tokens)) return 'it may act on another server (a name of four parts)';
  return null;
}

/** a.b.c.d */
function hasLinkedServer(tokens: readonly Token[]): boolean {
  return tokens.some(
    (token, i) =>
      isName(token) &&
      isSymbol(tokens[i + 1], '.') &&
      isSymbol(tokens[i + 3], '.') &&
      isSymbol(tokens[i + 5], '.') &&
      isName(tokens[i + 6]),
  );
}

function isName(token: Token | undefined): boolean {
  return token?.kind === 'word' || token?.kind === 'quoted';
}

function isSymbol(token: Token | undefined, text: string): boolean {
  return token?.kind === 'symbol' && token.text === text;
}
