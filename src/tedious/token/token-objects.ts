/**
 * The tables of commit tokens in a database of SQL Server: what `npx holdfast init --engine mssql` makes.
 *
 * One row for each transaction that wrote, by a key that begins with its time; and one row with a mark, below which rows
 * have been purged. What is asked, and why the answers hold, stands with the questions (token-batches.ts).
 */

/** What a row of the table stands for. */
export const KIND = { committed: 0, tombstone: 1 } as const;

/** The mark of new tables is ahead of the server's clock by as much as clocks drift. */
const CLOCK_MARGIN_MILLIS = 60_000;

/** An expression: milliseconds since 1970 by the server's clock. */
export const SERVER_MILLIS = `DATEDIFF_BIG(millisecond, '19700101', SYSUTCDATETIME())`;

export function tokenTable(schema: string): string {
  return `${quoteName(schema)}.[commit_token]`;
}

export function watermarkTable(schema: string): string {
  return `${quoteName(schema)}.[commit_token_watermark]`;
}

export function quoteText(text: string): string {
  return `N'${text.replaceAll("'", "''")}'`;
}

function quoteName(name: string): string {
  return `[${name.replaceAll(']', ']]')}]`;
}

/**
 * Makes what is not there yet; it may run any number of times, also while applications commit. A batch without GO, for
 * any tool.
 *
 * The primary key refuses a second row of the same key, and nothing else about it matters: IGNORE_DUP_KEY would take
 * that away. Nor has it OPTIMIZE_FOR_SEQUENTIAL_KEY, although keys grow: servers before 2019 do not know the option. There is no column with a
 * time: the first six bytes of a key are one. The mark begins above all that can have been written before: a token
 * of tables that were dropped is not known here, which is another answer than 'it is not there'.
 */
export function createTokenTablesSql(schema: string): string {
  const table = tokenTable(schema);
  const watermark = watermarkTable(schema);
  const inText = quoteName(schema).replaceAll("'", "''");
  return `IF SCHEMA_ID(${quoteText(schema)}) IS NULL EXEC (N'CREATE SCHEMA ${inText}');
IF OBJECT_ID(${quoteText(table)}, N'U') IS NULL
CREATE TABLE ${table} ([token] binary(16) NOT NULL PRIMARY KEY, [kind] tinyint NOT NULL DEFAULT ${KIND.committed});
IF OBJECT_ID(${quoteText(watermark)}, N'U') IS NULL
BEGIN
CREATE TABLE ${watermark} ([id] int NOT NULL PRIMARY KEY, [below] binary(16) NOT NULL);
INSERT INTO ${watermark} ([id], [below]) SELECT 1, CAST(SUBSTRING(CAST(${SERVER_MILLIS} + ${CLOCK_MARGIN_MILLIS} AS binary(8)), 3, 6) AS binary(16));
END;
-- Logins of applications need INSERT and SELECT on the first table, and SELECT on the other; those that purge, and one
-- has to, DELETE on the first and UPDATE on the other: GRANT INSERT, SELECT, UPDATE, DELETE ON SCHEMA::... TO ...
`;
}

/** Removes what `createTokenTablesSql` makes. */
export function dropTokenTablesSql(schema: string): string {
  return `DROP TABLE IF EXISTS ${tokenTable(schema)};
DROP TABLE IF EXISTS ${watermarkTable(schema)};
DROP SCHEMA IF EXISTS ${quoteName(schema)};
`;
}
