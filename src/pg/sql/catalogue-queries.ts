import { pinned } from './pinned-sql.ts';

/**
 * What the classifier asks the catalogues of PostgreSQL 14 to 18, as any role may.
 *
 * Several small queries rather than one recursive one: planning is what costs (30 ms for the one, 1–3 ms for each of
 * these), and the plain case, tables of built-in types, needs no more than `NAMES`. Object identifiers below 16384
 * (FirstNormalObjectId) were made by initdb; everything above was made by somebody.
 *
 * Stored expressions are read from their node trees, where every call is there by identifier, also the casts and
 * operators that a deparsed text does not show. The form of the trees belongs to a version: see `GUARD`.
 *
 * A search_path must not be able to put its own functions, types or operators into these queries: see `pinned`.
 */

/**
 * Fields of node trees that hold object identifiers. A field is `name 123` or `name (o 1 2 3)`. Cutting a tree at its
 * colons is twenty times faster than matching it.
 */
const TREE_FIELDS =
  'funcid,aggfnoid,winfnoid,tsmhandler,opfuncid,hashfuncid,negfuncid,startInRangeFunc,endInRangeFunc,' +
  'opno,opnos,eqop,sortop,relid,typid';

/** Rows: 'field', identifier of the owner of the tree, the field. */
function fieldsIn(trees: string): string {
  return `
    select distinct 'field', x.oid::pg_catalog.text, f.field, null
    from (${trees}) x(oid, tree)
      cross join lateral pg_catalog.unnest(pg_catalog.string_to_array(x.tree, ' :')) f(field)
    where ${isTreeField('f.field')}`;
}

function isTreeField(field: string): string {
  return `(pg_catalog.split_part(${field}, ' ', 1) = any ('{${TREE_FIELDS}}'::pg_catalog.text[])
      or ${field} ~~ '%type %' or ${field} ~~ '%types %')`;
}

/** $1: names of schemas; $2: the schemas that are called like a role as well. Rows: oid, name, "called like a role". */
export const NAMESPACES = pinned(`
  select n.oid::pg_catalog.text, n.nspname,
    (exists (select from pg_catalog.pg_roles r where r.rolname = n.nspname))::pg_catalog.text
  from pg_catalog.pg_namespace n
  where n.nspname = any ($1::pg_catalog.name[])
    or ($2::pg_catalog.bool and exists (select from pg_catalog.pg_roles r where r.rolname = n.nspname))`);

/**
 * $1: namespaces; names of $2: relations, $3: functions, $4: attributes, $5: operators, $6: types. Rows: what, oid,
 * namespace, name, and for relations kind, persistence, "has anything behind it"; for functions most and fewest
 * arguments, variadic, volatility.
 */
export const NAMES = pinned(`
  select 'relation', c.oid::pg_catalog.text, c.relnamespace::pg_catalog.text, c.relname, c.relkind::pg_catalog.text,
    c.relpersistence::pg_catalog.text,
    (c.relrowsecurity or c.relhassubclass or exists (
      select from pg_catalog.pg_attribute a
      where a.attrelid = c.oid and a.attnum >= 1
        and (a.atttypid >= 16384::pg_catalog.oid or a.attgenerated = 'v'::pg_catalog."char")
    ))::pg_catalog.text, null
  from pg_catalog.pg_class c
  where c.relname = any ($2::pg_catalog.name[]) and c.relnamespace = any ($1::pg_catalog.oid[])
  union all
  select 'function', f.oid::pg_catalog.text, f.pronamespace::pg_catalog.text, f.proname, f.pronargs::pg_catalog.text,
    f.pronargdefaults::pg_catalog.text, (f.provariadic <> 0::pg_catalog.oid)::pg_catalog.text,
    f.provolatile::pg_catalog.text
  from pg_catalog.pg_proc f
  where f.proname = any ($3::pg_catalog.name[]) and f.pronamespace = any ($1::pg_catalog.oid[])
  union all
  select 'attribute', f.oid::pg_catalog.text, f.pronamespace::pg_catalog.text, f.proname, f.pronargs::pg_catalog.text,
    f.pronargdefaults::pg_catalog.text, (f.provariadic <> 0::pg_catalog.oid)::pg_catalog.text,
    f.provolatile::pg_catalog.text
  from pg_catalog.pg_proc f join pg_catalog.pg_type t on t.oid = f.proargtypes[0]
  where f.proname = any ($4::pg_catalog.name[]) and f.pronamespace = any ($1::pg_catalog.oid[])
    and (t.typtype = any ('{c,d,p}'::pg_catalog."char"[]) or f.provariadic <> 0::pg_catalog.oid)
  union all
  select 'operator', o.oid::pg_catalog.text, o.oprnamespace::pg_catalog.text, o.oprname, null, null, null, null
  from pg_catalog.pg_operator o
  where o.oprname = any ($5::pg_catalog.name[]) and o.oprnamespace = any ($1::pg_catalog.oid[])
    and o.oid >= 16384::pg_catalog.oid
  union all
  select 'type', t.oid::pg_catalog.text, t.typnamespace::pg_catalog.text, t.typname, null, null, null, null
  from pg_catalog.pg_type t
  where t.typname = any ($6::pg_catalog.name[]) and t.typnamespace = any ($1::pg_catalog.oid[])
    and t.oid >= 16384::pg_catalog.oid`);

/** $1: relations, as they are read. */
export const RELATIONS = pinned(`
  select 'relation', c.oid::pg_catalog.text, c.relkind::pg_catalog.text, n.nspname || '.' || c.relname
  from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where c.oid = any ($1::pg_catalog.oid[])
  union all
  select 'locks', r.ev_class::pg_catalog.text, null, null
  from pg_catalog.pg_rewrite r
  where r.ev_class = any ($1::pg_catalog.oid[]) and r.ev_type = '1'::pg_catalog."char"
    and pg_catalog.strpos(r.ev_action::pg_catalog.text, ':hasForUpdate true') <> 0
  union all
  select 'child', i.inhparent::pg_catalog.text, i.inhrelid::pg_catalog.text, null
  from pg_catalog.pg_inherits i
  where i.inhparent = any ($1::pg_catalog.oid[])
  union all
  select 'type', a.attrelid::pg_catalog.text, a.atttypid::pg_catalog.text, null
  from pg_catalog.pg_attribute a
  where a.attrelid = any ($1::pg_catalog.oid[]) and a.attnum >= 1 and a.atttypid >= 16384::pg_catalog.oid
  union all ${fieldsIn(`
    select r.ev_class, r.ev_action::pg_catalog.text
    from pg_catalog.pg_rewrite r
    where r.ev_class = any ($1::pg_catalog.oid[]) and r.ev_type = '1'::pg_catalog."char"
    union all
    select p.polrelid, p.polqual::pg_catalog.text
    from pg_catalog.pg_policy p
    where p.polrelid = any ($1::pg_catalog.oid[])
    union all
    select d.adrelid, d.adbin::pg_catalog.text
    from pg_catalog.pg_attrdef d
      join pg_catalog.pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
    where d.adrelid = any ($1::pg_catalog.oid[]) and a.attgenerated = 'v'::pg_catalog."char"`)}`);

/**
 * $1: relations, as they are written, besides what reading them takes. `base` are the relations below a view. What a
 * foreign key looks up is left out unless row-level security is forced there: it runs as the owner.
 */
export const WRITES = pinned(`
  select 'relation', c.oid::pg_catalog.text, c.relkind::pg_catalog.text, n.nspname || '.' || c.relname
  from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where c.oid = any ($1::pg_catalog.oid[])
  union all
  select 'rule', r.ev_class::pg_catalog.text, null, null
  from pg_catalog.pg_rewrite r
  where r.ev_class = any ($1::pg_catalog.oid[]) and r.ev_type <> '1'::pg_catalog."char"
  union all
  select distinct 'base', r.ev_class::pg_catalog.text, pg_catalog.substr(f.field, 7), null
  from pg_catalog.pg_rewrite r
    cross join lateral pg_catalog.unnest(pg_catalog.string_to_array(r.ev_action::pg_catalog.text, ' :')) f(field)
  where r.ev_class = any ($1::pg_catalog.oid[]) and r.ev_type = '1'::pg_catalog."char" and f.field ~~ 'relid %'
  union all
  select 'child', i.inhparent::pg_catalog.text, i.inhrelid::pg_catalog.text, null
  from pg_catalog.pg_inherits i
  where i.inhparent = any ($1::pg_catalog.oid[])
  union all
  select 'cascade', c.confrelid::pg_catalog.text, c.conrelid::pg_catalog.text, null
  from pg_catalog.pg_constraint c
  where c.confrelid = any ($1::pg_catalog.oid[]) and c.contype = 'f'::pg_catalog."char"
    and (c.confdeltype = any ('{c,n,d}'::pg_catalog."char"[]) or c.confupdtype = any ('{c,n,d}'::pg_catalog."char"[]))
  union all
  select 'referenced', c.conrelid::pg_catalog.text, c.confrelid::pg_catalog.text, null
  from pg_catalog.pg_constraint c join pg_catalog.pg_class k on k.oid = c.confrelid
  where c.conrelid = any ($1::pg_catalog.oid[]) and c.contype = 'f'::pg_catalog."char" and k.relforcerowsecurity
  union all
  select 'operator', c.conrelid::pg_catalog.text, o.oid::pg_catalog.text, null
  from pg_catalog.pg_constraint c
    cross join lateral pg_catalog.unnest(c.conpfeqop || c.conppeqop || c.conffeqop || c.conexclop) o(oid)
  where c.conrelid = any ($1::pg_catalog.oid[]) and o.oid >= 16384::pg_catalog.oid
  union all
  select distinct 'trigger', t.tgrelid::pg_catalog.text, t.tgfoid::pg_catalog.text, null
  from pg_catalog.pg_trigger t
  where t.tgrelid = any ($1::pg_catalog.oid[]) and t.tgenabled <> 'D'::pg_catalog."char"
  union all ${fieldsIn(`
    select p.polrelid, p.polwithcheck::pg_catalog.text
    from pg_catalog.pg_policy p
    where p.polrelid = any ($1::pg_catalog.oid[])
    union all
    select d.adrelid, d.adbin::pg_catalog.text
    from pg_catalog.pg_attrdef d
    where d.adrelid = any ($1::pg_catalog.oid[])
    union all
    select c.conrelid, c.conbin::pg_catalog.text
    from pg_catalog.pg_constraint c
    where c.conrelid = any ($1::pg_catalog.oid[]) and c.contype = 'c'::pg_catalog."char"
    union all
    select i.indrelid, e.tree
    from pg_catalog.pg_index i
      cross join lateral (values (i.indexprs::pg_catalog.text), (i.indpred::pg_catalog.text)) e(tree)
    where i.indrelid = any ($1::pg_catalog.oid[])
    union all
    select t.tgrelid, t.tgqual::pg_catalog.text
    from pg_catalog.pg_trigger t
    where t.tgrelid = any ($1::pg_catalog.oid[])
    union all
    select u.oid, p.partexprs::pg_catalog.text
    from pg_catalog.unnest($1::pg_catalog.oid[]) u(oid)
      cross join lateral pg_catalog.pg_partition_ancestors(u.oid::pg_catalog.regclass) a
      join pg_catalog.pg_partitioned_table p on p.partrelid = a.relid`)}`);

/**
 * $1: functions. Rows: oid, schema, name, volatility, kind, language, extension, "made by a superuser", types of
 * arguments and result, functions that an aggregate consists of, "came with a range type", definition if its body is a
 * text that may be looked into, fields of the node trees of its arguments' defaults and of a body that is stored as one.
 */
export const FUNCTIONS = pinned(`
  select f.oid::pg_catalog.text, n.nspname, f.proname, f.provolatile::pg_catalog.text, f.prokind::pg_catalog.text,
    l.lanname, x.extname, r.rolsuper::pg_catalog.text,
    pg_catalog.concat_ws(' ', f.proargtypes, f.prorettype),
    pg_catalog.concat_ws(' ', a.aggtransfn::pg_catalog.oid, a.aggfinalfn::pg_catalog.oid, a.aggcombinefn::pg_catalog.oid,
      a.aggserialfn::pg_catalog.oid, a.aggdeserialfn::pg_catalog.oid, a.aggmtransfn::pg_catalog.oid,
      a.aggminvtransfn::pg_catalog.oid, a.aggmfinalfn::pg_catalog.oid),
    (l.lanname = 'internal'::pg_catalog.name and pg_catalog.strpos(f.prosrc, 'range_constructor') <> 0)::pg_catalog.text,
    case when f.oid >= 16384::pg_catalog.oid and f.prokind = 'f'::pg_catalog."char" and f.prosqlbody is null
      and l.lanname = any ('{sql,plpgsql}'::pg_catalog.name[]) then pg_catalog.pg_get_functiondef(f.oid) end,
    (select pg_catalog.string_agg(distinct t.field, ',')
      from pg_catalog.unnest(pg_catalog.string_to_array(
        pg_catalog.concat(f.proargdefaults::pg_catalog.text, f.prosqlbody::pg_catalog.text), ' :')) t(field)
      where f.oid >= 16384::pg_catalog.oid and (${isTreeField('t.field')}
        or t.field ~~ 'commandType %' or t.field ~~ 'hasForUpdate true%'))
  from pg_catalog.pg_proc f
    join pg_catalog.pg_namespace n on n.oid = f.pronamespace
    join pg_catalog.pg_language l on l.oid = f.prolang
    left join pg_catalog.pg_aggregate a on a.aggfnoid = f.oid
    left join pg_catalog.pg_roles r on r.oid = f.proowner
    left join pg_catalog.pg_depend d on d.classid = 1255::pg_catalog.oid and d.objid = f.oid
      and d.deptype = 'e'::pg_catalog."char"
    left join pg_catalog.pg_extension x on x.oid = d.refobjid
  where f.oid = any ($1::pg_catalog.oid[])`);

/** $1: operators. The planner may put its commutator or negator in the place of one. */
export const OPERATORS = pinned(`
  select o.oid::pg_catalog.text, o.oprcode::pg_catalog.oid::pg_catalog.text, o.oprcom::pg_catalog.text,
    o.oprnegate::pg_catalog.text
  from pg_catalog.pg_operator o
  where o.oid = any ($1::pg_catalog.oid[])`);

/** Access methods whose support functions sort and group values: btree, hash. */
const SORTING_METHODS = `'{403,405}'::pg_catalog.oid[]`;

/** $1: types. Everything that may run where a value of the type comes up. */
export const TYPES = pinned(`
  select 'support', t.oid::pg_catalog.text, f.oid::pg_catalog.text, null
  from pg_catalog.pg_type t
    cross join lateral (values (t.typinput::pg_catalog.oid), (t.typoutput::pg_catalog.oid),
      (t.typreceive::pg_catalog.oid), (t.typsend::pg_catalog.oid), (t.typmodin::pg_catalog.oid)) f(oid)
  where t.oid = any ($1::pg_catalog.oid[]) and f.oid >= 16384::pg_catalog.oid
  union all
  select 'type', t.oid::pg_catalog.text, e.oid::pg_catalog.text, null
  from pg_catalog.pg_type t cross join lateral (values (t.typelem), (t.typbasetype)) e(oid)
  where t.oid = any ($1::pg_catalog.oid[]) and e.oid >= 16384::pg_catalog.oid
  union all
  select 'type', t.oid::pg_catalog.text, a.atttypid::pg_catalog.text, null
  from pg_catalog.pg_type t join pg_catalog.pg_attribute a on a.attrelid = t.typrelid
  where t.oid = any ($1::pg_catalog.oid[]) and a.attnum >= 1 and a.atttypid >= 16384::pg_catalog.oid
  union all
  select e.what, t.oid::pg_catalog.text, e.oid::pg_catalog.text, null
  from pg_catalog.pg_type t join pg_catalog.pg_range r on r.rngtypid = t.oid or r.rngmultitypid = t.oid
    cross join lateral (values ('type', r.rngsubtype), ('support', r.rngcanonical::pg_catalog.oid),
      ('support', r.rngsubdiff::pg_catalog.oid)) e(what, oid)
  where t.oid = any ($1::pg_catalog.oid[]) and e.oid >= 16384::pg_catalog.oid
  union all
  select 'support', t.oid::pg_catalog.text, c.castfunc::pg_catalog.text, null
  from pg_catalog.pg_type t join pg_catalog.pg_cast c on c.castsource = t.oid or c.casttarget = t.oid
  where t.oid = any ($1::pg_catalog.oid[]) and c.castfunc >= 16384::pg_catalog.oid
  union all
  select 'support', c.opcintype::pg_catalog.text, a.amproc::pg_catalog.oid::pg_catalog.text, null
  from pg_catalog.pg_opclass c join pg_catalog.pg_amproc a on a.amprocfamily = c.opcfamily
  where c.opcintype = any ($1::pg_catalog.oid[]) and c.opcmethod = any (${SORTING_METHODS})
    and a.amproc::pg_catalog.oid >= 16384::pg_catalog.oid
  union all
  select 'operator', c.opcintype::pg_catalog.text, a.amopopr::pg_catalog.text, null
  from pg_catalog.pg_opclass c join pg_catalog.pg_amop a on a.amopfamily = c.opcfamily
  where c.opcintype = any ($1::pg_catalog.oid[]) and c.opcmethod = any (${SORTING_METHODS})
    and a.amopopr >= 16384::pg_catalog.oid
  union all ${fieldsIn(`
    select c.contypid, c.conbin::pg_catalog.text
    from pg_catalog.pg_constraint c
    where c.contypid = any ($1::pg_catalog.oid[])`)}`);

/**
 * Version and encoding of the server; whether its node trees have the fields that are looked for, shown by two views
 * of its own (1 if so); and what a superuser may have slipped between built-in types: casts, operators, support functions.
 */
export const GUARD = pinned(`
  select 'version', pg_catalog.current_setting('server_version_num')
  union all
  select 'encoding', pg_catalog.getdatabaseencoding()::pg_catalog.text
  union all
  select 'trees', pg_catalog.count(*)::pg_catalog.text
  from pg_catalog.pg_rewrite s, pg_catalog.pg_rewrite a
  where s.ev_class = 'pg_catalog.pg_settings'::pg_catalog.regclass and s.ev_type = '1'::pg_catalog."char"
    and a.ev_class = 'pg_catalog.pg_stat_activity'::pg_catalog.regclass and a.ev_type = '1'::pg_catalog."char"
    and pg_catalog.strpos(s.ev_action::pg_catalog.text, pg_catalog.concat(
      ' :funcid ', 'pg_catalog.pg_show_all_settings()'::pg_catalog.regprocedure::pg_catalog.oid, ' ')) <> 0
    and pg_catalog.strpos(a.ev_action::pg_catalog.text, pg_catalog.concat(
      ' :relid ', 'pg_catalog.pg_authid'::pg_catalog.regclass::pg_catalog.oid, ' ')) <> 0
    and pg_catalog.strpos(a.ev_action::pg_catalog.text, pg_catalog.concat(
      ' :opno ', 'pg_catalog.=(pg_catalog.oid,pg_catalog.oid)'::pg_catalog.regoperator::pg_catalog.oid, ' ')) <> 0
  union all
  select 'support', c.castfunc::pg_catalog.text
  from pg_catalog.pg_cast c
  where c.castfunc >= 16384::pg_catalog.oid and c.castsource < 16384::pg_catalog.oid
    and c.casttarget < 16384::pg_catalog.oid
  union all
  select 'support', a.amproc::pg_catalog.oid::pg_catalog.text
  from pg_catalog.pg_amproc a join pg_catalog.pg_opfamily f on f.oid = a.amprocfamily
  where a.oid >= 16384::pg_catalog.oid and a.amproc::pg_catalog.oid >= 16384::pg_catalog.oid
    and a.amproclefttype < 16384::pg_catalog.oid and a.amprocrighttype < 16384::pg_catalog.oid
    and f.opfmethod = any (${SORTING_METHODS})
  union all
  select 'operator', a.amopopr::pg_catalog.text
  from pg_catalog.pg_amop a
  where a.oid >= 16384::pg_catalog.oid and a.amopopr >= 16384::pg_catalog.oid
    and a.amoplefttype < 16384::pg_catalog.oid and a.amoprighttype < 16384::pg_catalog.oid
    and a.amopmethod = any (${SORTING_METHODS})`);
