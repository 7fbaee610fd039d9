import type { SqlRunner } from '../sql-runner.ts';
import { arrayLiteral } from './array-literal.ts';
import { pinned } from './pinned-sql.ts';

export interface WaysOut {
  /** What in the database can act outside of it: names of servers, extensions and languages. */
  readonly reaching: readonly string[];
  /** True if `reaching` holds anything: code that nobody looked into may then have acted elsewhere (review A7). */
  readonly reachesOutside: boolean;
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
/** Code of the database with a way out of it that needs no extension, server or language. */
const OUTWARD_CODE = String.raw`\mcopy\M.*\mprogram\M|\mprogram\M.*\mcopy\M|\mlo_export\M|\mpg_file_`;

/** C functions that are nobody's, or of an extension that is not known to stay inside. 13 is the language C (pg_language.dat). */
const C_FUNCTIONS = `
  select coalesce(x.extname::pg_catalog.text, 'a function in C')
  from pg_catalog.pg_proc f
    left join pg_catalog.pg_depend d on d.classid = 1255::pg_catalog.oid and d.objid = f.oid
      and d.deptype = 'e'::pg_catalog."char"
    left join pg_catalog.pg_extension x on x.oid = d.refobjid
  where f.oid >= 16384::pg_catalog.oid and f.prolang = 13::pg_catalog.oid
    and (x.extname is null
      or (f.provolatile = 'v'::pg_catalog."char" and x.extname <> all ($1::pg_catalog.name[])))`;

const ALL_BUT_C_FUNCTIONS = `
  select s.srvname::pg_catalog.text from pg_catalog.pg_foreign_server s
  union
  select x.extname::pg_catalog.text from pg_catalog.pg_extension x
  where x.extname = any ($2::pg_catalog.name[])
  union
  select l.lanname::pg_catalog.text from pg_catalog.pg_language l
  where not l.lanpltrusted and l.oid >= 16384::pg_catalog.oid
  union
  select 'a function that writes files or runs programs'
  from pg_catalog.pg_proc f
  where f.oid >= 16384::pg_catalog.oid and f.prolang <> 13::pg_catalog.oid
    and coalesce(pg_catalog.pg_get_function_sqlbody(f.oid), f.prosrc) ~* '${OUTWARD_CODE}'`;

/** Names what in the database can act outside of it, without duplicates. $1: local extensions, $2: reaching ones. */
export const WAYS_OUT = `${C_FUNCTIONS} union ${ALL_BUT_C_FUNCTIONS}`;

export const WAYS_OUT_PARAMETERS: readonly [local: string, reaching: string] = [
  arrayLiteral(LOCAL_EXTENSIONS),
  arrayLiteral(REACHING_EXTENSIONS),
];

/**
 * Kept small, for it runs in the middle of a failover on a server process that has everything to learn: each table that a
 * statement names costs more than the rows in it. Most databases have no C functions at all; where there are any, a NULL says so.
 */
const QUESTION = pinned(`${ALL_BUT_C_FUNCTIONS.replace('$2', '$1')}
  union
  select null from pg_catalog.pg_proc f where f.oid >= 16384::pg_catalog.oid and f.prolang = 13::pg_catalog.oid`);
const QUESTION_OF_C_FUNCTIONS = pinned(C_FUNCTIONS);

/** Asks what can act outside of the database that `runner` is connected to. Rejects as the runner does. */
export async function waysOut(runner: SqlRunner): Promise<WaysOut> {
  const [local, reachingOnes] = WAYS_OUT_PARAMETERS;
  const rows = await runner.run(QUESTION, [reachingOnes]);
  const more = rows.some(([name]) => name === null) ? await runner.run(QUESTION_OF_C_FUNCTIONS, [local]) : [];
  const reaching = [...new Set([...rows, ...more].flatMap(([name]) => name ?? []))];
  return { reaching, reachesOutside: reaching.length > 0 };
}
