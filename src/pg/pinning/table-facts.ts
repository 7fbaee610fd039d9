import type { SqlRow, SqlRunner } from '../sql-runner.ts';
import { pinned } from '../sql/pinned-sql.ts';
import { parserReady } from '../sql/parser.ts';
import { expressionNode } from './sql-nodes.ts';
import {
  CALLS_NOTHING,
  expressionFacts,
  isTransactionTime,
  nextvalOf,
  type ExpressionFacts,
} from './made-values.ts';

/** Where a column's value comes from if a statement gives none. */
export interface ColumnDefault {
  readonly facts: ExpressionFacts;
  /** It is `nextval` and nothing else, or the column is an identity. */
  readonly isNextval: boolean;
  /** It is the time of the transaction. */
  readonly isTransactionTime: boolean;
  /** As SQL; empty for an identity. */
  readonly expression: string;
}

export interface ColumnFacts {
  readonly number: number;
  readonly name: string;
  /** As format_type gives it. */
  readonly type: string;
  readonly typeOid: number;
  /** Null if there is none, and for generated columns. */
  readonly default: ColumnDefault | null;
  /** GENERATED ALWAYS AS IDENTITY: needs OVERRIDING SYSTEM VALUE. */
  readonly isAlwaysIdentity: boolean;
  readonly isIdentity: boolean;
  readonly isGenerated: boolean;
  /** Of nextval or the identity; object identifier. */
  readonly sequence: number | null;
}

/** What pinning needs to know of a table on the new server. */
export interface TableFacts {
  readonly oid: number;
  /** An ordinary or partitioned table without rules: what is written into it stands in it. */
  readonly isPlain: boolean;
  /** In the order of the table. */
  readonly columns: readonly ColumnFacts[];
  /** Numbers of the columns of the primary key. */
  readonly primaryKey: readonly number[];
  /** Triggers of somebody's own that run before a row is written: what they put in, nobody knows. */
  readonly hasRowTriggers: boolean;
  /** Triggers of somebody's own, of any kind. */
  readonly hasTriggers: boolean;
}

/** About the tables of an array of object identifiers. */
const ABOUT_TABLES = (tables: string): string =>
  pinned(`
  select 'table', c.oid::pg_catalog.text, c.relkind::pg_catalog.text,
    (exists (select from pg_catalog.pg_rewrite r where r.ev_class = c.oid
      and r.ev_type <> '1'::pg_catalog."char"))::pg_catalog.text,
    (select i.indkey::pg_catalog.text from pg_catalog.pg_index i where i.indrelid = c.oid and i.indisprimary),
    (exists (select from pg_catalog.pg_trigger t where t.tgrelid = c.oid and not t.tgisinternal
      and t.tgenabled <> 'D'::pg_catalog."char" and (t.tgtype & 3) = 3))::pg_catalog.text,
    (exists (select from pg_catalog.pg_trigger t where t.tgrelid = c.oid and not t.tgisinternal
      and t.tgenabled <> 'D'::pg_catalog."char"))::pg_catalog.text,
    null, null
  from pg_catalog.pg_class c
  where c.oid = any (${tables})
  union all
  select 'column', a.attrelid::pg_catalog.text, a.attnum::pg_catalog.text, a.attname,
    pg_catalog.format_type(a.atttypid, a.atttypmod), a.atttypid::pg_catalog.text,
    pg_catalog.pg_get_expr(d.adbin, d.adrelid), a.attidentity::pg_catalog.text || a.attgenerated::pg_catalog.text,
    (select s.oid::pg_catalog.text
      from pg_catalog.pg_depend p join pg_catalog.pg_class s on s.relkind = 'S'::pg_catalog."char"
        and ((p.classid = 1259::pg_catalog.oid and p.objid = s.oid and p.refclassid = 1259::pg_catalog.oid
            and p.refobjid = a.attrelid and p.refobjsubid = a.attnum and p.deptype = 'i'::pg_catalog."char")
          or (p.classid = 2604::pg_catalog.oid and p.objid = d.oid and p.refclassid = 1259::pg_catalog.oid
            and p.refobjid = s.oid))
      limit 1)
  from pg_catalog.pg_attribute a
    left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
  where a.attrelid = any (${tables}) and a.attnum >= 1 and not a.attisdropped`);

/** $1: tables. */
const TABLES = ABOUT_TABLES('$1::pg_catalog.oid[]');
/** $1: the name of a table. */
const TABLE_CALLED = ABOUT_TABLES('array[pg_catalog.to_regclass($1)::pg_catalog.oid]');

const TABLE_NAME = 'select pg_catalog.to_regclass($1)::pg_catalog.oid::pg_catalog.text';

/** The object identifier of the relation that a name means here, also of a sequence; null if there is none. */
export async function relationCalled(name: string, runner: SqlRunner): Promise<number | null> {
  const [row] = await runner.run(TABLE_NAME, [name]);
  const oid = row?.[0] ?? null;
  return oid === null ? null : Number(oid);
}

/** The facts of each of these tables that is there. */
export async function tableFacts(
  oids: readonly number[],
  runner: SqlRunner,
): Promise<ReadonlyMap<number, TableFacts>> {
  if (!parserReady()) throw new TypeError('the parser must be loaded before');
  if (oids.length === 0) return new Map();
  return factsIn(await runner.run(TABLES, [`{${oids.join(',')}}`]));
}

/** The facts of the table that a name means here, in one question; null if there is none. */
export async function factsOfTableCalled(name: string, runner: SqlRunner): Promise<TableFacts | null> {
  const [facts] = factsIn(await runner.run(TABLE_CALLED, [name])).values();
  return facts ?? null;
}

function factsIn(rows: readonly SqlRow[]): ReadonlyMap<number, TableFacts> {
  const found = new Map<number, TableFacts>();
  for (const [what, oid, kind, hasRules, key, hasRowTriggers, hasTriggers] of rows) {
    if (what !== 'table') continue;
    found.set(Number(oid), {
      oid: Number(oid),
      isPlain: (kind === 'r' || kind === 'p') && hasRules === 'false',
      columns: rows
        .filter((row) => row[0] === 'column' && row[1] === oid)
        .map(columnOf)
        .sort((one, other) => one.number - other.number),
      primaryKey: (key ?? '').split(' ').filter(Boolean).map(Number),
      hasRowTriggers: hasRowTriggers === 'true',
      hasTriggers: hasTriggers === 'true',
    });
  }
  return found;
}

function columnOf([, , number, name, type, typeOid, expression, kinds, sequence]: SqlRow): ColumnFacts {
  const identity = /^[ad]/.exec(kinds ?? '')?.[0];
  const isGenerated = /[sv]$/.test(kinds ?? '');
  return {
    number: Number(number),
    name: name ?? '',
    type: type ?? '',
    typeOid: Number(typeOid),
    default: isGenerated ? null : defaultOf(expression ?? null, identity !== undefined),
    isAlwaysIdentity: identity === 'a',
    isIdentity: identity !== undefined,
    isGenerated,
    sequence: sequence === null || sequence === undefined ? null : Number(sequence),
  };
}

function defaultOf(expression: string | null, isIdentity: boolean): ColumnDefault | null {
  if (isIdentity) return { facts: CALLS_NOTHING, isNextval: true, isTransactionTime: false, expression: '' };
  if (expression === null) return null;
  const node = expressionNode(expression);
  return {
    facts: expressionFacts(node),
    isNextval: nextvalOf(node) !== undefined,
    isTransactionTime: isTransactionTime(node),
    expression,
  };
}
