import type { TokenTime } from '../../session/token-key.ts';
import type { BatchResult } from '../link/batch.ts';
import { KIND, quoteText, SERVER_MILLIS, tokenTable, watermarkTable } from './token-objects.ts';

/** Number of "violation of a primary key", and of "duplicate key in a unique index". */
const DUPLICATE_KEY: ReadonlySet<number> = new Set([2627, 2601]);
const LOCK_TIMEOUT = 1222;
/** There is no such table or column, or this login may not use it. */
const UNAVAILABLE: ReadonlySet<number> = new Set([207, 208, 229, 230, 916]);

/** Whether the database has the table of tokens, and this login may use it. */
export type TokenPresence = 'present' | 'absent' | 'refused';

/** @param key in hexadecimal, without 0x */
export function tokenInsert(schema: string, key: string): string {
  return tokenInsertOf(schema, `0x${key}`);
}

/** @param value an expression of type binary(16) */
export function tokenInsertOf(schema: string, value: string): string {
  return `INSERT INTO ${tokenTable(schema)} ([token]) VALUES (${value})`;
}

/**
 * In the place of a COMMIT. An inner COMMIT, which only counts, must not write the token; and with XACT_ABORT OFF a failed
 * INSERT does not stop the batch, which would commit without it (facts on SQL Server, "The commit token in TDS").
 */
export function commitBatch(schema: string, key: string): string {
  return `IF @@TRANCOUNT = 1 ${tokenInsert(schema, key)};IF @@ERROR = 0 COMMIT TRANSACTION`;
}

/** Gives one row with '1' if tokens can be written and asked for. */
export function presenceQuestion(schema: string): string {
  const name = quoteText(tokenTable(schema));
  const watermark = quoteText(watermarkTable(schema));
  const may = (table: string, right: string): string =>
    `HAS_PERMS_BY_NAME(${table}, N'OBJECT', N'${right}') = 1`;
  return (
    `SELECT CAST(CASE WHEN OBJECT_ID(${name}, N'U') IS NULL OR OBJECT_ID(${watermark}, N'U') IS NULL THEN N'absent' ` +
    `WHEN ${may(name, 'INSERT')} AND ${may(name, 'SELECT')} AND ${may(watermark, 'SELECT')} THEN N'present' ELSE N'refused' END AS nvarchar(20))`
  );
}

export function tokenPresence({ rows, errors }: BatchResult): TokenPresence {
  if (errors.length > 0) return 'refused';
  const word = rows[0]?.[0];
  return word === 'present' || word === 'absent' ? word : 'refused';
}

/** Gives one row with the server's milliseconds, and how far tokens have been purged, in hexadecimal. */
export function timeQuestion(schema: string): string {
  return (
    `SELECT CAST(${SERVER_MILLIS} AS nvarchar(20)), CONVERT(nvarchar(40), [below], 2) ` +
    `FROM ${watermarkTable(schema)} WHERE [id] = 1`
  );
}

/** Null if the mark is not there: then no token can be used. */
export function readTime({ rows, errors }: BatchResult): TokenTime | null {
  const [row] = rows;
  const [millis, below] = [row?.[0], row?.[1]];
  if (errors.length > 0 || !millis || !below) return null;
  const serverMillis = Number(millis);
  const watermarkMillis = Number.parseInt(plainHexadecimal(below).slice(0, MILLIS_DIGITS), 16);
  return Number.isFinite(serverMillis) && Number.isFinite(watermarkMillis)
    ? { serverMillis, watermarkMillis }
    : null;
}

/** Six bytes. */
const MILLIS_DIGITS = 12;

/** As servers write binary: with or without 0x, in either case. */
export function plainHexadecimal(text: string): string {
  return text.toLowerCase().replace(/^(0x|\\x)/, '');
}

/**
 * Inserts the key once more, in an autocommit transaction of its own, and then asks what the row is and how far tokens have
 * been purged: behind the INSERT, since a purge moves its mark before it deletes (design review A11). It waits for a
 * transaction that holds the key, at every level of isolation, and is not asked further if that lasts too long.
 *
 * The row says that it is a tombstone: if its answer is lost, whoever asks again must not take it for the token of the
 * transaction. Nor does a tombstone below the mark prove anything, as the token may have been purged before it was
 * written. Tombstones are never purged: a COMMIT finds them however late it comes (decision 0011, 3 and 6).
 */
export function tombstoneQuestion(schema: string, key: string, lockTimeoutMillis: number): string {
  const table = tokenTable(schema);
  return (
    `SET XACT_ABORT OFF;SET LOCK_TIMEOUT ${lockTimeoutMillis};SET TRANSACTION ISOLATION LEVEL READ COMMITTED;` +
    `INSERT INTO ${table} ([token], [kind]) VALUES (0x${key}, ${KIND.tombstone});` +
    `IF @@ERROR <> ${LOCK_TIMEOUT} SELECT CAST(CASE WHEN [kind] = ${KIND.committed} THEN N'committed' ` +
    `WHEN EXISTS (SELECT 1 FROM ${watermarkTable(schema)} WHERE [id] = 1 AND [below] <= 0x${key}) THEN N'fenced' ` +
    `ELSE N'purged' END AS nvarchar(20)) FROM ${table} WHERE [token] = 0x${key}`
  );
}

export type Tombstone =
  | { readonly kind: 'committed' }
  /** The key is ours now: whoever wrote it can't commit any more. */
  | { readonly kind: 'fenced' }
  /** Somebody who has written it has not ended yet. */
  | { readonly kind: 'live' }
  | { readonly kind: 'unknown'; readonly reason: string };

export function readTombstone({ rows, errors }: BatchResult): Tombstone {
  const numbers = errors.map(({ number }) => number);
  if (numbers.includes(LOCK_TIMEOUT)) return { kind: 'live' };
  if (numbers.some((number) => UNAVAILABLE.has(number)))
    return { kind: 'unknown', reason: 'token-unavailable' };
  const refusal = numbers.find((number) => !DUPLICATE_KEY.has(number));
  if (refusal !== undefined) return { kind: 'unknown', reason: `token-refused-${refusal}` };
  const answer = rows[0]?.[0];
  // Without the error it is the INSERT that has put it there.
  if (answer === 'committed' && numbers.length > 0) return { kind: 'committed' };
  if (answer === 'fenced') return { kind: 'fenced' };
  return { kind: 'unknown', reason: answer === 'purged' ? 'token-too-old' : 'token-not-answered' };
}

/** Gives a row for each of the keys that is there, in hexadecimal. */
export function tokensFoundQuestion(schema: string, keys: readonly string[]): string {
  const list = keys.map((key) => `0x${key}`).join(',');
  return `SELECT CONVERT(nvarchar(40), [token], 2) FROM ${tokenTable(schema)} WHERE [token] IN (${list}) AND [kind] = ${KIND.committed}`;
}

/** How far tokens have been purged, in hexadecimal. */
export function watermarkQuestion(schema: string): string {
  return `SELECT CONVERT(nvarchar(40), [below], 2) FROM ${watermarkTable(schema)} WHERE [id] = 1`;
}

/** Moves the mark, which comes first (design review A11). */
export function moveWatermark(schema: string, key: string): string {
  return `UPDATE ${watermarkTable(schema)} SET [below] = 0x${key} WHERE [id] = 1 AND [below] < 0x${key}`;
}

/** Deletes some of the tokens below, not tombstones; gives one row with how many. Few at once: many locks would become one of the table. */
export function purgeSome(schema: string, key: string, count: number): string {
  return (
    `SET LOCK_TIMEOUT 1000;DELETE TOP (${count}) FROM ${tokenTable(schema)} WHERE [token] < 0x${key} AND [kind] = ${KIND.committed};` +
    `SELECT CAST(@@ROWCOUNT AS nvarchar(20))`
  );
}
