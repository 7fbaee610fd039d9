import {
  FUNCTION_SEARCH_PATH,
  isForEverybody,
  tokenFunctions,
  type TokenFunction,
} from '../pg/token/token-objects.ts';

/** Runs one statement; all columns come as text or null. */
export type Ask = (
  sql: string,
  values: readonly unknown[],
) => Promise<readonly Record<string, string | null>[]>;

export interface CheckOptions {
  readonly schema: string;
  /** Default: the role that asks. */
  readonly roles: readonly string[];
}

export interface CheckResult {
  /** Tokens are not used, or not safe, before this is mended. */
  readonly problems: readonly string[];
  /** Good to know. */
  readonly warnings: readonly string[];
}

const RELATIONS_SQL = `
SELECT c.relname AS name, c.relkind::text AS kind, c.relpersistence::text AS persistence, pg_get_userbyid(c.relowner) AS owner,
  (SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END, ', ' ORDER BY a.attnum)
    FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
  (SELECT pg_get_constraintdef(k.oid) FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'p') AS key,
  (SELECT string_agg(t.tgname, ', ') FROM pg_trigger t WHERE t.tgrelid = c.oid) AS triggers,
  (SELECT format_type(s.seqtypid, NULL) FROM pg_sequence s WHERE s.seqrelid = c.oid) AS type,
  CASE WHEN c.relkind = 'v' THEN pg_get_viewdef(c.oid) END AS definition,
  (SELECT string_agg(a.attname || ' ' || pg_get_expr(d.adbin, d.adrelid), ', ') FROM pg_attrdef d
    JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum WHERE d.adrelid = c.oid) AS defaults,
  CASE WHEN c.relkind = 'v' THEN has_any_column_privilege('public', c.oid, 'INSERT')::text END AS open,
  CASE WHEN c.relkind = 'S' AND has_sequence_privilege(c.oid, 'SELECT') THEN pg_sequence_last_value(c.oid)::text END AS value
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname IN ('token', 'token_watermark', 'new_token')`;

/** Some versions of the server name the table in front of each column. */
const VIEW_DEFINITION = /^\s*SELECT (?:token\.)?token,\s+(?:token\.)?fenced\s+FROM (?:.*\.)?token;\s*$/s;

const FOR_WHOM = ' (whoever SET ROLE makes of a session must be able to commit)';

const FUNCTIONS_SQL = `
SELECT p.proname AS name, oidvectortypes(p.proargtypes) AS types, p.prosrc AS body, p.prosecdef::text AS definer, l.lanname AS language,
  format_type(p.prorettype, NULL) AS returns, array_to_string(p.proconfig, ' | ') AS config, pg_get_userbyid(p.proowner) AS owner, p.oid::text AS oid
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
WHERE n.nspname = $1`;

const PUBLICATIONS_SQL = `
SELECT p.pubname AS name, b.puballtables::text AS everything FROM pg_publication_tables p JOIN pg_publication b USING (pubname)
WHERE p.schemaname = $1 AND p.tablename = 'token' ORDER BY 1`;

/** Looks at the objects as they are in the database, from outside: nothing is changed. */
export async function checkTokenObjects(ask: Ask, { schema, roles }: CheckOptions): Promise<CheckResult> {
  const problems: string[] = [];
  const warnings: string[] = [];
  const name = JSON.stringify(schema);
  const [found] = await ask(
    'SELECT n.oid::text AS oid, current_user::text AS me FROM (SELECT 1) AS one LEFT JOIN pg_namespace n ON n.nspname = $1',
    [schema],
  );
  const me = found?.['me'] ?? '';
  if (typeof found?.['oid'] !== 'string')
    return { problems: [`the schema ${name} does not exist`], warnings };
  const asked = roles.length === 0 ? [me] : roles;
  const owners = new Map<string, string[]>();
  const owned = (what: string, owner: string | null | undefined): void => {
    owners.set(owner ?? '', [...(owners.get(owner ?? '') ?? []), what]);
  };

  const relations = await ask(RELATIONS_SQL, [schema]);
  const table = relations.find((one) => one['name'] === 'token');
  if (table === undefined) problems.push(`the table token does not exist in the schema ${name}`);
  else {
    owned('token', table['owner']);
    if (table['kind'] !== 'r') problems.push('token is not an ordinary table: drop it, and run init again');
    if (table['persistence'] !== 'p')
      problems.push(`the table token is not logged, so that a crash empties it: ALTER TABLE … SET LOGGED`);
    if (
      table['columns'] !== 'token uuid not null, fenced boolean not null' ||
      table['key'] !== 'PRIMARY KEY (token)'
    )
      problems.push('the table token has other columns, or another key: drop it, and run init again');
    if (table['triggers'] !== null) problems.push(`the table token has triggers: ${table['triggers'] ?? ''}`);
  }
  const watermark = relations.find((one) => one['name'] === 'token_watermark');
  if (watermark === undefined)
    problems.push(`the sequence token_watermark does not exist in the schema ${name}`);
  else {
    owned('token_watermark', watermark['owner']);
    if (watermark['persistence'] !== 'p')
      problems.push('the sequence token_watermark is not logged: ALTER SEQUENCE … SET LOGGED');
    if (watermark['kind'] !== 'S' || watermark['type'] !== 'bigint')
      problems.push('token_watermark is not a sequence of bigint: drop it, and run init again');
    else if (watermark['value'] === null)
      problems.push('the sequence token_watermark was never set, or may not be read: run init again');
  }

  const view = relations.find((one) => one['name'] === 'new_token');
  if (view === undefined) problems.push(`the view new_token does not exist in the schema ${name}`);
  else {
    owned('new_token', view['owner']);
    if (
      view['kind'] !== 'v' ||
      !VIEW_DEFINITION.test(view['definition'] ?? '') ||
      view['defaults'] !== 'fenced false' ||
      view['triggers'] !== null
    )
      problems.push('new_token is not as this version of holdfast makes it: drop it, and run init again');
    else if (view['open'] !== 'true') problems.push(`public may not insert into new_token${FOR_WHOM}`);
  }

  const functions = await ask(FUNCTIONS_SQL, [schema]);
  for (const expected of tokenFunctions(schema)) {
    const signature = `${expected.name}(${expected.argumentTypes})`;
    const one = functions.find(
      (row) => row['name'] === expected.name && row['types'] === expected.argumentTypes,
    );
    if (one === undefined) {
      problems.push(`the function ${signature} does not exist in the schema ${name}`);
      continue;
    }
    owned(signature, one['owner']);
    if (!isAsExpected(one, expected))
      problems.push(`the function ${signature} is not as this version of holdfast makes it: run init again`);
    const needed = isForEverybody(expected) ? ['public', ...asked] : asked;
    for (const role of needed) {
      const [may] = await ask(`SELECT has_function_privilege($1, $2::oid, 'EXECUTE')::text AS may`, [
        role,
        one['oid'],
      ]);
      if (may?.['may'] === 'true') continue;
      const why = role === 'public' ? FOR_WHOM : '';
      problems.push(`${role} may not execute ${signature}${why}`);
    }
  }
  for (const role of ['public', ...asked]) {
    const [may] = await ask(`SELECT has_schema_privilege($1, $2::oid, 'USAGE')::text AS may`, [
      role,
      found['oid'],
    ]);
    if (may?.['may'] !== 'true') problems.push(`${role} may not use the schema ${name}`);
  }

  if (owners.size > 1)
    problems.push(
      `the objects have several owners (${[...owners.keys()].join(', ')}): the functions run as theirs`,
    );
  for (const role of asked) {
    const what = owners.get(role);
    if (what === undefined) continue;
    const text = `${role} owns ${what.join(', ')}, and so may change them: let another role own them`;
    if (roles.length > 0) problems.push(text);
    else if (!(await isSuperuser(ask, role))) warnings.push(text);
  }

  for (const { name: publication, everything } of await ask(PUBLICATIONS_SQL, [schema])) {
    const cure =
      everything === 'true'
        ? 'name the tables or schemas of the publication'
        : 'take it out of the publication';
    warnings.push(
      `the publication ${JSON.stringify(publication)} has the table token: a subscriber without this table stops. ` +
        `Either ${cure}, or run init on the subscriber as well`,
    );
  }
  return { problems, warnings };
}

function isAsExpected(row: Record<string, string | null>, expected: TokenFunction): boolean {
  return (
    row['body'] === expected.body &&
    row['definer'] === 'true' &&
    row['language'] === 'plpgsql' &&
    row['returns'] === expected.returns &&
    row['config'] === FUNCTION_SEARCH_PATH
  );
}

async function isSuperuser(ask: Ask, role: string): Promise<boolean> {
  const [row] = await ask('SELECT rolsuper::text AS yes FROM pg_roles WHERE rolname = $1', [role]);
  return row?.['yes'] === 'true';
}
