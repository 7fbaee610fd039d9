import { SqlError } from '../sql-runner.ts';
import type { SqlRunner } from '../sql-runner.ts';
import { CatalogueGraph, CatalogueTooLargeError } from './catalogue-graph.ts';
import type { NameLookup, WantedName } from './catalogue-graph.ts';
import type { CatalogueGuard } from './catalogue-guard.ts';
import { askGuard, guardProblems } from './catalogue-guard.ts';
import type { NameItem, ResolvedName } from './catalogue-names.ts';
import { itemKey, resolveNames } from './catalogue-names.ts';
import type { Problem } from './catalogue-problem.ts';
import { problem } from './catalogue-problem.ts';
import { LruMap } from '../../lru-map.ts';
import type { ReferencedNames } from './referenced-names.ts';
import { parseSearchPath } from './search-path.ts';

/** What the catalogue has against a statement. */
export interface Finding {
  readonly problems: readonly Problem[];
  /** When the oldest part of it was asked for, in milliseconds of the clock; -Infinity if it holds for no time at all. */
  readonly loadedAtMillis: number;
  /** Code that somebody made lies behind it. */
  readonly restsOnCode: boolean;
}

/** The names of one statement. */
export interface Question {
  readonly names: ReferencedNames;
  readonly items: readonly NameItem[];
}

const MAX_NAMES = 50_000;
/** Functions that call functions that call functions. */
const MAX_CALL_DEPTH = 10;
const INSUFFICIENT_PRIVILEGE = '42501';

/** What was learned of a database's catalogue, by name and by object, each believed for a while. */
export class CatalogueKnowledge {
  readonly #names = new LruMap<string, ResolvedName>(MAX_NAMES);
  readonly #graph: CatalogueGraph;
  readonly #timeToLiveMillis: number;
  readonly #now: () => number;
  #guard: CatalogueGuard | undefined;

  constructor(timeToLiveMillis: number, now: () => number) {
    this.#timeToLiveMillis = timeToLiveMillis;
    this.#now = now;
    this.#graph = new CatalogueGraph(timeToLiveMillis, now);
  }

  /** Answers all questions together, asking the server for what is not known. Rejects if the connection is gone. */
  async find(
    questions: readonly Question[],
    searchPath: string,
    runner: SqlRunner,
  ): Promise<readonly Finding[]> {
    try {
      if (parseSearchPath(searchPath) === undefined) {
        return this.#refuse(questions, 'the search_path is malformed', true);
      }
      return await this.#answer(questions, searchPath, runner);
    } catch (error) {
      if (error instanceof CatalogueTooLargeError) return this.#refuse(questions, error.message, true);
      if (!(error instanceof SqlError)) throw error;
      const isLasting = error.code === INSUFFICIENT_PRIVILEGE;
      return this.#refuse(questions, `the catalogue can't be read (${error.code})`, isLasting);
    }
  }

  #refuse(questions: readonly Question[], reason: string, isLasting: boolean): readonly Finding[] {
    const loadedAtMillis = isLasting ? this.#now() : -Infinity;
    return questions.map(() => ({
      problems: [problem(reason, 'unseen')],
      loadedAtMillis,
      restsOnCode: true,
    }));
  }

  async #answer(
    questions: readonly Question[],
    searchPath: string,
    runner: SqlRunner,
  ): Promise<readonly Finding[]> {
    if (this.#guard === undefined || !this.#isFresh(this.#guard.loadedAtMillis)) {
      this.#guard = await askGuard(runner, this.#now());
    }
    const guard = this.#guard;
    const names = new Map<string, ResolvedName>();
    const lookup: NameLookup = (wanted) => names.get(nameKey(wanted));
    const all = questions.flatMap(({ items }) => items);
    let wanted: readonly WantedName[] = all.map((item) => ({ searchPath, item }));
    for (let depth = 0; wanted.length > 0 && depth < MAX_CALL_DEPTH; depth += 1) {
      await this.#resolve(wanted, names, runner);
      await this.#graph.load([...guard.roots, ...[...names.values()].flatMap(({ roots }) => roots)], runner);
      const direct = all.flatMap((item) => lookup({ searchPath, item })?.roots ?? []);
      wanted = this.#graph.closure([...guard.roots, ...direct], searchPath, lookup).missing;
    }
    return questions.map((question) => this.#finding(question, searchPath, guard, lookup));
  }

  /** Puts the names into `into`, those that are still fresh from memory, the others from the server. */
  async #resolve(
    wanted: readonly WantedName[],
    into: Map<string, ResolvedName>,
    runner: SqlRunner,
  ): Promise<void> {
    const unknown = new Map<string, Map<string, NameItem>>();
    for (const name of wanted) {
      const key = nameKey(name);
      const known = this.#names.get(key);
      if (known !== undefined && this.#isFresh(known.loadedAtMillis)) {
        into.set(key, known);
        continue;
      }
      const items = unknown.get(name.searchPath) ?? new Map<string, NameItem>();
      unknown.set(name.searchPath, items.set(itemKey(name.item), name.item));
    }
    for (const [searchPath, items] of unknown) {
      const path = parseSearchPath(searchPath) ?? { schemas: [], includesUser: false };
      const resolved = await resolveNames([...items.values()], path, runner, this.#now());
      for (const [item, name] of resolved) {
        into.set(`${searchPath}\n${item}`, name);
        this.#names.set(`${searchPath}\n${item}`, name);
      }
    }
  }

  #finding(
    { names, items }: Question,
    searchPath: string,
    guard: CatalogueGuard,
    lookup: NameLookup,
  ): Finding {
    const resolved = items.flatMap((item) => lookup({ searchPath, item }) ?? []);
    const roots = [...guard.roots, ...resolved.flatMap((name) => name.roots)];
    const behind = this.#graph.closure(roots, searchPath, lookup);
    const isWhole = behind.missing.length === 0;
    return {
      problems: [
        ...guardProblems(guard, names),
        ...resolved.flatMap(({ problems }) => problems),
        ...behind.problems,
        ...(isWhole ? [] : [problem('functions call each other too deeply', 'unseen')]),
      ],
      restsOnCode: behind.restsOnCode,
      loadedAtMillis: Math.min(
        guard.loadedAtMillis,
        behind.loadedAtMillis,
        ...resolved.map(({ loadedAtMillis }) => loadedAtMillis),
      ),
    };
  }

  #isFresh(loadedAtMillis: number): boolean {
    return this.#now() - loadedAtMillis < this.#timeToLiveMillis;
  }
}

function nameKey({ searchPath, item }: WantedName): string {
  return `${searchPath}\n${itemKey(item)}`;
}
