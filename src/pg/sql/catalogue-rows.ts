import type { SqlRow } from '../sql-runner.ts';
import type { NodeClass, NodeKey } from './catalogue-node.ts';
import { classOf, isMade } from './catalogue-node.ts';
import type { Problem } from './catalogue-problem.ts';
import {
  builtInProblem,
  onlyUnproved,
  problem,
  readProblem,
  unseenFunction,
  writeProblem,
} from './catalogue-problem.ts';
import { FUNCTIONS, OPERATORS, RELATIONS, TYPES, WRITES } from './catalogue-queries.ts';
import type { FunctionBody } from './function-body.ts';
import { functionBody } from './function-body.ts';
import { isHarmlessCall, isHarmlessSupport } from './known-functions.ts';

/** What is becoming known of one object. */
export interface NodeDraft {
  readonly problems: Problem[];
  readonly edges: Set<NodeKey>;
  /** Of a function that can be looked into. */
  body: FunctionBody | undefined;
  /** A view, whose query somebody may make anew. */
  isView: boolean;
  /** False as long as no row has come that must come if the object exists. */
  isFound: boolean;
}

/** A query for objects of some classes; $1 is the array of their identifiers. */
export interface NodeQuery {
  readonly classes: readonly NodeClass[];
  readonly sql: string;
  /** The object that a row speaks of. */
  readonly oid: (row: SqlRow) => string;
  readonly read: (draft: NodeDraft, key: NodeKey, row: SqlRow) => void;
}

const first = (row: SqlRow): string => text(row, 0);
const second = (row: SqlRow): string => text(row, 1);

export const NODE_QUERIES: readonly NodeQuery[] = [
  { classes: ['read'], sql: RELATIONS, oid: second, read: readRelationRow },
  { classes: ['insert', 'modify'], sql: WRITES, oid: second, read: readWriteRow },
  { classes: ['type'], sql: TYPES, oid: second, read: readTypeRow },
  { classes: ['operator'], sql: OPERATORS, oid: first, read: readOperatorRow },
  { classes: ['call', 'support'], sql: FUNCTIONS, oid: first, read: readFunctionRow },
];

function text(row: SqlRow, index: number): string {
  return row[index] ?? '';
}

function addEdge({ edges }: NodeDraft, nodeClass: NodeClass, oid: string): void {
  if (oid === '' || oid === '0') return;
  // What initdb made is harmless unless it is a relation or a function called by name.
  if ((nodeClass === 'support' || nodeClass === 'operator' || nodeClass === 'type') && !isMade(oid)) return;
  edges.add(`${nodeClass}:${oid}`);
}

function add(draft: NodeDraft, found: Problem | undefined): void {
  if (found !== undefined) draft.problems.push(found);
}

function readRelationRow(draft: NodeDraft, _key: NodeKey, row: SqlRow): void {
  switch (row[0]) {
    case 'relation':
      draft.isFound = true;
      draft.isView = text(row, 2) === 'v' && isMade(text(row, 1));
      add(draft, readProblem(text(row, 3), text(row, 2)));
      break;
    case 'locks':
      draft.problems.push(onlyUnproved('reads a view that locks rows'));
      break;
    case 'child':
      addEdge(draft, 'read', text(row, 2));
      break;
    case 'type':
      addEdge(draft, 'type', text(row, 2));
      break;
    default:
      readField(draft, text(row, 2));
  }
}

function readWriteRow(draft: NodeDraft, key: NodeKey, row: SqlRow): void {
  const other = text(row, 2);
  const alike = classOf(key);
  switch (row[0]) {
    case 'relation':
      draft.isFound = true;
      add(draft, writeProblem(text(row, 3), other));
      break;
    case 'rule':
      draft.problems.push(problem('writes a relation that has rules', 'unseen'));
      break;
    case 'base':
    case 'child':
      addEdge(draft, alike, other);
      addEdge(draft, 'read', other);
      break;
    case 'cascade':
      if (alike !== 'modify') break;
      addEdge(draft, 'modify', other);
      addEdge(draft, 'read', other);
      break;
    case 'referenced':
      addEdge(draft, 'read', other);
      break;
    case 'operator':
      addEdge(draft, 'operator', other);
      break;
    case 'trigger':
      addEdge(draft, 'call', other);
      break;
    default:
      readField(draft, other);
  }
}

function readTypeRow(draft: NodeDraft, _key: NodeKey, row: SqlRow): void {
  const what = row[0];
  if (what === 'support' || what === 'type' || what === 'operator') addEdge(draft, what, text(row, 2));
  else readField(draft, text(row, 2));
}

function readOperatorRow(draft: NodeDraft, _key: NodeKey, [, code, commutator, negator]: SqlRow): void {
  draft.isFound = true;
  addEdge(draft, 'support', code ?? '');
  addEdge(draft, 'operator', commutator ?? '');
  addEdge(draft, 'operator', negator ?? '');
}

function readFunctionRow(draft: NodeDraft, key: NodeKey, row: SqlRow): void {
  const [oid = '', schema, functionName, volatility, kind, language, extension, ownerIsSuperuser] = row;
  const [types, parts, isConstructor, definition, fields] = row.slice(8);
  draft.isFound = true;
  const use = classOf(key) === 'support' ? 'support' : 'call';
  if (!isMade(oid ?? '')) {
    add(draft, builtInProblem(functionName ?? '', volatility ?? '', false));
    return;
  }
  for (const type of types?.split(' ') ?? []) addEdge(draft, 'type', type);
  if (kind === 'a') {
    // An aggregate is as good as the functions it consists of.
    for (const part of parts?.split(' ') ?? []) addEdge(draft, use, part);
    return;
  }
  const name = `${schema ?? ''}.${functionName ?? ''}`;
  const stored = fields?.split(',') ?? [];
  for (const field of stored) readField(draft, field);
  const made = {
    volatility: volatility ?? '',
    language: language ?? '',
    extension: extension ?? null,
    ownerIsSuperuser: ownerIsSuperuser === 'true',
  };
  const isHarmless = use === 'call' ? isHarmlessCall(made) : isHarmlessSupport(made);
  if (isConstructor === 'true' || isHarmless) return;
  if (definition !== null && definition !== undefined) draft.body = functionBody(definition, name);
  else if (language !== 'sql' || !isOnlyReading(stored)) draft.problems.push(unseenFunction(name));
}

/** Of a body stored as node trees (BEGIN ATOMIC, RETURN): a SELECT is command 1. No command at all is no such body. */
function isOnlyReading(fields: readonly string[]): boolean {
  const commands = fields.filter((field) => field.startsWith('commandType '));
  const locks = fields.some((field) => field.startsWith('hasForUpdate true'));
  return commands.length > 0 && commands.every((field) => /^commandType 1\b/.test(field)) && !locks;
}

const FIELD = /^(\w+) (?:\(o ([\d ]+)\)|(\d+))/;
const CALLS = new Set(['funcid', 'aggfnoid', 'winfnoid', 'tsmhandler']);
const OPERATES = new Set(['opno', 'opnos', 'eqop', 'sortop']);
const SUPPORTS = new Set(['opfuncid', 'hashfuncid', 'negfuncid', 'startInRangeFunc', 'endInRangeFunc']);

/** One field of a stored expression. */
function readField(draft: NodeDraft, field: string): void {
  const match = FIELD.exec(field);
  if (match === null) return;
  const name = match[1] ?? '';
  const nodeClass = fieldClass(name);
  for (const oid of (match[2] ?? match[3] ?? '').trim().split(' ')) addEdge(draft, nodeClass, oid);
}

function fieldClass(name: string): NodeClass {
  if (name === 'relid') return 'read';
  if (CALLS.has(name)) return 'call';
  if (OPERATES.has(name)) return 'operator';
  return SUPPORTS.has(name) ? 'support' : 'type';
}
