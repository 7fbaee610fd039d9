import type { Token } from './lexer.ts';

/** What a text does to the state of its session, beyond its transaction (design.md section 3). */
export interface SessionEffect {
  /** Statements that set something to a value that stands in them, by the name of what they set. */
  readonly settings: readonly { readonly name: string; readonly text: string }[];
  /** What no new session can be given, by a name. */
  readonly pins: readonly { readonly name: string; readonly reason: string }[];
  /** Names of pins that are gone behind it. */
  readonly undone: readonly string[];
}

export const NO_EFFECT: SessionEffect = { settings: [], pins: [], undone: [] };

/** Options of SET that outlive their batch (SQL Server, "SET statements"). */
const OPTIONS = new Set(
  (
    'ANSI_DEFAULTS ANSI_NULL_DFLT_OFF ANSI_NULL_DFLT_ON ANSI_NULLS ANSI_PADDING ANSI_WARNINGS ARITHABORT ARITHIGNORE ' +
    'CONCAT_NULL_YIELDS_NULL CURSOR_CLOSE_ON_COMMIT DATEFIRST DATEFORMAT DEADLOCK_PRIORITY FIPS_FLAGGER FORCEPLAN ' +
    'IDENTITY_INSERT IMPLICIT_TRANSACTIONS LANGUAGE LOCK_TIMEOUT NOCOUNT NOEXEC NUMERIC_ROUNDABORT PARSEONLY ' +
    'QUERY_GOVERNOR_COST_LIMIT QUOTED_IDENTIFIER REMOTE_PROC_TRANSACTIONS ROWCOUNT SHOWPLAN_ALL SHOWPLAN_TEXT ' +
    'SHOWPLAN_XML STATISTICS TEXTSIZE XACT_ABORT'
  ).split(' '),
);
const CONTROL_FLOW = new Set(['IF', 'ELSE', 'WHILE', 'GOTO', 'TRY', 'CATCH', 'RETURN']);
const PROCEDURES: Readonly<Record<string, string>> = {
  SP_SET_SESSION_CONTEXT: 'it has a session context (sp_set_session_context)',
  SP_SETAPPROLE: 'it has taken an application role (sp_setapprole)',
  SP_CURSOROPEN: 'it has a server cursor',
  SP_CURSORPREPEXEC: 'it has a server cursor',
  SP_PREPEXEC: 'it has a statement prepared by sp_prepexec',
  SP_PREPEXECRPC: 'it has a statement prepared by sp_prepexecrpc',
};

/** @param scope 'dynamic': a text of sp_executesql, whose SET and temporary tables end with it */
export function sessionEffect(
  sql: string,
  tokens: readonly Token[],
  scope: 'batch' | 'dynamic',
): SessionEffect {
  const settings: { name: string; text: string }[] = [];
  const pins: { name: string; reason: string }[] = [];
  const undone: string[] = [];
  const isConditional = tokens.some((token) => token.kind === 'word' && CONTROL_FLOW.has(token.text));
  const pin = (name: string, reason: string): void => {
    pins.push({ name, reason });
  };
  for (let i = 0; i < tokens.length; i++) {
    const word = wordAt(tokens, i);
    switch (word) {
      case 'SET': {
        const found = readSetting(sql, tokens, i);
        if (found === null) break;
        if (scope === 'dynamic' && found.name !== 'context_info') break;
        if (found.text === null || isConditional)
          pin(found.name, `it has a setting that can't be read from its text (${found.name})`);
        else settings.push({ name: found.name, text: found.text });
        if (found.name === 'implicit_transactions' && /\bON\b/i.test(found.text ?? 'ON')) {
          pin('implicit_transactions', 'it has IMPLICIT_TRANSACTIONS or ANSI_DEFAULTS on');
        }
        break;
      }
      case 'CREATE':
      case 'INTO': {
        const name = temporaryName(tokens, word === 'CREATE' ? i + 2 : i + 1);
        if (name === null || (word === 'CREATE' && wordAt(tokens, i + 1) !== 'TABLE')) break;
        // INSERT INTO one that is there already makes none.
        if (word === 'INTO' && wordAt(tokens, i - 1) === 'INSERT') break;
        if (scope === 'batch' || name.startsWith('##')) pin(name, 'it has a temporary table');
        break;
      }
      case 'DROP': {
        const at = wordAt(tokens, i + 2) === 'IF' ? i + 4 : i + 2;
        const name = temporaryName(tokens, at);
        if (name === null) break;
        const made = pins.findIndex((one) => one.name === name);
        if (made >= 0) pins.splice(made, 1);
        undone.push(name);
        break;
      }
      case 'CURSOR':
        pin('cursor', 'it has a cursor');
        break;
      case 'DEALLOCATE': {
        const made = pins.findIndex((one) => one.name === 'cursor');
        if (made >= 0) pins.splice(made, 1);
        break;
      }
      case 'EXECUTE':
      case 'EXEC':
        if (wordAt(tokens, i + 1) === 'AS') pin('execute_as', 'it has changed its user (EXECUTE AS)');
        break;
      case 'SETUSER':
        pin('execute_as', 'it has changed its user (SETUSER)');
        break;
      case 'REVERT':
        undone.push('execute_as');
        break;
      case null:
        break;
      default: {
        const reason = PROCEDURES[word];
        if (reason !== undefined) pin(word.toLowerCase(), reason);
        else if (word === 'SP_GETAPPLOCK' && /session/i.test(sql))
          pin('applock', 'it has a lock of its own (sp_getapplock)');
        else if (word === 'SP_RELEASEAPPLOCK') undone.push('applock');
      }
    }
  }
  if (settings.length === 0 && pins.length === 0 && undone.length === 0) return NO_EFFECT;
  return { settings, pins, undone };
}

/** What a procedure that is called by the protocol itself does. */
export function effectOfProcedure(name: string, payload: Buffer): SessionEffect {
  const upper = name.toUpperCase().replace(/^(SYS|DBO)\./, '');
  const reason = PROCEDURES[upper];
  if (reason !== undefined) return { ...NO_EFFECT, pins: [{ name: upper.toLowerCase(), reason }] };
  if (upper === 'SP_GETAPPLOCK' && /session/i.test(payload.toString('utf16le'))) {
    return { ...NO_EFFECT, pins: [{ name: 'applock', reason: 'it has a lock of its own (sp_getapplock)' }] };
  }
  if (upper === 'SP_RELEASEAPPLOCK') return { ...NO_EFFECT, undone: ['applock'] };
  return NO_EFFECT;
}

function wordAt(tokens: readonly Token[], index: number): string | null {
  const token = tokens[index];
  return token?.kind === 'word' ? token.text : null;
}

function temporaryName(tokens: readonly Token[], index: number): string | null {
  const name = wordAt(tokens, index);
  return name?.startsWith('#') === true ? name : null;
}

/** Null: it sets a column or a variable. `text` null: its value does not stand there. */
function readSetting(
  sql: string,
  tokens: readonly Token[],
  at: number,
): { readonly name: string; readonly text: string | null } | null {
  const first = wordAt(tokens, at + 1);
  if (first === null) return null;
  const slice = (last: number): string => sql.slice(tokens[at]!.start, tokens[last]!.end);
  if (first === 'TRANSACTION') {
    // ISOLATION LEVEL READ COMMITTED | REPEATABLE READ | SNAPSHOT | SERIALIZABLE …
    const level = wordAt(tokens, at + 4);
    if (level === null) return { name: 'isolation', text: null };
    return { name: 'isolation', text: slice(level === 'READ' || level === 'REPEATABLE' ? at + 5 : at + 4) };
  }
  if (first === 'CONTEXT_INFO') return { name: 'context_info', text: null };
  if (!OPTIONS.has(first)) return null;
  let last = at + 1;
  const names = [first];
  // SET ANSI_NULLS, QUOTED_IDENTIFIER ON
  while (isSymbol(tokens[last + 1], ',') && OPTIONS.has(wordAt(tokens, last + 2) ?? '')) {
    last += 2;
    names.push(wordAt(tokens, last)!);
  }
  if (isSymbol(tokens[last + 1], '=')) return null; // A column of that name.
  if (first === 'STATISTICS') last++;
  if (first === 'IDENTITY_INSERT') {
    while (tokens[last + 1] !== undefined && !isOnOrOff(tokens[last + 1]!)) last++;
  }
  if (isSymbol(tokens[last + 1], '-')) last++;
  const value = tokens[last + 1];
  const name =
    first === 'ANSI_DEFAULTS' ? 'implicit_transactions' : names.map((one) => one.toLowerCase()).join(',');
  if (value === undefined || value.kind === 'variable' || value.kind === 'symbol')
    return { name, text: null };
  return { name, text: slice(last + 1) };
}

function isOnOrOff(token: Token): boolean {
  return token.kind === 'word' && (token.text === 'ON' || token.text === 'OFF');
}

function isSymbol(token: Token | undefined, text: string): boolean {
  return token?.kind === 'symbol' && token.text === text;
}
