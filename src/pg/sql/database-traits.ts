import type { SqlRunner } from '../sql-runner.ts';
import { settingsInCode } from './custom-settings.ts';
import { pinned } from './pinned-sql.ts';
import { WAYS_OUT, WAYS_OUT_PARAMETERS, type WaysOut } from './ways-out.ts';

/** What is true of a whole database. One query; to be kept for the time that a catalogue's facts are. */
export interface DatabaseTraits extends WaysOut {
  /** There are triggers that may be put off to the end of the transaction. */
  readonly hasDeferrableTriggers: boolean;
  /**
   * There are rules on writes, which may answer with rows: the server sends those in a Query's answer only, never by the
   * extended protocol.
   */
  readonly hasWriteRules: boolean;
  /**
   * Settings with a dot in their names that functions, policies, defaults and views set or read, or that are set for
   * databases, roles and functions; in lower case, sorted. pg_settings does not show them.
   */
  readonly customSettings: readonly string[];
  /** True if code in the database sets a setting whose name it makes up: `customSettings` then says too little. */
  readonly dynamicSetConfig: boolean;
}

/** Bodies beyond that are not fetched: nobody knows then what they set. */
const MAX_BODIES = 5_000;

/** Code that sets or reads a setting. */
const INTERESTING_CODE =
  String.raw`set_config|current_setting|\m(?:re)?set\s+(?:(?:local|session)\s+)?"?[[:alpha:]_]\w*"?\.` +
  String.raw`|\mexecute\M.*''\s*(?:re)?set\s|''\s*(?:re)?set\s.*\mexecute\M`;

/** set_config and the two current_setting, as they stand in node trees. */
function mentionsSettings(tree: string): string {
  const mentions = [2077, 2078, 3294].map((oid) => `pg_catalog.strpos(${tree}, ' :funcid ${oid} ') <> 0`);
  return `(${mentions.join(' or ')})`;
}

/** Rows: what, value. $1, $2: see `WAYS_OUT`; $3: most bodies of code. */
const TRAITS = pinned(`
  with code as (
    select coalesce(pg_catalog.pg_get_function_sqlbody(f.oid), f.prosrc) as body
    from pg_catalog.pg_proc f join pg_catalog.pg_language l on l.oid = f.prolang
    where f.oid >= 16384::pg_catalog.oid and l.lanname <> all ('{c,internal}'::pg_catalog.name[])
  )
  select 'reaching', o.name from (${WAYS_OUT}) o(name)
  union all
  (select 'deferrable', t.tgname::pg_catalog.text from pg_catalog.pg_trigger t
   where t.tgdeferrable and not t.tgisinternal limit 1)
  union all
  (select 'rule', r.rulename::pg_catalog.text from pg_catalog.pg_rewrite r
   where r.oid >= 16384::pg_catalog.oid and r.ev_type <> '1'::pg_catalog."char" limit 1)
  union all
  select distinct 'setting', pg_catalog.split_part(u.setting, '=', 1)
  from (
    select s.setconfig from pg_catalog.pg_db_role_setting s
    union all
    select f.proconfig from pg_catalog.pg_proc f where f.oid >= 16384::pg_catalog.oid
  ) c(settings) cross join lateral pg_catalog.unnest(c.settings) u(setting)
  where pg_catalog.strpos(pg_catalog.split_part(u.setting, '=', 1), '.') <> 0
  union all
  (select 'code', c.body from code c where c.body ~* '${INTERESTING_CODE}' limit $3::pg_catalog.int8)
  union all
  select distinct 'code', pg_catalog.pg_get_expr(e.tree, e.relation)
  from (
    select p.polqual, p.polrelid from pg_catalog.pg_policy p
    union all
    select p.polwithcheck, p.polrelid from pg_catalog.pg_policy p
    union all
    select d.adbin, d.adrelid from pg_catalog.pg_attrdef d
  ) e(tree, relation)
  where ${mentionsSettings('e.tree::pg_catalog.text')}
  union all
  select 'code', pg_catalog.pg_get_viewdef(r.ev_class)
  from pg_catalog.pg_rewrite r
  where r.oid >= 16384::pg_catalog.oid and r.ev_type = '1'::pg_catalog."char"
    and ${mentionsSettings('r.ev_action::pg_catalog.text')}`);

/** Asks for the traits of the database that `runner` is connected to. Rejects as the runner does. */
export async function databaseTraits(runner: SqlRunner): Promise<DatabaseTraits> {
  const rows = await runner.run(TRAITS, [...WAYS_OUT_PARAMETERS, String(MAX_BODIES)]);
  const of = (kind: string): readonly string[] =>
    rows.flatMap(([what, value]) => (what === kind && value !== null && value !== undefined ? value : []));
  const code = of('code');
  const { names, isDynamic } = settingsInCode(code);
  const reaching = of('reaching');
  for (const setting of of('setting')) names.add(setting.toLowerCase());
  return {
    reaching,
    reachesOutside: reaching.length > 0,
    hasDeferrableTriggers: of('deferrable').length > 0,
    hasWriteRules: of('rule').length > 0,
    customSettings: [...names].sort(),
    dynamicSetConfig: isDynamic || code.length >= MAX_BODIES,
  };
}
