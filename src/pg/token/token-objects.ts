/**
 * The objects of commit tokens in the database: what `npx holdfast init` makes, and what the driver calls.
 *
 * A transaction writes its token's row when it commits, with `put_token`. Whoever wants to know what became of it writes
 * the same row with `resolve_token`: the primary key lets one of the two in. So asking is fencing, and the answer holds
 * for ever. `purge_tokens` removes old rows; the watermark says how far, and there the answer is 'purged' instead of a
 * guess (A11). docs/internals/decisions/0011 has the proof. Each statement in here whose place matters says why.
 *
 * The functions run as their owner, so that the application needs no right on the table, also not below SET ROLE, and
 * with a search_path of their own, so that nobody can put other objects in the place of those that are meant.
 */
import { MIN_TOKEN_RETENTION_MILLIS } from '../../options.ts';
import { dollarQuote, quoteIdentifier, quoteLiteral } from '../sql/quote-sql.ts';

/** What `put_token` raises for a key at or below the watermark: the transaction is certainly rolled back. */
export const KEY_TOO_OLD = 'HF001';
/** What `resolve_token` and `purge_tokens` raise in a transaction whose snapshot stands still. */
export const WRONG_ISOLATION = 'HF002';

export const MAX_PURGE_BATCH = 100_000;

/** Keys in use may be ahead of the server's clock by as much as clocks drift. */
const CLOCK_MARGIN_MILLIS = 60_000;

/** Of the advisory locks that are taken while objects are made, and while tokens are purged. */
const LOCK_CLASS = 1_212_960_068; // 'HLFD'

/** The names of the objects in one schema, quoted and qualified. */
export interface TokenNames {
  readonly schema: string;
  readonly table: string;
  readonly watermark: string;
  readonly view: string;
  readonly refuseToken: string;
  readonly putToken: string;
  readonly resolveToken: string;
  readonly purgeTokens: string;
}

/** The hidden statements that put a token. */
export interface TokenStatements {
  /** `putTokenSql` */
  readonly put: string;
  /** `insertTokenSql` */
  readonly insert: string;
}

export function tokenStatements(schema: string): TokenStatements {
  return { put: putTokenSql(schema), insert: insertTokenSql(schema) };
}

/** One of the functions, as it must be. */
export interface TokenFunction {
  readonly name: 'put_token' | 'refuse_token' | 'resolve_token' | 'purge_tokens';
  /** Names and types of the arguments. */
  readonly parameters: string;
  /** The types alone, as `oidvectortypes` writes them. */
  readonly argumentTypes: string;
  readonly returns: string;
  /** What pg_proc.prosrc holds. */
  readonly body: string;
}

export const TABLE_NAME = 'token';
export const WATERMARK_NAME = 'token_watermark';
export const VIEW_NAME = 'new_token';
/** As pg_proc.proconfig has it. */
export const FUNCTION_SEARCH_PATH = 'search_path=pg_catalog, pg_temp';

export function tokenNames(schema: string): TokenNames {
  const quoted = quoteIdentifier(schema);
  return {
    schema: quoted,
    table: `${quoted}.${TABLE_NAME}`,
    watermark: `${quoted}.${WATERMARK_NAME}`,
    view: `${quoted}.${VIEW_NAME}`,
    refuseToken: `${quoted}.refuse_token`,
    putToken: `${quoted}.put_token`,
    resolveToken: `${quoted}.resolve_token`,
    purgeTokens: `${quoted}.purge_tokens`,
  };
}

/**
 * What goes along with a COMMIT or an autocommit write, with the key as $1: the token's row is written if, and only if,
 * the transaction has an xid, so that reads stay reads (A6). Yields one row: 't' if the row was written, else NULL.
 *
 * Fails with 23505 if the token was fenced, and with `KEY_TOO_OLD` if its key was purged: both mean that the
 * transaction is rolled back, for certain.
 */
export function putTokenSql(schema: string): string {
  return (
    'SELECT CASE WHEN pg_catalog.pg_current_xact_id_if_assigned() IS NOT NULL ' +
    `THEN ${tokenNames(schema).putToken}($1::pg_catalog.uuid) END`
  );
}

/**
 * The same for a statement that has changed rows, with the milliseconds of the key as $2. It takes two thirds of the
 * server's time (docs/internals/measurements.md), but fails with 25006 in a READ ONLY transaction even where it has
 * nothing to write. No row where nothing was written.
 *
 * RETURNING comes behind the row and its place in the index, so the watermark is read as late as `put_token` reads it.
 */
export function insertTokenSql(schema: string): string {
  const { view, watermark, refuseToken } = tokenNames(schema);
  return (
    `INSERT INTO ${view} (token) SELECT $1::pg_catalog.uuid ` +
    'WHERE pg_catalog.pg_current_xact_id_if_assigned() IS NOT NULL ' +
    'RETURNING CASE WHEN $2::pg_catalog.int8 OPERATOR(pg_catalog.>) ' +
    `pg_catalog.pg_sequence_last_value(${quoteLiteral(watermark)}::pg_catalog.regclass) ` +
    `THEN true ELSE ${refuseToken}() END`
  );
}

/**
 * NULL where it was never set, and from PostgreSQL 17 on where the owner has lost the right to read it: to be taken for
 * "too old". Not a SELECT from the sequence: that costs 5 µs more, a third of the whole function.
 */
function readWatermark(watermark: string): string {
  return `pg_sequence_last_value(${quoteLiteral(watermark)}::regclass)`;
}

/** The milliseconds in the first 48 bits of a uuid v7. */
function millisOf(key: string): string {
  return `('x0000' || substr(${key}::text, 1, 8) || substr(${key}::text, 10, 4))::bit(64)::bigint`;
}

export function tokenFunctions(schema: string): readonly TokenFunction[] {
  const { table, watermark, refuseToken } = tokenNames(schema);
  const refuseOldSnapshots = `
  IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
    RAISE EXCEPTION 'must run in READ COMMITTED, not in %', current_setting('transaction_isolation')
      USING ERRCODE = '${WRONG_ISOLATION}';
  END IF;`;
  return [
    {
      name: 'put_token',
      parameters: 'key uuid',
      argumentTypes: 'uuid',
      returns: 'boolean',
      body: `
BEGIN
  -- First of all: if somebody has fenced this transaction, this fails.
  INSERT INTO ${table} (token, fenced) VALUES (key, false);
  -- Only now: a fence that was purged had raised the watermark before. It is a sequence, because reading one does not
  -- depend on the snapshot, which in REPEATABLE READ may be older than the purge.
  IF (${millisOf('key')} <= ${readWatermark(watermark)}) IS NOT FALSE THEN
    PERFORM ${refuseToken}();
  END IF;
  RETURN true;
END
`,
    },
    {
      name: 'refuse_token',
      parameters: '',
      argumentTypes: '',
      returns: 'boolean',
      body: `
BEGIN
  RAISE EXCEPTION 'the commit token is older than those that were purged'
    USING ERRCODE = '${KEY_TOO_OLD}';
END
`,
    },
    {
      name: 'resolve_token',
      parameters: 'key uuid',
      argumentTypes: 'uuid',
      returns: 'text',
      body: `
DECLARE
  is_fenced boolean;
BEGIN${refuseOldSnapshots}
  LOOP
    -- Waits for a transaction that has put its token and is not over yet.
    INSERT INTO ${table} (token, fenced) VALUES (key, true) ON CONFLICT DO NOTHING;
    EXIT WHEN FOUND;
    -- With a lock, because that writes WAL: so the caller's COMMIT waits until this row, too, is where a COMMIT must be.
    SELECT t.fenced INTO is_fenced FROM ${table} AS t WHERE t.token = key FOR UPDATE;
    IF FOUND THEN
      RETURN CASE WHEN is_fenced THEN 'fenced' ELSE 'committed' END;
    END IF;
    -- Purged in between: once more.
  END LOOP;
  -- Only now: a row that was purged before we came had raised the watermark first.
  IF (${millisOf('key')} <= ${readWatermark(watermark)}) IS NOT FALSE THEN
    -- Must not stay: it would say 'fenced' to the next one who asks. Nobody can commit under this key any more.
    DELETE FROM ${table} AS t WHERE t.token = key;
    RETURN 'purged';
  END IF;
  RETURN 'fenced';
END
`,
    },
    {
      name: 'purge_tokens',
      parameters: 'retention_millis bigint, batch integer',
      argumentTypes: 'bigint, integer',
      returns: 'integer',
      body: `
DECLARE
  upto uuid;
  deleted integer;
BEGIN${refuseOldSnapshots}
  IF retention_millis IS NULL OR retention_millis < ${MIN_TOKEN_RETENTION_MILLIS} OR batch IS NULL OR batch < 1 OR batch > ${MAX_PURGE_BATCH} THEN
    RAISE EXCEPTION 'retention_millis must be at least ${MIN_TOKEN_RETENTION_MILLIS}, and batch from 1 to ${MAX_PURGE_BATCH}'
      USING ERRCODE = '22023';
  END IF;
  -- One at a time: two of them could take the watermark back.
  IF NOT pg_try_advisory_xact_lock(${LOCK_CLASS}, ${quoteLiteral(table)}::regclass::oid::integer) THEN
    RETURN NULL;
  END IF;
  SELECT b.token INTO upto FROM (
    SELECT t.token FROM ${table} AS t
    WHERE t.token < (lpad(to_hex(greatest(0, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint - retention_millis)), 12, '0') || repeat('0', 20))::uuid
    ORDER BY t.token LIMIT batch) AS b
  ORDER BY b.token DESC LIMIT 1;
  IF NOT FOUND THEN
    RETURN 0;
  END IF;
  -- Before the rows go, and never back. It is not undone with this transaction, which is as well.
  IF (${millisOf('upto')} <= ${readWatermark(watermark)}) IS NOT TRUE THEN
    PERFORM setval(${quoteLiteral(watermark)}::regclass, ${millisOf('upto')});
  END IF;
  DELETE FROM ${table} AS t WHERE t.token <= upto;
  GET DIAGNOSTICS deleted = ROW_COUNT;
  RETURN deleted;
END
`,
    },
  ];
}

export interface TokenObjectsOptions {
  readonly schema: string;
  /**
   * The roles that applications log in as. They alone may resolve and purge. Default: none, everybody may.
   */
  readonly roles?: readonly string[];
}

/**
 * Makes the objects, or brings them up to date. It may be run any number of times, by their owner or a superuser, also
 * while applications commit. To be run in one transaction.
 *
 * `put_token` and the view are for everybody in any case: a transaction commits as whatever role SET ROLE has made of
 * it, and without the right its COMMIT would fail. All that one can do with them is to add a row of 17 bytes. The view
 * is written with its owner's rights; whether a row is a fence can't be said through it.
 */
export function createTokenObjectsSql({ schema, roles = [] }: TokenObjectsOptions): string {
  const { schema: quoted, table, watermark, view } = tokenNames(schema);
  const functions = tokenFunctions(schema);
  const grantees = roles.length === 0 ? 'PUBLIC' : roles.map(quoteIdentifier).join(', ');
  const signature = (one: TokenFunction): string => `${quoted}.${one.name}(${one.argumentTypes})`;
  return [
    `SELECT pg_catalog.pg_advisory_xact_lock(${LOCK_CLASS}, 0);`,
    `CREATE SCHEMA IF NOT EXISTS ${quoted};`,
    `CREATE TABLE IF NOT EXISTS ${table} (\n  token pg_catalog.uuid PRIMARY KEY,\n  fenced pg_catalog.bool NOT NULL\n);`,
    `CREATE SEQUENCE IF NOT EXISTS ${watermark} AS bigint MINVALUE 0 START WITH 0;`,
    '-- Tokens of a time before this table was made, for instance of one that was dropped, are not known here.',
    `SELECT pg_catalog.setval(${quoteLiteral(watermark)}::pg_catalog.regclass, ` +
      `(extract(epoch FROM pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 1000)::pg_catalog.int8 ` +
      `OPERATOR(pg_catalog.+) ${CLOCK_MARGIN_MILLIS})\n` +
      `  FROM ${watermark} AS w WHERE NOT w.is_called;`,
    `CREATE OR REPLACE VIEW ${view} AS SELECT token, fenced FROM ${table};`,
    `ALTER VIEW ${view} ALTER COLUMN fenced SET DEFAULT false;`,
    ...functions.map(
      (one) =>
        `CREATE OR REPLACE FUNCTION ${quoted}.${one.name}(${one.parameters}) RETURNS ${one.returns}\n` +
        `LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp\n` +
        `AS ${dollarQuote(one.body)};`,
    ),
    `REVOKE ALL ON TABLE ${table} FROM PUBLIC;`,
    `REVOKE ALL ON TABLE ${view} FROM PUBLIC;`,
    `REVOKE ALL ON SEQUENCE ${watermark} FROM PUBLIC;`,
    `REVOKE ALL ON FUNCTION ${functions.map(signature).join(', ')} FROM PUBLIC;`,
    `GRANT USAGE ON SCHEMA ${quoted} TO PUBLIC;`,
    `GRANT SELECT ON SEQUENCE ${watermark} TO PUBLIC;`,
    `GRANT INSERT (token) ON TABLE ${view} TO PUBLIC;`,
    ...functions.map(
      (one) => `GRANT EXECUTE ON FUNCTION ${signature(one)} TO ${isForEverybody(one) ? 'PUBLIC' : grantees};`,
    ),
  ].join('\n');
}

/** What goes along with a commit. */
export function isForEverybody({ name }: TokenFunction): boolean {
  return name === 'put_token' || name === 'refuse_token';
}

/**
 * Removes the objects, and the schema if nothing else is in it. Applications in token mode that are running fail from
 * then on: stop them first.
 */
export function dropTokenObjectsSql(schema: string): string {
  const { schema: quoted, table, watermark, view } = tokenNames(schema);
  return [
    `DROP VIEW IF EXISTS ${view};`,
    ...tokenFunctions(schema).map(
      (one) => `DROP FUNCTION IF EXISTS ${quoted}.${one.name}(${one.argumentTypes});`,
    ),
    `DROP TABLE IF EXISTS ${table};`,
    `DROP SEQUENCE IF EXISTS ${watermark};`,
    `DROP SCHEMA IF EXISTS ${quoted};`,
  ].join('\n');
}
