/**
 * Checked access to the syntax trees of `parser.ts`. A tree is JSON: a node is an object with a single capitalised key,
 * its tag (`{"FuncCall": {…}}`), except where the grammar's C structures allow one type only; there the tag is left
 * out. Fields that are zero, false or empty are left out too.
 */

/** The fields of one node. */
export type Fields = Readonly<Record<string, unknown>>;

export interface Node {
  readonly tag: string;
  readonly fields: Fields;
}

/** Fields whose nodes come without a tag, by their names (from libpg-query's pg_query.proto). */
const UNTAGGED: ReadonlyMap<string, string> = new Map(
  Object.entries({
    alias: 'Alias',
    bound: 'PartitionBoundSpec',
    collClause: 'CollateClause',
    constructor: 'JsonAggConstructor',
    context_item: 'JsonValueExpr',
    cycle_clause: 'CTECycleClause',
    format: 'JsonFormat',
    funccall: 'FuncCall',
    infer: 'InferClause',
    into: 'IntoClause',
    intoClause: 'IntoClause',
    join_using_alias: 'Alias',
    ofTypename: 'TypeName',
    onConflictClause: 'OnConflictClause',
    on_empty: 'JsonBehavior',
    on_error: 'JsonBehavior',
    output: 'JsonOutput',
    over: 'WindowDef',
    pathspec: 'JsonTablePathSpec',
    rel: 'RangeVar',
    relation: 'RangeVar',
    returning: 'JsonReturning',
    returningClause: 'ReturningClause',
    search_clause: 'CTESearchClause',
    sequence: 'RangeVar',
    setstmt: 'VariableSetStmt',
    typeName: 'TypeName',
    view: 'RangeVar',
    withClause: 'WithClause',
  }),
);

/** The same where a name alone does not tell. */
const UNTAGGED_IN: ReadonlyMap<string, string> = new Map(
  Object.entries({
    'A_Const.boolval': 'Boolean',
    'A_Const.bsval': 'BitString',
    'A_Const.fval': 'Float',
    'A_Const.ival': 'Integer',
    'A_Const.sval': 'String',
    'JsonArgument.val': 'JsonValueExpr',
    'JsonArrayAgg.arg': 'JsonValueExpr',
    'JsonKeyValue.value': 'JsonValueExpr',
    'JsonObjectAgg.arg': 'JsonKeyValue',
    'JsonParseExpr.expr': 'JsonValueExpr',
    'JsonSerializeExpr.expr': 'JsonValueExpr',
    'PartitionCmd.name': 'RangeVar',
    'SelectStmt.larg': 'SelectStmt',
    'SelectStmt.rarg': 'SelectStmt',
  }),
);

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The node that `value` is, if it carries its tag. */
export function nodeOf(value: unknown): Node | undefined {
  if (!isFields(value)) return undefined;
  const [tag, ...others] = Object.keys(value);
  if (tag === undefined || others.length > 0 || !/^[A-Z]/.test(tag)) return undefined;
  const fields = value[tag];
  return isFields(fields) ? { tag, fields } : undefined;
}

/** The fields of `value` if it is a node of this kind, with or without its tag. */
export function fieldsOf(value: unknown, tag: string): Fields | undefined {
  const node = nodeOf(value);
  if (node !== undefined) return node.tag === tag ? node.fields : undefined;
  return isFields(value) ? value : undefined;
}

export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? (value as readonly unknown[]) : [];
}

export function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

/** The parts of a dotted name: a list of String nodes. Whatever else is among them (`*`) is passed over. */
export function namesOf(value: unknown): readonly string[] {
  return listOf(value).flatMap((part) => {
    const node = nodeOf(part);
    if (node?.tag !== 'String') return [];
    return textOf(node.fields['sval']) ?? '';
  });
}

/**
 * Calls `visit` for `root` and all nodes below it, parents first, in the order of the text as far as the tree has it.
 * What `visit` answers with `'skip'` is not entered. A node without a tag where none is expected is visited under the
 * name `parent.field`, so that whoever allows known tags only does not overlook it.
 *
 * Not recursive: the grammar allows expressions that are deeper than the stack.
 */
export function visitNodes(root: unknown, visit: (node: Node) => 'skip' | undefined): void {
  const first = nodeOf(root);
  const pending: Node[] = first === undefined ? [] : [first];
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    if (visit(node) === 'skip') continue;
    const children: Node[] = [];
    for (const [field, value] of Object.entries(node.fields)) {
      for (const child of Array.isArray(value) ? (value as readonly unknown[]) : [value]) {
        // SELECT DISTINCT without ON is a list of one empty node.
        if (!isFields(child) || Object.keys(child).length === 0) continue;
        children.push(nodeOf(child) ?? { tag: untaggedIn(node.tag, field), fields: child });
      }
    }
    for (const child of children.reverse()) pending.push(child);
  }
}

function untaggedIn(parent: string, field: string): string {
  const path = `${parent}.${field}`;
  return UNTAGGED_IN.get(path) ?? UNTAGGED.get(field) ?? path;
}
