import { statementHeads, type StatementHead } from './leading-keywords.ts';
import { tokens } from './lexer.ts';
import { failsToParse } from './parser.ts';
import { transactionCommands } from './transaction-command.ts';

/**
 * How a commit token can go with a text that the application sends as one Query outside of a transaction, so that both
 * take effect or neither does (R3; commit-token facts, A2 and A3).
 *
 * - `'extended'`: the text is sent by the extended protocol, the token behind it in front of the one Sync.
 * - `'appended'`: the token is one more statement of the same string. Never extended messages and a Query in one
 *   implicit transaction: PostgreSQL 18 then forgets to commit.
 * - `'none'`: it can't have one, or needs none.
 */
export type TokenPlace = 'extended' | 'appended' | 'none';

/**
 * First words of commands that run within one transaction whatever stands around them, and mean the same inside the
 * implicit block that a string of several statements is. All others get no token: those that commit by themselves
 * (VACUUM, CALL, …), those that a later version brings, and those that leave nothing to be asked for (SET, LOCK, …).
 */
const WITHIN_A_TRANSACTION: ReadonlySet<string> = new Set([
  'INSERT', 'UPDATE', 'DELETE', 'MERGE', 'SELECT', 'WITH', 'VALUES', 'TABLE', 'COPY', 'TRUNCATE', 'EXECUTE', 'EXPLAIN',
  'CREATE', 'ALTER', 'DROP', 'COMMENT', 'GRANT', 'REVOKE', 'REASSIGN', 'REFRESH', 'IMPORT', 'SECURITY', 'DO',
]); // prettier-ignore

/** They stand in a string of several statements as they do without a token, but need none by themselves. */
const WITHOUT_TOKEN: ReadonlySet<string> = new Set([
  'SET', 'RESET', 'SHOW', 'DISCARD', 'LISTEN', 'UNLISTEN', 'DEALLOCATE', 'LOCK', 'DECLARE', 'FETCH', 'MOVE', 'CLOSE',
  'CHECKPOINT', 'LOAD',
  // Its whole string is kept, and shown in pg_prepared_statements.
  'PREPARE',
  // Only its COMMIT assigns an xid, behind the token, which is not written then and would say that it never ran.
  'NOTIFY',
]); // prettier-ignore

/** What the second word (or the third, behind UNIQUE) makes of CREATE, ALTER and DROP. */
const CLUSTER_WIDE: ReadonlySet<string> = new Set(['DATABASE', 'TABLESPACE', 'SUBSCRIPTION', 'SYSTEM']);

/** It errs towards `'none'`, which costs the promise and never a transaction. */
export function tokenPlace(text: string): TokenPlace {
  const heads = filledHeads(text);
  if (heads === null || heads.length === 0) return 'none';
  if (transactionCommands(text).some((command) => command !== 'other')) return 'none';
  if (heads.some((head) => standsAlone(head, text))) return 'none';
  const [first] = heads;
  if (heads.every(isWithoutToken)) return 'none';
  // The copy protocol leaves no room for further messages; and a parameter that nobody gives is another error there.
  // pg_settings has a rule that answers with rows, which the server sends in a Query's answer only.
  const isExtended =
    heads.length === 1 && first?.words[0] !== 'COPY' && !hasParameters(text) && !/pg_settings/i.test(text);
  if (isExtended) return 'extended';
  return mayBeContinued(text) ? 'appended' : 'none';
}

/** True if a token behind it, in front of the same Sync, would be in another transaction. By the extended protocol. */
export function mayCarryToken(text: string): boolean {
  const heads = filledHeads(text);
  return (
    heads?.length === 1 &&
    transactionCommands(text).every((command) => command === 'other') &&
    !heads.some((head) => standsAlone(head, text) || isWithoutToken(head)) &&
    // In front of the Sync the server may still be in copy mode, where any message of ours would fail it.
    !(heads[0]?.words[0] === 'COPY' && /stdin/i.test(text))
  );
}

/** Where in a string of several statements its first COMMIT begins; null if it has none, or nobody can tell. */
export function commitStart(text: string): { readonly statement: number; readonly start: number } | null {
  const heads = filledHeads(text);
  if (heads === null || isBody(text) || !mayBeContinued(text)) return null;
  const commands = transactionCommands(text);
  const statement = commands.findIndex((command) => command === 'commit' || command === 'commit-and-chain');
  const head = heads[statement];
  if (head === undefined || heads.length !== commands.length) return null;
  // In front of it nothing may commit by itself: it is refused there, and nothing of the string takes effect.
  return { statement, start: head.start };
}

/** The text may hold a body of statements without quotes, whose END reads like a COMMIT: nothing must be put into that. */
function isBody(text: string): boolean {
  return /atomic/i.test(text);
}

/** The server takes it for whole statements: another one in it changes neither what they mean nor how they fail. */
export function mayBeContinued(text: string): boolean {
  if (isBody(text) || failsToParse(text)) return false;
  const readings = text.includes('\\') ? [true, false] : [true];
  return readings.every((standardConformingStrings) => {
    const options = { standardConformingStrings };
    // An open string, comment or parenthesis would swallow it.
    const continued = statementHeads(`${text}\n;${NEXT}`, options);
    return (
      continued.length === statementHeads(text, options).length + 1 && continued.at(-1)?.words[0] === NEXT
    );
  });
}

const NEXT = 'NEXT';

function hasParameters(text: string): boolean {
  if (!/\$\d/.test(text)) return false;
  for (const { kind } of tokens(text)) if (kind === 'parameter') return true;
  // Where it reads in two ways nobody knows.
  return text.includes('\\');
}

/** Null if the text reads in two ways. */
function filledHeads(text: string): readonly StatementHead[] | null {
  const heads = statementHeads(text).filter(({ isEmpty }) => !isEmpty);
  if (!text.includes('\\')) return heads;
  const otherwise = statementHeads(text, { standardConformingStrings: false }).filter(
    ({ isEmpty }) => !isEmpty,
  );
  const isSame =
    heads.length === otherwise.length && heads.every((head, i) => head.start === otherwise[i]!.start);
  return isSame ? heads : null;
}

function isWithoutToken({ words }: StatementHead): boolean {
  return WITHOUT_TOKEN.has(words[0] ?? '');
}

/** A token behind it, in the same implicit transaction, may be in another transaction than its effects. */
function standsAlone(head: StatementHead, text: string): boolean {
  const { words } = head;
  const [first = '', second = '', third = ''] = words;
  switch (first) {
    case 'CREATE':
    case 'DROP':
      if ((second === 'UNIQUE' ? third : second) === 'INDEX') return /concurrently/i.test(text);
      return CLUSTER_WIDE.has(second);
    case 'ALTER':
      return CLUSTER_WIDE.has(second) || /detach/i.test(text);
    case 'DO':
      // Its code may COMMIT, call what does, or be in another language; and in '…' with escapes it could say so unseen.
      return !/\$\w*\$/.test(text) || /'|commit|rollback|call|execute|language|\bdo\b[^]*\bdo\b/i.test(text);
    case '': {
      // A query in parentheses begins with no word.
      return text[head.start] !== '(';
    }
    default:
      return !WITHIN_A_TRANSACTION.has(first) && !WITHOUT_TOKEN.has(first);
  }
}
