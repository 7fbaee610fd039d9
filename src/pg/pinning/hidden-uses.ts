import { arrayLiteral } from '../sql/array-literal.ts';
import { pinned } from '../sql/pinned-sql.ts';
import type { SqlRunner } from '../sql-runner.ts';
import { nodeOf, textOf, visitNodes } from '../sql/syntax-tree.ts';
import { calledName, expressionFacts } from './made-values.ts';

/** What says that code uses the time of its transaction, or the transaction's identity. */
const USES =
  /\b(?:now|transaction_timestamp|txid_current|pg_current_xact_id|pg_backend_pid|age)\s*\(|\bcurrent_(?:date|time|timestamp)\b|\blocaltime(?:stamp)?\b|'(?:now|today|tomorrow|yesterday)'/i;
const CALLED = /([A-Za-z_][\w$]*)"?\s*\(/g;
/** What is defined runs later, with the time of its own transaction. */
const DEFINES =
  /^(?:Create(?!TableAs)\w*|View|Rule|Prepare|Define|Comment|Drop|Grant|Index|Transaction|Variable\w*)Stmt$/;
const MAX_ROUNDS = 8;

/**
 * $1: names of functions; $2: the written table, with its partitions and what foreign keys write with it; $3: names of
 * relations. Code that runs behind them.
 */
const CODE = pinned(`
  with recursive written(oid) as (
    select pg_catalog.to_regclass($2)::pg_catalog.oid
    union
    select e.oid
    from written w cross join lateral (
      select i.inhrelid from pg_catalog.pg_inherits i where i.inhparent = w.oid
      union all
      select c.conrelid from pg_catalog.pg_constraint c
      where c.confrelid = w.oid and c.contype = 'f'::pg_catalog."char"
        and (c.confdeltype = any ('{c,n,d}'::pg_catalog."char"[]) or c.confupdtype = any ('{c,n,d}'::pg_catalog."char"[]))
    ) e(oid))
  select 'function', f.proname, case when l.lanname = any ('{sql,plpgsql}'::pg_catalog.name[])
      then pg_catalog.concat(f.prosrc, pg_catalog.pg_get_function_sqlbody(f.oid)) end,
    (x.refobjid is not null)::pg_catalog.text
  from pg_catalog.pg_proc f
    join pg_catalog.pg_language l on l.oid = f.prolang
    left join pg_catalog.pg_depend x on x.classid = 1255::pg_catalog.oid and x.objid = f.oid
      and x.deptype = 'e'::pg_catalog."char"
  where f.proname = any ($1::pg_catalog.name[]) and f.oid >= 16384::pg_catalog.oid
  union all
  select 'trigger', f.proname, case when l.lanname = any ('{sql,plpgsql}'::pg_catalog.name[])
      then pg_catalog.concat(f.prosrc, pg_catalog.pg_get_function_sqlbody(f.oid)) end, 'false'
  from pg_catalog.pg_trigger t
    join pg_catalog.pg_proc f on f.oid = t.tgfoid
    join pg_catalog.pg_language l on l.oid = f.prolang
  where t.tgrelid = any (array(select w.oid from written w)) and not t.tgisinternal and t.tgenabled <> 'D'::pg_catalog."char"
  union all
  select 'view', c.relname, pg_catalog.pg_get_viewdef(c.oid), 'false'
  from pg_catalog.unnest($3::pg_catalog.text[]) u(name)
    join pg_catalog.pg_class c on c.oid = pg_catalog.to_regclass(u.name)::pg_catalog.oid
  where c.relkind = 'v'::pg_catalog."char"`);

/**
 * Whether a statement uses its transaction's time or identity where no rewriting reaches it: in a trigger, a function, a
 * view, or a word such as `'today'`. Read from the code's own text, functions that it calls included. Code that can't be
 * read (in C, say) counts as using it, unless it came with an extension and is called by name.
 *
 * Returns where, in words for the user, or null.
 */
export async function hiddenUse(
  tree: unknown,
  writtenTable: string | null,
  runner: SqlRunner,
): Promise<string | null> {
  const tag = nodeOf(tree)?.tag ?? '';
  if (DEFINES.test(tag)) return null;
  if (tag === 'ExecuteStmt') return 'what it executes';
  if (tag === 'DoStmt' && USES.test(JSON.stringify(tree))) return 'its code';
  // Those that can be replaced are replaced already.
  if (expressionFacts(tree).isConstant) return 'an expression';
  const functions = new Set<string>();
  const relations = new Set<string>();
  visitNodes(tree, ({ tag, fields }) => {
    if (tag === 'FuncCall') functions.add(calledName(fields));
    if (tag === 'RangeVar') {
      const parts = [textOf(fields['schemaname']), textOf(fields['relname'])];
      relations.add(
        parts.flatMap((part) => (part === undefined ? [] : `"${part.replaceAll('"', '""')}"`)).join('.'),
      );
    }
    return undefined;
  });
  const asked = new Set<string>();
  let names = [...functions];
  let table = writtenTable;
  let views = [...relations];
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const fresh = names.filter((name) => !asked.has(name));
    for (const name of fresh) asked.add(name);
    if (fresh.length === 0 && table === null && views.length === 0) return null;
    const rows = await runner.run(CODE, [arrayLiteral(fresh), table, arrayLiteral(views)]);
    table = null;
    views = [];
    names = [];
    for (const [what, name, source, isExtension] of rows) {
      if (source === null || source === undefined) {
        if (isExtension === 'true') continue;
        return `the ${what!} ${name!}, which can’t be read`;
      }
      if (USES.test(source)) return `the ${what!} ${name!}`;
      for (const [, called] of source.matchAll(CALLED)) names.push(called!.toLowerCase());
      if (what === 'view') {
        for (const [, word] of source.matchAll(
          /\b(?:from|join)\s+\(*((?:[\w$]+|"[^"]+")(?:\.(?:[\w$]+|"[^"]+"))?)/gi,
        ))
          views.push(word!);
      }
    }
  }
  return 'code that is nested too deeply to be read';
}
