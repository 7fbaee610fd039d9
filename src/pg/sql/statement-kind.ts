import type { Fields, Node } from './syntax-tree.ts';
import { fieldsOf, listOf, namesOf, nodeOf, textOf, visitNodes } from './syntax-tree.ts';

/**
 * `read-candidate`: nothing in the text writes or locks; whether its functions and views do is for the catalogue to say.
 * COPY … TO STDOUT of such a thing is one, too.
 * `session`: SET, RESET, DISCARD, LISTEN, UNLISTEN, PREPARE, DEALLOCATE, LOAD.
 * `utility`: every other command, all DDL among them.
 */
export type StatementKind =
  'read-candidate' | 'write' | 'transaction-control' | 'session' | 'copy' | 'utility' | 'unknown';

/** What the syntax of one statement shows. */
export interface StatementShape {
  readonly kind: StatementKind;
  /** Definitions and everything else that may run triggers and code of the catalogue. */
  readonly ddl: boolean;
  /** Why nothing can be known of the code that the statement runs; null if it runs only what it names. */
  readonly opaque: string | null;
  /** FOR UPDATE, FOR NO KEY UPDATE, FOR SHARE, FOR KEY SHARE, anywhere in it. */
  readonly lockingClause: boolean;
  readonly skipLockedOrNowait: boolean;
  /** INSERT, UPDATE, DELETE or MERGE within WITH. */
  readonly dataModifyingCte: boolean;
  readonly selectInto: boolean;
  readonly explain: 'none' | 'plain' | 'analyze';
  /** Its result depends on the moment, so that a replay must keep its place among other sessions' statements. */
  readonly orderSensitive: boolean;
  /** It shows an effect outside of this database. That it shows none proves nothing. */
  readonly outsideEffects: boolean;
}

const MODIFYING = new Set(['InsertStmt', 'UpdateStmt', 'DeleteStmt', 'MergeStmt']);
const SESSION = new Set([
  'VariableSetStmt',
  'DiscardStmt',
  'ListenStmt',
  'UnlistenStmt',
  'PrepareStmt',
  'DeallocateStmt',
  'LoadStmt',
]);
/** Commands that define nothing and run no code but what they name. */
const PLAIN_UTILITY = new Set([
  'DeclareCursorStmt',
  'FetchStmt',
  'ClosePortalStmt',
  'LockStmt',
  'NotifyStmt',
  'ConstraintsSetStmt',
  'CheckPointStmt',
]);
const OPAQUE: ReadonlyMap<string, string> = new Map([
  ['CallStmt', 'CALL runs a procedure'],
  ['DoStmt', 'DO runs a block of code'],
  ['ExecuteStmt', 'EXECUTE runs a statement prepared before'],
  ['VacuumStmt', 'VACUUM and ANALYZE run the functions of expression indexes'],
]);
const TRY_LOCK = /^pg_try_advisory_(?:xact_)?lock(?:_shared)?$/;
/** Releases a lock before its transaction ends, as ROLLBACK TO does. */
const UNLOCK = /^pg_advisory_unlock(?:_shared|_all)?$/;
/** Functions that are known to act elsewhere; user-made ones are found in the catalogue. */
const ACTS_OUTSIDE = /^(?:dblink(?:_\w+)?|lo_export|pg_file_(?:write|rename|unlink|sync))$/;
/** Commands that act on another server, or on files. */
const OUTSIDE_COMMANDS = new Set([
  'CreateSubscriptionStmt',
  'AlterSubscriptionStmt',
  'DropSubscriptionStmt',
  // What they make is not in the catalogue yet, or not any more, when somebody asks whether anything can act outside.
  'CreateExtensionStmt',
  'AlterExtensionStmt',
  'CreateFdwStmt',
  'CreateForeignServerStmt',
  'CreateForeignTableStmt',
  'ImportForeignSchemaStmt',
  'CreatePLangStmt',
]);
/** Commands that bring code of their own. */
const CARRIES_CODE = new Set(['DoStmt', 'CreateFunctionStmt']);
/** In code: a way out of the database, or SQL that is put together only when it runs. */
const WAY_OUT = /\bprogram\b|\bexecute\b|\bdblink|\blo_export\b|\bpg_file_|\bcopy\b/i;

export function shapeOf(statement: Node): StatementShape {
  const { tag, fields } = statement;
  const below = scan(statement);
  const explain = explainOf(statement);
  const ddl = isDefinition(tag);
  return {
    kind: kindOf(statement, explain, below),
    ddl,
    opaque:
      OPAQUE.get(tag) ?? (ddl ? `${tag} may run triggers and functions of the catalogue` : below.opaque),
    lockingClause: below.lockingClause,
    skipLockedOrNowait: below.skipLockedOrNowait || fields['nowait'] === true,
    dataModifyingCte: below.dataModifyingCte,
    selectInto: below.selectInto,
    explain,
    orderSensitive:
      ddl ||
      tag === 'TruncateStmt' ||
      below.orderSensitive ||
      fields['nowait'] === true ||
      isOrderSensitive(statement),
    outsideEffects:
      below.outsideEffects ||
      OUTSIDE_COMMANDS.has(tag) ||
      copiesOutside(statement) ||
      (CARRIES_CODE.has(tag) && mayActOutside(fields)),
  };
}

/** Looks at every string in the tree: names, options and the body. */
function mayActOutside(value: unknown): boolean {
  if (typeof value === 'string') return WAY_OUT.test(value);
  if (typeof value !== 'object' || value === null) return false;
  return Object.values(value).some(mayActOutside);
}

function kindOf({ tag, fields }: Node, explain: StatementShape['explain'], below: Below): StatementKind {
  if (tag === 'SelectStmt') {
    return below.dataModifyingCte || below.lockingClause || below.selectInto ? 'write' : 'read-candidate';
  }
  if (tag === 'VariableShowStmt') return 'read-candidate';
  if (tag === 'ExplainStmt') {
    const query = nodeOf(fields['query']);
    const inner = query === undefined ? 'unknown' : kindOf(query, 'none', below);
    if (explain === 'analyze') return inner === 'write' ? 'write' : 'utility';
    return inner === 'read-candidate' ? 'read-candidate' : 'utility';
  }
  if (MODIFYING.has(tag) || tag === 'TruncateStmt') return 'write';
  if (tag === 'TransactionStmt') return 'transaction-control';
  if (tag === 'CopyStmt') return isCopyOfRows(fields, below) ? 'read-candidate' : 'copy';
  return SESSION.has(tag) ? 'session' : 'utility';
}

/** COPY of a table or a query to the client. */
function isCopyOfRows(copy: Fields, below: Below): boolean {
  if (copy['is_from'] === true || copy['is_program'] === true || copy['filename'] !== undefined) return false;
  if (copy['relation'] !== undefined) return true;
  const query = nodeOf(copy['query']);
  return query !== undefined && kindOf(query, 'none', below) === 'read-candidate';
}

function isDefinition(tag: string): boolean {
  return !(
    tag === 'SelectStmt' ||
    tag === 'VariableShowStmt' ||
    tag === 'ExplainStmt' ||
    tag === 'TransactionStmt' ||
    tag === 'CopyStmt' ||
    tag === 'TruncateStmt' ||
    MODIFYING.has(tag) ||
    SESSION.has(tag) ||
    PLAIN_UTILITY.has(tag) ||
    OPAQUE.has(tag)
  );
}

/** The option ANALYZE counts even when it is switched off again: `EXPLAIN (ANALYZE false)` is rare. */
function explainOf({ tag, fields }: Node): StatementShape['explain'] {
  if (tag !== 'ExplainStmt') return 'none';
  const analyzes = listOf(fields['options']).some(
    (option) => textOf(fieldsOf(option, 'DefElem')?.['defname']) === 'analyze',
  );
  return analyzes ? 'analyze' : 'plain';
}

/** ROLLBACK TO gives locks back; DEFERRABLE waits for whoever writes at the moment. */
function isOrderSensitive({ tag, fields }: Node): boolean {
  if (tag === 'TransactionStmt' && fields['kind'] === 'TRANS_STMT_ROLLBACK_TO') return true;
  const options =
    tag === 'TransactionStmt' ? fields['options'] : tag === 'VariableSetStmt' ? fields['args'] : undefined;
  return listOf(options).some((option) => {
    const element = fieldsOf(option, 'DefElem');
    return element?.['defname'] === 'transaction_deferrable' && isOn(element['arg']);
  });
}

/** NOT DEFERRABLE is the integer 0, which the tree leaves out. */
function isOn(value: unknown): boolean {
  return fieldsOf(nodeOf(value)?.fields['ival'], 'Integer')?.['ival'] === 1;
}

/** COPY with a program, or into a file of the server. */
function copiesOutside({ tag, fields }: Node): boolean {
  if (tag !== 'CopyStmt') return false;
  return fields['is_program'] === true || (fields['is_from'] !== true && fields['filename'] !== undefined);
}

interface Below {
  readonly lockingClause: boolean;
  readonly skipLockedOrNowait: boolean;
  readonly dataModifyingCte: boolean;
  readonly selectInto: boolean;
  readonly orderSensitive: boolean;
  readonly outsideEffects: boolean;
  readonly opaque: string | null;
}

function scan({ tag, fields }: Node): Below {
  const below = {
    lockingClause: false,
    skipLockedOrNowait: false,
    dataModifyingCte: false,
    selectInto: false,
    orderSensitive: false,
    outsideEffects: false,
    opaque: null as string | null,
  };
  visitNodes({ [tag]: fields }, (node) => {
    if (node.tag === 'PrepareStmt') return 'skip';
    if (node.tag === 'CommonTableExpr' && MODIFYING.has(nodeOf(node.fields['ctequery'])?.tag ?? '')) {
      below.dataModifyingCte = true;
    }
    if (node.tag === 'LockingClause') {
      below.lockingClause = true;
      below.skipLockedOrNowait ||= waits(node.fields) !== 'LockWaitBlock';
    }
    if (node.tag === 'IntoClause' && tag !== 'CreateTableAsStmt') below.selectInto = true;
    if (node.tag === 'ExecuteStmt') below.opaque = OPAQUE.get('ExecuteStmt') ?? null;
    if (node.tag === 'FuncCall') {
      const name = namesOf(node.fields['funcname']).at(-1) ?? '';
      below.orderSensitive ||= TRY_LOCK.test(name) || UNLOCK.test(name);
      below.outsideEffects ||= ACTS_OUTSIDE.test(name);
    }
    return undefined;
  });
  return { ...below, orderSensitive: below.orderSensitive || below.skipLockedOrNowait };
}

function waits(fields: Fields): string {
  return textOf(fields['waitPolicy']) ?? 'LockWaitBlock';
}
