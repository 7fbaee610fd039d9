import type { SqlRunner } from '../sql-runner.ts';
import type { NodeKey } from './catalogue-node.ts';
import type { Problem } from './catalogue-problem.ts';
import { problem } from './catalogue-problem.ts';
import { GUARD } from './catalogue-queries.ts';
import type { ReferencedNames } from './referenced-names.ts';

/** What holds for all statements of a database. */
export interface CatalogueGuard {
  /** Casts, operators and sorting functions that somebody has put between built-in types. */
  readonly roots: readonly NodeKey[];
  readonly problems: readonly Problem[];
  /** In another encoding the server folds unquoted letters to lower case that the parser here leaves as they are. */
  readonly isUtf8: boolean;
  readonly loadedAtMillis: number;
}

/** Server versions whose node trees and functions are known, as `server_version_num`. */
const FIRST_VERSION = 140_000;
const END_OF_VERSIONS = 190_000;

export async function askGuard(runner: SqlRunner, nowMillis: number): Promise<CatalogueGuard> {
  const roots: NodeKey[] = [];
  const problems: Problem[] = [];
  let isUtf8 = false;
  let hasKnownTrees = false;
  for (const [what, value] of await runner.run(GUARD)) {
    switch (what) {
      case 'version': {
        const version = Number(value);
        if (version >= FIRST_VERSION && version < END_OF_VERSIONS) break;
        problems.push(problem(`functions of server version ${version} are not known`, 'unseen'));
        break;
      }
      case 'encoding':
        isUtf8 = value === 'UTF8';
        break;
      case 'trees':
        hasKnownTrees = value === '1';
        break;
      case 'support':
      case 'operator':
        roots.push(`${what}:${value ?? ''}`);
        break;
      default:
    }
  }
  if (!hasKnownTrees) problems.push(problem('the form of stored expressions is not known', 'unseen'));
  return { roots, problems, isUtf8, loadedAtMillis: nowMillis };
}

/** What the guard has against these names. */
export function guardProblems(guard: CatalogueGuard, names: ReferencedNames): readonly Problem[] {
  if (guard.isUtf8) return guard.problems;
  const all = [names.read, names.written, names.functions, names.types].flat();
  const isForeign = all.some(({ schema, name }) => !isAscii(name) || !isAscii(schema ?? ''));
  if (!isForeign && names.attributes.every((name) => isAscii(name))) return guard.problems;
  return [...guard.problems, problem('a name beyond ASCII in a database that is not UTF8')];
}

function isAscii(name: string): boolean {
  return /^[\x00-\x7f]*$/.test(name);
}
