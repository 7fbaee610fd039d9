/**
 * Whether commit tokens can be used over a connection, and what time the server has: one statement, asked when the
 * connection is made. It looks into the catalogue only, so that it fails neither where there are no objects nor where
 * the role may see none of them.
 */
import type { SqlRow, SqlRunner } from '../sql-runner.ts';
import { SqlError } from '../sql-runner.ts';
import type { TokenTime } from '../../session/token-key.ts';
import { TABLE_NAME, VIEW_NAME, WATERMARK_NAME } from './token-objects.ts';

/** What of the tokens' objects may be missing. */
export const TOKEN_PARTS = [
  'schema',
  'table',
  'watermark',
  'view',
  'put_token',
  'refuse_token',
  'resolve_token',
] as const;
export type TokenPart = (typeof TOKEN_PARTS)[number];

/** `absent`: there is none. `forbidden`: the role may not use it. `unlogged`: a crash would empty it. */
export interface MissingPart {
  readonly part: TokenPart;
  readonly why: 'absent' | 'forbidden' | 'unlogged';
}

export type TokenPresence =
  | {
      readonly kind: 'present';
      readonly time: TokenTime;
      /** Whether this role may purge. */
      readonly canPurge: boolean;
    }
  | { readonly kind: 'missing'; readonly missing: readonly MissingPart[] }
  /** The server does not let us ask. */
  | { readonly kind: 'refused'; readonly code: string };

/** With the oids of their arguments' types: uuid, int8, int4. */
const FUNCTIONS = [
  ['put_token', '2950'],
  ['refuse_token', ''],
  ['resolve_token', '2950'],
  ['purge_tokens', '20 23'],
] as const;

/** Of functions: NULL absent, 'f' forbidden. Of relations: their persistence. */
export const PRESENCE_SQL = `
SELECT pg_catalog.has_schema_privilege(n.oid, 'USAGE')::pg_catalog.text,
  (SELECT c.relpersistence::pg_catalog.text FROM pg_catalog.pg_class AS c
    WHERE c.relnamespace OPERATOR(pg_catalog.=) n.oid AND c.relkind OPERATOR(pg_catalog.=) 'r'
      AND c.relname OPERATOR(pg_catalog.=) '${TABLE_NAME}'),
  s.relpersistence::pg_catalog.text,
  pg_catalog.has_sequence_privilege(s.oid, 'SELECT')::pg_catalog.text,
  CASE WHEN pg_catalog.has_sequence_privilege(s.oid, 'SELECT')
    THEN pg_catalog.pg_sequence_last_value(s.oid)::pg_catalog.text END,
  (SELECT pg_catalog.has_any_column_privilege(v.oid, 'INSERT')::pg_catalog.text FROM pg_catalog.pg_class AS v
    WHERE v.relnamespace OPERATOR(pg_catalog.=) n.oid AND v.relkind OPERATOR(pg_catalog.=) 'v'
      AND v.relname OPERATOR(pg_catalog.=) '${VIEW_NAME}'),
  ${FUNCTIONS.map(functionColumn).join(',\n  ')},
  (extract(epoch FROM pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 1000)::pg_catalog.int8::pg_catalog.text
FROM (SELECT 1) AS one
LEFT JOIN pg_catalog.pg_namespace AS n ON n.nspname OPERATOR(pg_catalog.=) $1::pg_catalog.name
LEFT JOIN pg_catalog.pg_class AS s ON s.relnamespace OPERATOR(pg_catalog.=) n.oid
  AND s.relkind OPERATOR(pg_catalog.=) 'S' AND s.relname OPERATOR(pg_catalog.=) '${WATERMARK_NAME}'`;

function functionColumn([name, types]: readonly [string, string]): string {
  return (
    `(SELECT pg_catalog.has_function_privilege(p.oid, 'EXECUTE')::pg_catalog.text FROM pg_catalog.pg_proc AS p ` +
    `WHERE p.proname OPERATOR(pg_catalog.=) '${name}' AND p.pronamespace OPERATOR(pg_catalog.=) n.oid ` +
    `AND p.proargtypes::pg_catalog.text OPERATOR(pg_catalog.=) '${types}')`
  );
}

/** Rejects only if the connection was lost, or the server is going down. */
export async function askTokenPresence(runner: SqlRunner, schema: string): Promise<TokenPresence> {
  try {
    const [row] = await runner.run(PRESENCE_SQL, [schema]);
    return readPresence(row ?? []);
  } catch (error) {
    if (error instanceof SqlError && /^(42|0A|XX)/.test(error.code))
      return { kind: 'refused', code: error.code };
    throw error;
  }
}

function readPresence(row: SqlRow): TokenPresence {
  const [usage, table, watermark, maySee, watermarkMillis, view, put, refuse, resolve, purge, serverMillis] =
    row;
  const missing: MissingPart[] = [];
  const check = (part: TokenPart, seen: string | null | undefined): void => {
    if (seen === null || seen === undefined) missing.push({ part, why: 'absent' });
    else if (seen === 'false') missing.push({ part, why: 'forbidden' });
    else if (seen === 'u' || seen === 't') missing.push({ part, why: 'unlogged' });
  };
  check('schema', usage);
  if (usage !== null && usage !== undefined) {
    check('table', table);
    // One that was never set lets no token in.
    check('watermark', maySee === 'true' ? watermarkMillis && watermark : maySee);
    check('view', view);
    check('put_token', put);
    check('refuse_token', refuse);
    check('resolve_token', resolve);
  }
  if (missing.length > 0) return { kind: 'missing', missing };
  return {
    kind: 'present',
    time: { serverMillis: Number(serverMillis), watermarkMillis: Number(watermarkMillis) },
    canPurge: purge === 'true',
  };
}

/** In words, for the event. */
export function describeMissing(missing: readonly MissingPart[], schema: string): string {
  const name = JSON.stringify(schema);
  return missing
    .map(({ part, why }) => {
      const what = part === 'schema' ? `the schema ${name}` : `${part} in the schema ${name}`;
      switch (why) {
        case 'absent':
          return `${what} does not exist`;
        case 'forbidden':
          return `the role may not use ${what}`;
        case 'unlogged':
          return `${what} is not logged, so a crash would empty it`;
      }
    })
    .join('; ');
}

/** In words, for the event. */
export const REMEDY =
  "run 'npx holdfast init', or set failover.tokenSchema to the schema that has the objects";

/** Why tokens can't be used, in words. */
export function describePresence(
  presence: Exclude<TokenPresence, { readonly kind: 'present' }>,
  schema: string,
): string {
  return presence.kind === 'missing'
    ? describeMissing(presence.missing, schema)
    : `the server refuses a look into the catalogue (${presence.code})`;
}
