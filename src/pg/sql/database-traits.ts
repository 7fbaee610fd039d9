import type { SqlRunner } from '../sql-runner.ts';
import { arrayLiteral } from './array-literal.ts';
import { settingsInCode } from './custom-settings.ts';
import { pinned } from './pinned-sql.ts';

/** What is true of a whole database. One query; to be kept for the time that a catalogue's facts are. */
export interface DatabaseTraits {
  /** What can act outside of the database: names of servers, extensions and languages. */
  readonly reaching: readonly string[];
  /** True if `reaching` holds anything: code that nobody looked into may then have acted elsewhere (review A7). */
  readonly reachesOutside: boolean;
  /** A table has row-level security, so that a wrong setting may show somebody else's rows (review A8). */
  readonly hasRowSecurity: boolean;
  /**
   * Settings with a dot in their names that functions, policies, defaults and views set or read, or that are set for
   * databases, roles and functions; in lower case, sorted. pg_settings does not show them.
   */
  readonly customSettings: readonly string[];
  /** True if code in the database sets a setting whose name it makes up: `customSettings` then says too little. */
  readonly dynamicSetConfig: boolean;
}

/**
 * Extensions that are known to stay inside their database; any other is suspected if it has a volatile function in C.
 * Untrusted languages and C functions that belong to no extension are suspected always.
 */
const LOCAL_EXTENSIONS = (
  'plpgsql amcheck autoinc bloom btree_gin btree_gist citext cube dict_int dict_xsyn earthdistance fuzzystrmatch hstore ' +
  'hypopg insert_username intagg intarray isn lo ltree moddatetime old_snapshot pageinspect pg_buffercache ' +
  'pg_freespacemap pg_hint_plan pg_prewarm pg_stat_statements pg_surgery pg_trgm pg_visibility pg_walinspect pgaudit ' +
  'pgcrypto pgrowlocks pgstattuple plperl pltcl plv8 postgis refint seg sslinfo tablefunc tcn tsm_system_rows ' +
  'tsm_system_time unaccent uuid-ossp vector'
).split(' ');
/** Extensions that reach out, in whatever language they are written. */
const REACHING_EXTENSIONS =
  'dblink postgres_fdw file_fdw adminpack http pg_net pg_cron plproxy pg_background pgagent aws_s3 aws_lambda aws_ml'.split(
    ' ',
  );
/** Bodies beyond that are not fetched: nobody knows then what they set. */
const MAX_BODIES = 5_000;

/** Code that sets or reads a setting, writes a file or runs a program. */
const INTERESTING_CODE =
  String.raw`set_config|current_setting|\m(?:re)?set\s+(?:(?:local|session)\s+)?"?[[:alpha:]_]\w*"?\.` +
  String.raw`|\mexecute\M.*''\s*(?:re)?set\s|\mcopy\M.*\mprogram\M|\mlo_export\M|\mpg_file_`;
/** In code of the database: a way out of it that needs no extension, server or language. */
const WAY_OUT = /\bcopy\b[\s\S]*\bprogram\b|\blo_export\b|\bpg_file_/i;

/** set_config and the two current_setting, as they stand in node trees. */
function mentionsSettings(tree: string): string {
  const mentions = [2077, 2078, 3294].map((oid) => `pg_catalog.strpos(${tree}, ' :funcid ${oid} ') <> 0`);
  return `(${mentions.join(' or ')})`;
}

/** Rows: what, value. $1: local extensions, $2: reaching ones, $3: most bodies of code. */
const TRAITS = pinned(`
  with made as (
    select f.oid, f.prosrc, f.proconfig, f.provolatile, l.lanname, x.extname
    from pg_catalog.pg_proc f
      join pg_catalog.pg_language l on l.oid = f.prolang
      left join pg_catalog.pg_depend d on d.classid = 1255::pg_catalog.oid and d.objid = f.oid
        and d.deptype = 'e'::pg_catalog."char"
      left join pg_catalog.pg_extension x on x.oid = d.refobjid
    where f.oid >= 16384::pg_catalog.oid
  ), code as (
    select coalesce(pg_catalog.pg_get_function_sqlbody(m.oid), m.prosrc) as body
    from made m
    where m.lanname <> all ('{c,internal}'::pg_catalog.name[])
  )
  (select 'reaching', s.srvname::pg_catalog.text from pg_catalog.pg_foreign_server s limit 1)
  union all
  select 'reaching', x.extname::pg_catalog.text from pg_catalog.pg_extension x
  where x.extname = any ($2::pg_catalog.name[])
  union all
  select 'reaching', l.lanname::pg_catalog.text from pg_catalog.pg_language l
  where not l.lanpltrusted and l.oid >= 16384::pg_catalog.oid
  union all
  select distinct 'reaching', coalesce(m.extname::pg_catalog.text, 'a function in C')
  from made m
  where m.lanname = 'c'::pg_catalog.name
    and (m.extname is null
      or (m.provolatile = 'v'::pg_catalog."char" and m.extname <> all ($1::pg_catalog.name[])))
  union all
  (select 'security', c.relname::pg_catalog.text from pg_catalog.pg_class c where c.relrowsecurity limit 1)
  union all
  select distinct 'setting', pg_catalog.split_part(u.setting, '=', 1)
  from (
    select s.setconfig from pg_catalog.pg_db_role_setting s
    union all
    select m.proconfig from made m
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
  const rows = await runner.run(TRAITS, [
    arrayLiteral(LOCAL_EXTENSIONS),
    arrayLiteral(REACHING_EXTENSIONS),
    String(MAX_BODIES),
  ]);
  const of = (kind: string): readonly string[] =>
    rows.flatMap(([what, value]) => (what === kind && value !== null && value !== undefined ? value : []));
  const code = of('code');
  const { names, isDynamic } = settingsInCode(code);
  const reaching = new Set(of('reaching'));
  if (code.some((body) => WAY_OUT.test(body))) reaching.add('a function that writes files or runs programs');
  for (const setting of of('setting')) names.add(setting.toLowerCase());
  return {
    reaching: [...reaching],
    reachesOutside: reaching.size > 0,
    hasRowSecurity: of('security').length > 0,
    customSettings: [...names].sort(),
    dynamicSetConfig: isDynamic || code.length >= MAX_BODIES,
  };
}
