import type { Fields, Node } from './syntax-tree.ts';
import { fieldsOf, listOf, namesOf, nodeOf, textOf, visitNodes } from './syntax-tree.ts';

/** A name as the text spells it: `schema` is null where the server looks it up in its search_path. */
export interface QualifiedName {
  readonly schema: string | null;
  readonly name: string;
}

/** `optional`: the name may just as well belong to something that needs no looking up. */
export interface NamedRelation extends QualifiedName {
  /** True for the name of a CTE of the same statement. Scopes are not followed: a table of that name counts as well. */
  readonly optional: boolean;
}

export interface WrittenRelation extends QualifiedName {
  /** `modify` is everything that may change or remove a row, INSERT … ON CONFLICT included. */
  readonly mode: 'insert' | 'modify';
}

export interface NamedFunction extends QualifiedName {
  /** Number of arguments given. */
  readonly arity: number;
  /** True for `(expression).name`, which may be a column of a row or a function of one argument. */
  readonly optional: boolean;
}

/** Everything by which the code of somebody else could come into a statement. */
export interface ReferencedNames {
  readonly read: readonly NamedRelation[];
  /** Targets of INSERT, UPDATE, DELETE, MERGE, TRUNCATE and COPY FROM. */
  readonly written: readonly WrittenRelation[];
  readonly functions: readonly NamedFunction[];
  /** All of them: any operator may be defined again for other types. */
  readonly operators: readonly QualifiedName[];
  /** Types that the text names, except those that the grammar itself puts into pg_catalog (`int`, `timestamp`…). */
  readonly types: readonly QualifiedName[];
  /** The last part of `table.name`: a column, or a function of the row (`SELECT u.full_name FROM users u`). */
  readonly attributes: readonly string[];
  /** Kinds of syntax that are not known to be harmless. Anything here forbids every conclusion. */
  readonly unknownSyntax: readonly string[];
}

/** Syntax that by itself does nothing; what it names is looked up. From PostgreSQL 18's grammar. */
const HARMLESS = new Set(
  (
    'SelectStmt ResTarget ColumnRef A_Star String Integer Float Boolean BitString List A_Const ParamRef A_Expr ' +
    'BoolExpr TypeCast TypeName CollateClause FuncCall NamedArgExpr A_Indices A_Indirection A_ArrayExpr SubLink ' +
    'CaseExpr CaseWhen CoalesceExpr MinMaxExpr NullTest BooleanTest RowExpr SQLValueFunction GroupingFunc GroupingSet ' +
    'SortBy WindowDef RangeVar Alias RangeSubselect RangeFunction RangeTableFunc RangeTableFuncCol RangeTableSample ' +
    'JoinExpr WithClause CommonTableExpr CTESearchClause CTECycleClause ColumnDef XmlExpr XmlSerialize JsonFormat ' +
    'JsonReturning JsonValueExpr JsonIsPredicate JsonBehavior JsonOutput JsonArgument JsonFuncExpr JsonTablePathSpec ' +
    'JsonTable JsonTableColumn JsonKeyValue JsonParseExpr JsonScalarExpr JsonSerializeExpr JsonObjectConstructor ' +
    'JsonArrayConstructor JsonArrayQueryConstructor JsonAggConstructor JsonObjectAgg JsonArrayAgg SetToDefault ' +
    'InsertStmt UpdateStmt DeleteStmt MergeStmt MergeWhenClause OnConflictClause InferClause IndexElem MultiAssignRef ' +
    'ReturningClause ReturningOption MergeSupportFunc CurrentOfExpr CopyStmt TruncateStmt ExplainStmt DeclareCursorStmt ' +
    'VariableShowStmt LockingClause IntoClause'
  ).split(' '),
);
/** What is below these names nothing that the statement would run: aliases, options, a table that is yet to be made. */
const NOT_ENTERED = new Set(['Alias', 'DefElem', 'LockingClause', 'IntoClause', 'RoleSpec']);

const BETWEEN_OPERATORS: Readonly<Record<string, readonly string[]>> = {
  AEXPR_BETWEEN: ['>=', '<='],
  AEXPR_NOT_BETWEEN: ['<', '>'],
  AEXPR_BETWEEN_SYM: ['>=', '<='],
  AEXPR_NOT_BETWEEN_SYM: ['<', '>'],
};

interface Collected {
  readonly read: Map<string, NamedRelation>;
  readonly written: Map<string, WrittenRelation>;
  readonly functions: Map<string, NamedFunction>;
  readonly operators: Map<string, QualifiedName>;
  readonly types: Map<string, QualifiedName>;
  readonly attributes: Set<string>;
  readonly unknownSyntax: Set<string>;
  readonly commonTables: Set<string>;
  /** Nodes that were taken for the target of a write, not to be taken for something read as well. */
  readonly targets: Set<unknown>;
}

/** The names in `statements`, each once. */
export function referencedNamesOf(statements: readonly Node[]): ReferencedNames {
  const into: Collected = {
    read: new Map(),
    written: new Map(),
    functions: new Map(),
    operators: new Map(),
    types: new Map(),
    attributes: new Set(),
    unknownSyntax: new Set(),
    commonTables: new Set(),
    targets: new Set(),
  };
  for (const { tag, fields } of statements) visitNodes({ [tag]: fields }, (node) => collect(node, into));
  return {
    read: [...into.read.values()].map((relation) => ({
      ...relation,
      optional: relation.schema === null && into.commonTables.has(relation.name),
    })),
    written: [...into.written.values()],
    functions: [...into.functions.values()],
    operators: [...into.operators.values()],
    types: [...into.types.values()],
    attributes: [...into.attributes],
    unknownSyntax: [...into.unknownSyntax],
  };
}

function collect({ tag, fields }: Node, into: Collected): 'skip' | undefined {
  if (NOT_ENTERED.has(tag)) return 'skip';
  if (!HARMLESS.has(tag)) into.unknownSyntax.add(tag);
  switch (tag) {
    case 'InsertStmt':
      addTarget(fields['relation'], fields['onConflictClause'] === undefined ? 'insert' : 'modify', into);
      break;
    case 'UpdateStmt':
    case 'DeleteStmt':
    case 'MergeStmt':
      addTarget(fields['relation'], 'modify', into);
      break;
    case 'CopyStmt':
      if (fields['is_from'] === true) addTarget(fields['relation'], 'insert', into);
      break;
    case 'TruncateStmt':
      // Whatever refers to the tables, by any foreign key, is emptied too.
      if (fields['behavior'] === 'DROP_CASCADE') into.unknownSyntax.add('TRUNCATE … CASCADE');
      for (const relation of listOf(fields['relations'])) addTarget(relation, 'modify', into);
      break;
    case 'RangeVar':
      addRelation(fields, into);
      break;
    case 'CommonTableExpr':
      into.commonTables.add(textOf(fields['ctename']) ?? '');
      break;
    case 'TypeName':
      addType(fields, into);
      break;
    default:
      collectCode({ tag, fields }, into);
  }
  return undefined;
}

/** Functions and operators, spelled out or implied by the syntax. */
function collectCode({ tag, fields }: Node, into: Collected): void {
  switch (tag) {
    case 'FuncCall': {
      const within = fields['agg_within_group'] === true ? listOf(fields['agg_order']).length : 0;
      addFunction(fields['funcname'], listOf(fields['args']).length + within, false, into);
      break;
    }
    case 'RangeTableSample':
      addFunction(fields['method'], 1, false, into);
      break;
    case 'A_Expr':
      addOperators(fields, into);
      break;
    case 'SortBy':
      addOperator(fields['useOp'], into);
      break;
    case 'SubLink':
      addOperator(fields['operName'], into);
      if (fields['testexpr'] !== undefined) addPlainOperators(['='], into);
      break;
    case 'CaseExpr':
      if (fields['arg'] !== undefined) addPlainOperators(['='], into);
      break;
    case 'JoinExpr':
      if (fields['usingClause'] !== undefined || fields['isNatural'] === true) addPlainOperators(['='], into);
      break;
    case 'CTECycleClause':
      addPlainOperators(['=', '<>'], into);
      break;
    case 'ColumnRef':
      addAttribute(listOf(fields['fields']), into);
      break;
    case 'A_Indirection':
      // Also of a scalar: (x).f is f(x) wherever f takes what x is.
      for (const name of namesOf(fields['indirection']))
        addFunction([{ String: { sval: name } }], 1, true, into);
      break;
    default:
  }
}

function addTarget(value: unknown, mode: WrittenRelation['mode'], into: Collected): void {
  const fields = fieldsOf(value, 'RangeVar');
  if (fields === undefined) return;
  into.targets.add(fields);
  const name = relationName(fields);
  into.written.set(`${keyOf(name)}${mode}`, { ...name, mode });
}

function addRelation(fields: Fields, into: Collected): void {
  if (into.targets.has(fields)) return;
  const name = relationName(fields);
  into.read.set(keyOf(name), { ...name, optional: false });
}

function relationName(fields: Fields): QualifiedName {
  return { schema: textOf(fields['schemaname']) ?? null, name: textOf(fields['relname']) ?? '' };
}

function addType(fields: Fields, into: Collected): void {
  const name = qualifiedName(fields['names']);
  if (name.schema !== 'pg_catalog') into.types.set(keyOf(name), name);
}

function addFunction(names: unknown, arity: number, optional: boolean, into: Collected): void {
  const name = qualifiedName(names);
  const key = `${keyOf(name)}/${arity}`;
  if (optional && into.functions.has(key)) return;
  into.functions.set(key, { ...name, arity, optional });
}

function addOperators(fields: Fields, into: Collected): void {
  const kind = textOf(fields['kind']) ?? '';
  const between = BETWEEN_OPERATORS[kind];
  if (between === undefined) addOperator(fields['name'], into);
  else addPlainOperators(between, into);
}

function addOperator(names: unknown, into: Collected): void {
  if (listOf(names).length === 0) return;
  const name = qualifiedName(names);
  into.operators.set(keyOf(name), name);
}

function addPlainOperators(names: readonly string[], into: Collected): void {
  for (const name of names) into.operators.set(keyOf({ schema: null, name }), { schema: null, name });
}

function addAttribute(parts: readonly unknown[], into: Collected): void {
  const last = nodeOf(parts.at(-1));
  if (parts.length < 2 || last?.tag !== 'String') return;
  into.attributes.add(textOf(last.fields['sval']) ?? '');
}

/** Of `database.schema.name` the database is left out: it can only be the current one. */
function qualifiedName(names: unknown): QualifiedName {
  const parts = namesOf(names);
  return { schema: parts.at(-2) ?? null, name: parts.at(-1) ?? '' };
}

function keyOf({ schema, name }: QualifiedName): string {
  return JSON.stringify([schema, name]);
}
