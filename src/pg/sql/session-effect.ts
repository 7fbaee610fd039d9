import type { Fields, Node } from './syntax-tree.ts';
import { fieldsOf, listOf, namesOf, nodeOf, textOf, visitNodes } from './syntax-tree.ts';

/**
 * A trace that a statement leaves in its session, or in its transaction where `local` says so. Names of settings are in
 * lower case. A value that the text does not give literally (an expression, a parameter, DEFAULT) is null.
 *
 * Values are hints only: a setting is restored by what the server says of it, never by running the statement again.
 */
export type SessionEffect =
  | { readonly kind: 'set'; readonly name: string; readonly local: boolean; readonly value: string | null }
  | { readonly kind: 'reset'; readonly name: string }
  | { readonly kind: 'set-role'; readonly local: boolean; readonly role: string | null }
  | { readonly kind: 'set-session-authorization'; readonly local: boolean; readonly user: string | null }
  /** A call of set_config; `local` is null where it is an expression. */
  | {
      readonly kind: 'set-config';
      readonly name: string | null;
      readonly value: string | null;
      readonly local: boolean | null;
    }
  /** SET TRANSACTION; an imported snapshot belongs to another session and can't be had again. */
  | { readonly kind: 'set-transaction'; readonly snapshot: boolean }
  | { readonly kind: 'discard'; readonly target: 'all' | 'plans' | 'sequences' | 'temp' }
  | { readonly kind: 'listen'; readonly channel: string }
  /** `*` is all channels. */
  | { readonly kind: 'unlisten'; readonly channel: string }
  | { readonly kind: 'prepare'; readonly name: string }
  /** `all` is all of them, as for `reset` and `close-cursor`. */
  | { readonly kind: 'deallocate'; readonly name: string }
  | { readonly kind: 'temp-table' }
  | { readonly kind: 'advisory-lock'; readonly session: boolean; readonly try: boolean }
  | { readonly kind: 'advisory-unlock' }
  | { readonly kind: 'hold-cursor'; readonly name: string }
  | { readonly kind: 'close-cursor'; readonly name: string }
  | { readonly kind: 'load' }
  | { readonly kind: 'setseed' };

/** Settings that decide what a name or a string in the statements behind them means. */
const NAMING_SETTINGS: ReadonlySet<string | null> = new Set([
  'search_path',
  'standard_conforming_strings',
  'all',
  null,
]);

/** True if a name may mean something else behind it, be it only to the end of the transaction. */
export function changesNames(effect: SessionEffect): boolean {
  switch (effect.kind) {
    case 'set':
    case 'reset':
    case 'set-config':
      return NAMING_SETTINGS.has(effect.name);
    default:
      return false;
  }
}

const ADVISORY_LOCK = /^pg_(try_)?advisory_(xact_)?lock(_shared)?$/;
const ADVISORY_UNLOCK = /^pg_advisory_unlock(_shared|_all)?$/;
/** CURSOR_OPT_HOLD of parsenodes.h. */
const CURSOR_HOLD = 0x20;
/** Settings whose list elements the server keeps quoted (GUC_LIST_QUOTE). */
const QUOTED_LISTS = new Set([
  'search_path',
  'temp_tablespaces',
  'local_preload_libraries',
  'session_preload_libraries',
]);
/** Commands that run the functions they name. EXPLAIN without ANALYZE, PREPARE and all definitions do not. */
const RUNS_ITS_FUNCTIONS = new Set([
  'SelectStmt',
  'InsertStmt',
  'UpdateStmt',
  'DeleteStmt',
  'MergeStmt',
  'CopyStmt',
  'DeclareCursorStmt',
  'CreateTableAsStmt',
  'CallStmt',
]);

/** What one statement of the text does to its session; `explain` tells EXPLAIN ANALYZE, which runs its query. */
export function sessionEffectsOf(
  statement: Node,
  explain: 'none' | 'plain' | 'analyze',
): readonly SessionEffect[] {
  const effects = [...commandEffects(statement)];
  if (!RUNS_ITS_FUNCTIONS.has(statement.tag) && explain !== 'analyze') return effects;
  visitNodes({ [statement.tag]: statement.fields }, ({ tag, fields }) => {
    if (tag === 'FuncCall') effects.push(...callEffects(fields));
    if (tag === 'IntoClause' && isTemporary(fields['rel'])) effects.push({ kind: 'temp-table' });
    return undefined;
  });
  return effects;
}

function commandEffects({ tag, fields }: Node): readonly SessionEffect[] {
  switch (tag) {
    case 'VariableSetStmt':
      return setEffects(fields);
    case 'DiscardStmt':
      return [{ kind: 'discard', target: discardTarget(fields['target']) }];
    case 'ListenStmt':
      return [{ kind: 'listen', channel: textOf(fields['conditionname']) ?? '' }];
    case 'UnlistenStmt':
      return [{ kind: 'unlisten', channel: textOf(fields['conditionname']) ?? '*' }];
    case 'PrepareStmt':
      return [{ kind: 'prepare', name: textOf(fields['name']) ?? '' }];
    case 'DeallocateStmt':
      return [{ kind: 'deallocate', name: textOf(fields['name']) ?? 'all' }];
    case 'LoadStmt':
      return [{ kind: 'load' }];
    case 'DeclareCursorStmt':
      if ((Number(fields['options'] ?? 0) & CURSOR_HOLD) === 0) return [];
      return [{ kind: 'hold-cursor', name: textOf(fields['portalname']) ?? '' }];
    case 'ClosePortalStmt':
      return [{ kind: 'close-cursor', name: textOf(fields['portalname']) ?? 'all' }];
    default:
      return createsTemporary({ tag, fields }) ? [{ kind: 'temp-table' }] : [];
  }
}

/** SET and RESET in all their spellings (SET TIME ZONE, SET NAMES, SET SCHEMA … come as the setting they stand for). */
export function setEffects(fields: Fields): readonly SessionEffect[] {
  const name = (textOf(fields['name']) ?? '').toLowerCase();
  const local = fields['is_local'] === true;
  if (fields['kind'] === 'VAR_RESET_ALL') return [{ kind: 'reset', name: 'all' }];
  if (fields['kind'] === 'VAR_RESET') return [{ kind: 'reset', name }];
  if (name === 'session characteristics') return characteristics(fields);
  if (name === 'transaction snapshot') return [{ kind: 'set-transaction', snapshot: true }];
  if (fields['kind'] === 'VAR_SET_MULTI') return [{ kind: 'set-transaction', snapshot: false }];
  const value = settingValue(name, fields);
  if (name === 'role') return [{ kind: 'set-role', local, role: value }];
  if (name === 'session_authorization') return [{ kind: 'set-session-authorization', local, user: value }];
  if (name === 'seed') return [{ kind: 'setseed' }];
  return [{ kind: 'set', name, local, value }];
}

/** SET SESSION CHARACTERISTICS AS TRANSACTION … sets the defaults for the transactions to come. */
function characteristics(fields: Fields): readonly SessionEffect[] {
  return listOf(fields['args']).flatMap((element) => {
    const option = fieldsOf(element, 'DefElem');
    const name = textOf(option?.['defname']);
    if (option === undefined || name === undefined) return [];
    const given = literalOf(option['arg']);
    const isLevel = name === 'transaction_isolation';
    return {
      kind: 'set',
      name: `default_${name}`,
      local: false,
      value: isLevel ? given : given === '0' ? 'off' : 'on',
    };
  });
}

function settingValue(name: string, fields: Fields): string | null {
  const values = listOf(fields['args']).map((argument) => literalOf(argument));
  if (fields['kind'] !== 'VAR_SET_VALUE' || values.length === 0) return null;
  const isQuoted = QUOTED_LISTS.has(name);
  const parts: string[] = [];
  for (const value of values) {
    if (value === null) return null;
    parts.push(isQuoted && !/^[a-z_][a-z0-9_$]*$/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  }
  return parts.join(', ');
}

function callEffects(fields: Fields): readonly SessionEffect[] {
  const name = namesOf(fields['funcname']).at(-1) ?? '';
  if (name === 'setseed') return [{ kind: 'setseed' }];
  if (name === 'set_config') return [setConfigEffect(listOf(fields['args']))];
  if (ADVISORY_UNLOCK.test(name)) return [{ kind: 'advisory-unlock' }];
  const lock = ADVISORY_LOCK.exec(name);
  if (lock === null) return [];
  return [{ kind: 'advisory-lock', session: lock[2] === undefined, try: lock[1] !== undefined }];
}

function setConfigEffect(given: readonly unknown[]): SessionEffect {
  // set_config(setting_name => …) may give them in any order.
  const isPlain = given.length === 3 && !given.some((argument) => nodeOf(argument)?.tag === 'NamedArgExpr');
  const [name, value, local] = isPlain ? given.map((argument) => literalOf(argument)) : [];
  return {
    kind: 'set-config',
    name: name?.toLowerCase() ?? null,
    value: value ?? null,
    local: local === 'true' ? true : local === 'false' ? false : null,
  };
}

/** The text of a constant, as SET takes it; null for anything that has to be worked out. */
function literalOf(value: unknown): string | null {
  const node = nodeOf(value);
  if (node?.tag === 'TypeCast') {
    const type = namesOf(fieldsOf(node.fields['typeName'], 'TypeName')?.['names']).at(-1);
    return type === 'text' || type === 'varchar' ? literalOf(node.fields['arg']) : null;
  }
  if (node?.tag !== 'A_Const' || node.fields['isnull'] === true) return null;
  const { sval, ival, fval, boolval } = node.fields;
  if (sval !== undefined) return textOf(fieldsOf(sval, 'String')?.['sval']) ?? '';
  if (ival !== undefined) return String(Number(fieldsOf(ival, 'Integer')?.['ival'] ?? 0));
  if (fval !== undefined) return textOf(fieldsOf(fval, 'Float')?.['fval']) ?? null;
  if (boolval !== undefined) return String(fieldsOf(boolval, 'Boolean')?.['boolval'] === true);
  return null;
}

function discardTarget(value: unknown): 'all' | 'plans' | 'sequences' | 'temp' {
  if (value === 'DISCARD_PLANS') return 'plans';
  if (value === 'DISCARD_SEQUENCES') return 'sequences';
  return value === 'DISCARD_TEMP' ? 'temp' : 'all';
}

/** CREATE TEMP …, or anything created in the schema pg_temp. */
function createsTemporary({ tag, fields }: Node): boolean {
  if (!/^(Create|View|CompositeType|Define)/.test(tag)) return false;
  const { relation, view, sequence, typevar, base } = fields;
  const created = [relation, view, sequence, typevar, fieldsOf(base, 'CreateStmt')?.['relation']];
  if (created.some((relation) => isTemporary(relation))) return true;
  const names = [fields['funcname'], fields['domainname'], fields['typeName'], fields['defnames']];
  return names.some((name) => /^pg_temp/.test(namesOf(name)[0] ?? ''));
}

function isTemporary(value: unknown): boolean {
  const relation = fieldsOf(value, 'RangeVar');
  return relation?.['relpersistence'] === 't' || /^pg_temp/.test(textOf(relation?.['schemaname']) ?? '');
}
