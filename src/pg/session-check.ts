/**
 * Reads a session's whole restorable state back from the server, in one statement and one round trip.
 *
 * It must run while the session is idle: inside a transaction SET LOCAL and transaction-level advisory locks would be
 * taken for the session's own. It must tell the truth whatever the application has done to the session, so it
 * - qualifies every name and operator, because a search_path that names pg_catalog late lets others shadow them;
 * - carries its answer as base64 of JSON in UTF-8, which no client_encoding, DateStyle or bytea_output can change;
 * - reads the settings under the session's own user, because after SET ROLE the server hides some of them
 *   (`dynamic_library_path`, for one) from a role without pg_read_all_settings.
 *
 * Out of its sight: settings shown to superusers only, if the session's own user is none (after SET SESSION
 * AUTHORIZATION, or set by a SECURITY DEFINER function); custom settings nobody named; what libraries and procedural
 * languages keep in the backend (dblink connections, %_SHARED, replication origins).
 */

import { asSettingName } from './session-snapshot.ts';
import type {
  SessionPin,
  SessionPinKind,
  SessionSnapshot,
  SqlPreparedStatement,
} from './session-snapshot.ts';
import type { SqlRow, SqlRunner } from './sql-runner.ts';

/** Limit of a session's state on the wire, in characters of base64: what one session may cost in memory. */
const MAX_ANSWER_CHARACTERS = 4 * 1024 * 1024;

/** How many names of pinned objects of a kind the server is asked for where they are only to be shown. */
const MAX_SHOWN_PINS = 3;

export interface SessionCheckOptions {
  /** What only statements can tell of. */
  readonly extraPins?: readonly SessionPin[];
  /** All names of what pins the session, and not just some to be shown: for who compares them. Default false. */
  readonly withAllPins?: boolean;
}

/**
 * The state of the session behind `runner`, with the values of the custom settings `customNames` (those without a dot
 * are left out: pg_settings has them).
 *
 * Rejects with the runner's error, and with `SessionStateError` for a state that can't be held as text.
 */
export async function checkSession(
  runner: SqlRunner,
  customNames: readonly string[],
  { extraPins = [], withAllPins = false }: SessionCheckOptions = {},
): Promise<SessionSnapshot> {
  const rows = await runner.run(sessionCheckSql(customNames, withAllPins));
  return readSessionCheck(rows, extraPins);
}

/**
 * The snapshot right after the dial. What is the same in a later snapshot needs no restoring, since the startup packet
 * and ALTER ROLE/DATABASE … SET bring it back on every new connection.
 */
export async function takeBaseline(
  runner: SqlRunner,
  customNames: readonly string[],
): Promise<SessionSnapshot> {
  return await checkSession(runner, customNames);
}

/** The session's state can't be read: bytes that are not UTF-8, or too much of it. The message holds no value. */
export class SessionStateError extends Error {
  override readonly name = 'SessionStateError';
}

/** The check as SQL text without parameters, to be sent where a round trip is under way anyhow. */
export function sessionCheckSql(customNames: readonly string[], withAllPins = false): string {
  const names = [...new Set(customNames.map(asSettingName))].filter((name) => name.includes('.'));
  // Base64 has no character that means anything inside a literal, so the names need no quoting.
  const encoded = Buffer.from(JSON.stringify(names)).toString('base64');
  return CHECK_SQL.replace('{names}', encoded).replaceAll(
    '{pins}',
    withAllPins ? 'ALL' : String(MAX_SHOWN_PINS),
  );
}

/**
 * `setting`: pg_settings gives base units without the unit, current_setting what SET accepts.
 * `transaction_*` are of the transaction: SET outside of one leaves them with source 'session' for ever, meaning nothing.
 * Everything temporary, not only tables, depends on the temporary schema.
 * `before` is evaluated first since it is volatile and the settings are correlated with it; `true` = SET LOCAL, which
 * ends with this very statement.
 */
const CHECK_SQL = `
SELECT pg_catalog.encode(pg_catalog.convert_to(pg_catalog.json_build_array(
  session_user, before.effective_user, pg_catalog.current_setting('session_authorization'), before.role,
  (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(s.name, pg_catalog.current_setting(s.name)))
     FROM pg_catalog.pg_settings AS s
    WHERE s.source OPERATOR(pg_catalog.=) 'session' AND before.role IS NOT NULL
      AND s.name OPERATOR(pg_catalog.<>) 'transaction_isolation'
      AND s.name OPERATOR(pg_catalog.<>) 'transaction_read_only'
      AND s.name OPERATOR(pg_catalog.<>) 'transaction_deferrable'),
  (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(n.value, pg_catalog.current_setting(n.value, true)))
     FROM pg_catalog.json_array_elements_text(pg_catalog.convert_from(
            pg_catalog.decode('{names}', 'base64'), 'UTF8')::pg_catalog.json) AS n(value)
    WHERE before.role IS NOT NULL),
  (SELECT pg_catalog.json_agg(c.name) FROM pg_catalog.pg_listening_channels() AS c(name)),
  (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(p.name, p.statement, pg_catalog.array_to_string(
            p.parameter_types::pg_catalog.oid[], ',')))
     FROM pg_catalog.pg_prepared_statements AS p WHERE p.from_sql),
  CASE WHEN pg_catalog.pg_my_temp_schema() OPERATOR(pg_catalog.<>) 0::pg_catalog.oid THEN
    (SELECT pg_catalog.json_agg(o.name) FROM (
       SELECT pg_catalog.concat(i.type, ' ', i.identity) AS name
         FROM pg_catalog.pg_depend AS d,
              LATERAL pg_catalog.pg_identify_object(d.classid, d.objid, d.objsubid) AS i
        WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass::pg_catalog.oid
          AND d.refobjid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()
        LIMIT {pins}) AS o) END,
  (SELECT pg_catalog.json_agg(k.name) FROM (
     SELECT pg_catalog.concat(l.classid, ' ', l.objid, ' ', l.objsubid, ' ', l.mode) AS name
       FROM pg_catalog.pg_locks AS l
      WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory' AND l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()
      LIMIT {pins}) AS k),
  (SELECT pg_catalog.json_agg(h.name) FROM (
     SELECT c.name FROM pg_catalog.pg_cursors AS c WHERE c.is_holdable LIMIT {pins}) AS h),
  pg_catalog.current_setting('search_path')
)::pg_catalog.text, 'UTF8'), 'base64')
FROM (SELECT
  current_user::pg_catalog.text AS effective_user,
  pg_catalog.current_setting('role') AS role,
  CASE WHEN pg_catalog.current_setting('role') OPERATOR(pg_catalog.<>) 'none'
    THEN pg_catalog.set_config('role', 'none', true) END AS unrestricted
) AS before`;

/** Reads the answer to `sessionCheckSql`: its one row is the last of `rows`. */
export function readSessionCheck(
  rows: readonly SqlRow[],
  extraPins: readonly SessionPin[] = [],
): SessionSnapshot {
  const answer = rows.at(-1)?.[0];
  if (typeof answer !== 'string') throw new SessionStateError('The server gave no session state.');
  if (answer.length > MAX_ANSWER_CHARACTERS) {
    throw new SessionStateError(`The session's state is larger than ${MAX_ANSWER_CHARACTERS} characters.`);
  }
  const items = asList(JSON.parse(decodeStrictly(answer)));
  const user = {
    sessionUser: asText(items[0]),
    currentUser: asText(items[1]),
    sessionAuthorization: asText(items[2]),
    role: asText(items[3]),
  };
  return Object.freeze({
    ...user,
    searchPath: asText(items[11]),
    settings: new Map(asPairs(items[4]).map(([name, value]) => [settingKey(name), asText(value)])),
    customSettings: new Map(asPairs(items[5])),
    channels: asList(items[6]).map(asText).sort(),
    preparedStatements: asList(items[7]).map(asPreparedStatement).sort(byName),
    pins: [
      ...pinsOf('temporary-object', asList(items[8]).map(asText)),
      ...pinsOf('advisory-lock', asList(items[9]).map(asText)),
      ...pinsOf('hold-cursor', asList(items[10]).map(asText)),
      ...pinsOf('renamed-role', renamedRoles(user)),
      ...extraPins,
    ],
  });
}

/**
 * Names that no longer belong to whom the session works as. A session keeps the identity, its settings keep the name:
 * restored by name, the session would come back as somebody else.
 */
function renamedRoles(
  user: Pick<SessionSnapshot, 'sessionUser' | 'currentUser' | 'sessionAuthorization' | 'role'>,
) {
  const expected = user.role === 'none' ? user.sessionUser : user.role;
  return [
    ...(user.sessionAuthorization === user.sessionUser ? [] : [user.sessionAuthorization]),
    ...(expected === user.currentUser ? [] : [expected]),
  ];
}

/** A library may have given its setting capitals, which the same setting has not while the library is not loaded. */
function settingKey(name: string): string {
  return name.includes('.') ? asSettingName(name) : name;
}

function pinsOf(kind: SessionPinKind, names: readonly string[]): readonly SessionPin[] {
  return names.length === 0 ? [] : [{ kind, names }];
}

/** A lossy decoder would make two different values equal, and the comparison after a restore blind. */
function decodeStrictly(base64: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(base64, 'base64'));
  } catch (cause) {
    throw new SessionStateError("The session's state holds bytes that are not UTF-8.", { cause });
  }
}

function asPreparedStatement(value: unknown): SqlPreparedStatement {
  const [name, statement, parameterTypes] = asList(value);
  return { name: asText(name), statement: asText(statement), parameterTypes: asText(parameterTypes) };
}

function byName(one: { readonly name: string }, two: { readonly name: string }): number {
  return one.name < two.name ? -1 : Number(one.name > two.name);
}

function asPairs(value: unknown): readonly (readonly [string, string | null])[] {
  return asList(value).map((pair) => {
    const [name, text] = asList(pair);
    return [asText(name), text === null ? null : asText(text)];
  });
}

/** json_agg over no rows is null. */
function asList(value: unknown): readonly unknown[] {
  if (value === null) return [];
  if (!Array.isArray(value))
    throw new SessionStateError('The server gave a session state of an unknown form.');
  return value;
}

function asText(value: unknown): string {
  if (typeof value !== 'string') {
    throw new SessionStateError('The server gave a session state of an unknown form.');
  }
  return value;
}
