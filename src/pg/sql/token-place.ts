import { statementHeads, type StatementHead } from './leading-keywords.ts';
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

/** First words of commands that commit by themselves whatever stands around them, or whose code may. */
const SELF_COMMITTING: ReadonlySet<string> = new Set([
  'VACUUM', 'ANALYZE', 'ANALYSE', 'CLUSTER', 'REINDEX', 'CALL',
]); // prettier-ignore

/** What the second word (or the third, behind UNIQUE) makes of CREATE, ALTER and DROP. */
const CLUSTER_WIDE: ReadonlySet<string> = new Set(['DATABASE', 'TABLESPACE', 'SUBSCRIPTION', 'SYSTEM']);

/** They assign no xid, or mean something else inside the implicit block that a string of several statements is. */
const WITHOUT_TOKEN: ReadonlySet<string> = new Set([
  'SET', 'RESET', 'SHOW', 'DISCARD', 'LISTEN', 'UNLISTEN', 'DEALLOCATE', 'LOCK', 'DECLARE', 'FETCH', 'MOVE', 'CLOSE',
  'SAVEPOINT', 'RELEASE', 'CHECKPOINT', 'LOAD', 'PREPARE',
]); // prettier-ignore

/** By the lexer alone. It errs towards `'none'`, which costs the promise and never a transaction. */
export function tokenPlace(text: string): TokenPlace {
  const heads = filledHeads(text);
  if (heads === null || heads.length === 0) return 'none';
  if (transactionCommands(text).some((command) => command !== 'other')) return 'none';
  if (heads.some((head) => standsAlone(head, text))) return 'none';
  const [first] = heads;
  if (heads.length > 1) return heads.every(isWithoutToken) ? 'none' : 'appended';
  if (first === undefined || isWithoutToken(first)) return 'none';
  // The copy protocol leaves no room for further messages; and a parameter that nobody gives is another error there.
  return first.words[0] === 'COPY' || /\$\d/.test(text) ? 'appended' : 'extended';
}

/** True if a token behind it, in front of the same Sync, would be in another transaction. By the extended protocol. */
export function mayCarryToken(text: string): boolean {
  const heads = filledHeads(text);
  return (
    heads?.length === 1 &&
    transactionCommands(text).every((command) => command === 'other') &&
    !heads.some((head) => standsAlone(head, text) || isWithoutToken(head))
  );
}

/** Where in a string of several statements its first COMMIT begins; null if it has none, or nobody can tell. */
export function commitStart(text: string): { readonly statement: number; readonly start: number } | null {
  const heads = filledHeads(text);
  if (heads === null) return null;
  const commands = transactionCommands(text);
  const statement = commands.findIndex((command) => command === 'commit' || command === 'commit-and-chain');
  const head = heads[statement];
  if (head === undefined || heads.length !== commands.length) return null;
  // In front of it nothing may commit by itself: it is refused there, and nothing of the string takes effect.
  return { statement, start: head.start };
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

function standsAlone({ words }: StatementHead, text: string): boolean {
  const [first = '', second = '', third = ''] = words;
  switch (first) {
    case 'CREATE':
    case 'DROP':
      if ((second === 'UNIQUE' ? third : second) === 'INDEX') return /concurrently/i.test(text);
      return CLUSTER_WIDE.has(second);
    case 'ALTER':
      return CLUSTER_WIDE.has(second) || /detach/i.test(text);
    case 'REFRESH':
      return false; // Also CONCURRENTLY: that runs within one transaction.
    case 'DO':
      // Its code may COMMIT, call what does, or be in another language.
      return /commit|rollback|call|execute|language|\bdo\b[^]*\bdo\b/i.test(text);
    default:
      return SELF_COMMITTING.has(first);
  }
}
