import type { NameItem } from './catalogue-names.ts';
import { nameItemsOf } from './catalogue-names.ts';
import type { Problem } from './catalogue-problem.ts';
import { onlyUnproved, problem, unseenFunction } from './catalogue-problem.ts';
import { parse } from './parser.ts';
import { plpgsqlBody } from './plpgsql-body.ts';
import { parseSearchPath } from './search-path.ts';
import type { SessionEffect } from './session-effect.ts';
import { changesNames, setEffects } from './session-effect.ts';
import type { StatementFacts } from './statement-facts.ts';
import { statementFacts } from './statement-facts.ts';
import type { Fields } from './syntax-tree.ts';
import { fieldsOf, listOf, namesOf, textOf } from './syntax-tree.ts';

/** What a user's function does, as far as it was looked into. */
export interface FunctionBody {
  /** What its statements name, to be looked up along its path. */
  readonly items: readonly NameItem[];
  readonly problems: readonly Problem[];
  /** The search_path that it sets for itself; null if it uses its caller's. */
  readonly searchPath: string | null;
}

/**
 * Looks into a function written in SQL or PL/pgSQL. Most are harmless, and triggers that only set a column are in half of
 * all databases: if they counted as unseen code, every write there would leave its session unchecked.
 *
 * `definition` is what pg_get_functiondef says, `name` the function's, for the reasons. What is not understood hides
 * anything.
 */
export function functionBody(definition: string, name: string): FunctionBody {
  const unseen: FunctionBody = { items: [], problems: [unseenFunction(name)], searchPath: null };
  const outcome = parse(definition);
  if (outcome.kind !== 'parsed' || outcome.statements.length !== 1) return unseen;
  const [statement] = outcome.statements;
  const options = optionsOf(fieldsOf(statement, 'CreateFunctionStmt'));
  const searchPath = searchPathOf(options);
  const source = namesOf(fieldsOf(options.get('as')?.[0], 'List')?.['items']).at(0);
  if (source === undefined || searchPath === undefined) return unseen;
  const language = textOf(fieldsOf(options.get('language')?.[0], 'String')?.['sval']);
  const found = language === 'sql' ? { statements: [source], types: [] } : plpgsqlBody(definition, source);
  if (found === undefined) return unseen;
  const facts = [...found.statements, ...found.types.map((type) => typeProbe(type))].map((text) =>
    statementFacts(text),
  );
  return {
    items: facts.flatMap(({ names }) => nameItemsOf(names)),
    problems: facts.flatMap((fact) => problemsOf(fact, name)),
    searchPath,
  };
}

/** The options of CREATE FUNCTION by name; SET may be given several times. */
function optionsOf(fields: Fields | undefined): ReadonlyMap<string, readonly unknown[]> {
  const options = new Map<string, readonly unknown[]>();
  for (const option of listOf(fields?.['options'])) {
    const element = fieldsOf(option, 'DefElem');
    const name = textOf(element?.['defname']) ?? '';
    options.set(name, [...(options.get(name) ?? []), element?.['arg']]);
  }
  return options;
}

/** Undefined if the function has settings under which nothing can be said of its text. */
function searchPathOf(options: ReadonlyMap<string, readonly unknown[]>): string | null | undefined {
  let searchPath: string | null = null;
  for (const setting of options.get('set') ?? []) {
    for (const effect of setEffects(fieldsOf(setting, 'VariableSetStmt') ?? {})) {
      if (effect.kind !== 'set') continue;
      if (effect.name === 'standard_conforming_strings') return undefined;
      if (effect.name !== 'search_path') continue;
      if (effect.value === null || parseSearchPath(effect.value) === undefined) return undefined;
      searchPath = effect.value;
    }
  }
  return searchPath;
}

/** A statement that names the type of a variable: assigning to it runs what its casts and domains run. */
function typeProbe(type: string): string {
  const like = /^([\s\S]*?)\s*%\s*(rowtype|type)\s*$/i.exec(type);
  if (like === null) return `SELECT NULL::${type}`;
  const [, whole = '', what = ''] = like;
  // `variable%TYPE` has no dot, and needs nothing: its own declaration is among the types.
  const relation = what.toLowerCase() === 'rowtype' ? whole : whole.split('.').slice(0, -1).join('.');
  return relation === '' ? 'SELECT' : `SELECT FROM ${relation}`;
}

function problemsOf(facts: StatementFacts, name: string): readonly Problem[] {
  const isUnseen =
    facts.notUnderstood !== null ||
    facts.opaque !== null ||
    facts.names.unknownSyntax.length > 0 ||
    facts.kinds.includes('transaction-control');
  if (isUnseen) return [unseenFunction(name)];
  const problems: Problem[] = [];
  if (facts.effects.some(changesNames)) {
    // The rest of its body, and what follows in the transaction, was looked up under other names.
    problems.push(problem(`the function ${name} changes what names mean`, 'unseen'));
  } else if (facts.effects.some((effect) => !endsWithTransaction(effect))) {
    problems.push(problem(`the function ${name} changes the session`));
  }
  if (facts.outsideEffects)
    problems.push(problem(`the function ${name} acts outside of the database`, 'yes'));
  if (facts.kinds.some((kind) => kind !== 'read-candidate')) {
    problems.push(onlyUnproved(`the function ${name} writes`));
  }
  if (facts.orderSensitive) {
    problems.push({ ...onlyUnproved(`the function ${name} depends on the moment`), orderSensitive: true });
  }
  return problems;
}

/** What is local needs no restoring: it is gone with the transaction, and a replay of the call makes it again. */
function endsWithTransaction(effect: SessionEffect): boolean {
  switch (effect.kind) {
    case 'set':
    case 'set-role':
    case 'set-session-authorization':
      return effect.local;
    case 'set-config':
      return effect.local === true;
    case 'advisory-lock':
      return !effect.session;
    case 'reset':
    case 'set-transaction':
    case 'discard':
    case 'listen':
    case 'unlisten':
    case 'prepare':
    case 'deallocate':
    case 'temp-table':
    case 'advisory-unlock':
    case 'hold-cursor':
    case 'close-cursor':
    case 'load':
    case 'setseed':
      return false;
  }
}
