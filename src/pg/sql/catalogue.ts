import { SqlError } from '../sql-runner.ts';
import type { SqlRunner } from '../sql-runner.ts';
import { CatalogueGraph, CatalogueTooLargeError } from './catalogue-graph.ts';
import type { CatalogueGuard } from './catalogue-guard.ts';
import { askGuard, guardProblems } from './catalogue-guard.ts';
import type { NameItem, ResolvedName } from './catalogue-names.ts';
import { itemKey, nameItemsOf, resolveNames } from './catalogue-names.ts';
import type { Problem } from './catalogue-problem.ts';
import { problem } from './catalogue-problem.ts';
import type { DatabaseTraits } from './database-traits.ts';
import { LruMap } from './lru-map.ts';
import { parserReady } from './parser.ts';
import { parseSearchPath } from './search-path.ts';
import type { StatementFacts } from './statement-facts.ts';
import { statementFacts } from './statement-facts.ts';
import type { StatementVerdict } from './statement-verdict.ts';
import { statementVerdict } from './statement-verdict.ts';

export interface CatalogueOptions {
  /** Texts whose facts and verdicts are kept, the most recently used ones. Default 5,000. */
  readonly maxTexts?: number;
  /**
   * How long what was learned from the catalogue is believed, in milliseconds. Default 60,000. Somebody may meanwhile
   * make a view or a trigger that a verdict does not know of; `invalidate` ends that at once.
   */
  readonly timeToLiveMillis?: number;
  /** A monotonic clock, in milliseconds. Default `performance.now`. */
  readonly now?: () => number;
}

/** The part of a session's state that verdicts depend on. */
export interface CatalogueSession {
  /** The setting `search_path` as SHOW gives it. */
  readonly searchPath: string;
  /** The setting `standard_conforming_strings`. Default true. */
  readonly standardConformingStrings?: boolean;
  /** True if the session may have temporary objects. They come before everything else and are no other session's. */
  readonly temporaryObjects: boolean;
}

interface KnownText {
  readonly facts: StatementFacts;
  readonly items: readonly NameItem[];
  /** Of a text that names nothing. */
  readonly unconditional: StatementVerdict | undefined;
  /** By search_path. */
  readonly verdicts: LruMap<string, KnownVerdict>;
}

interface KnownVerdict {
  readonly verdict: StatementVerdict;
  readonly expiresAtMillis: number;
}

interface Environment {
  readonly guard: CatalogueGuard;
  readonly names: ReadonlyMap<string, ResolvedName>;
}

/** Why the catalogue gave no answer. */
interface Refusal {
  readonly reason: string;
  /** False if asking again may help. */
  readonly isLasting: boolean;
}

/** Of all texts that are kept, in characters: an application that writes values into its statements has many long ones. */
const MAX_KEPT_CHARACTERS = 8_388_608;
const INSUFFICIENT_PRIVILEGE = '42501';
const MAX_PATHS_A_TEXT = 64;
const MAX_NAMES = 50_000;

/**
 * Verdicts on statements, for all sessions of one database. They do not depend on the role.
 *
 * The memo is by text and search_path. Its facts are as old as `timeToLiveMillis` allows.
 */
export class CatalogueCache {
  readonly #texts: LruMap<string, KnownText>;
  readonly #names = new LruMap<string, ResolvedName>(MAX_NAMES);
  readonly #graph: CatalogueGraph;
  readonly #timeToLiveMillis: number;
  readonly #now: () => number;
  #guard: CatalogueGuard | undefined;
  #traits: DatabaseTraits | undefined;

  constructor(options: CatalogueOptions = {}) {
    this.#timeToLiveMillis = options.timeToLiveMillis ?? 60_000;
    this.#now = options.now ?? (() => performance.now());
    this.#texts = new LruMap(options.maxTexts ?? 5_000, MAX_KEPT_CHARACTERS);
    this.#graph = new CatalogueGraph(this.#timeToLiveMillis, this.#now);
  }

  /** Until it is called, whatever runs unseen code counts as acting outside of the database. */
  useTraits(traits: DatabaseTraits): void {
    this.#traits = traits;
    this.#texts.clear();
  }

  /** Forgets what was learned from the catalogue: call it when DDL was seen. */
  invalidate(): void {
    this.#guard = undefined;
    this.#names.clear();
    this.#graph.clear();
    this.#texts.clear();
  }

  /** The facts of a text, remembered. */
  factsOf(text: string, standardConformingStrings = true): StatementFacts {
    return this.#known(text, standardConformingStrings).facts;
  }

  /** The verdict on a text if it is known, else undefined: then `resolve` it, and take it for unproved meanwhile. */
  peek(text: string, session: CatalogueSession): StatementVerdict | undefined {
    const { facts, items, unconditional, verdicts } = this.#known(
      text,
      session.standardConformingStrings ?? true,
    );
    if (unconditional !== undefined) return unconditional;
    const inTheWay = sessionProblem(items, session);
    if (inTheWay !== undefined) return this.#verdict(facts, [inTheWay]);
    const known = verdicts.get(session.searchPath);
    return known !== undefined && this.#now() < known.expiresAtMillis ? known.verdict : undefined;
  }

  /**
   * The verdicts on `texts`, asking the catalogue for what is not known of any of them: one round trip where there are
   * only plain tables, one or more a step for what lies behind views, partitions, policies and the like.
   *
   * Send it outside of transactions: the server may refuse a query, and it sees the catalogue of the transaction. A
   * refusal gives unproved verdicts. Rejects if the connection is gone.
   */
  async resolve(
    texts: readonly string[],
    session: CatalogueSession,
    runner: SqlRunner,
  ): Promise<readonly StatementVerdict[]> {
    const unknown = texts.filter((text) => this.peek(text, session) === undefined);
    const learned = new Map<string, KnownVerdict>();
    if (unknown.length > 0) await this.#learn(unknown, session, runner, learned);
    return texts.map((text) => {
      const verdict = learned.get(text)?.verdict ?? this.peek(text, session);
      // It expired while the others were asked for.
      return (
        verdict ?? this.#verdict(this.factsOf(text), [problem('the catalogue changed while it was read')])
      );
    });
  }

  async #learn(
    texts: readonly string[],
    session: CatalogueSession,
    runner: SqlRunner,
    into: Map<string, KnownVerdict>,
  ): Promise<void> {
    const known = texts.map((text) => this.#known(text, session.standardConformingStrings ?? true));
    let environment: Environment | Refusal;
    try {
      environment = await this.#ask(known, session.searchPath, runner);
    } catch (error) {
      environment = refusalOf(error);
    }
    known.forEach((text, index) => {
      const verdict = this.#judge(text, environment);
      into.set(texts[index] ?? '', verdict);
      text.verdicts.set(session.searchPath, verdict);
    });
  }

  async #ask(
    known: readonly KnownText[],
    searchPath: string,
    runner: SqlRunner,
  ): Promise<Environment | Refusal> {
    const path = parseSearchPath(searchPath);
    if (path === undefined) return { reason: 'the search_path is malformed', isLasting: true };
    if (this.#guard === undefined || !this.#isFresh(this.#guard.loadedAtMillis)) {
      this.#guard = await askGuard(runner, this.#now());
    }
    const guard = this.#guard;
    const names = new Map<string, ResolvedName>();
    const missing = new Map<string, NameItem>();
    for (const item of known.flatMap(({ items }) => items)) {
      const key = itemKey(item);
      const name = this.#names.get(nameKey(searchPath, key));
      if (name !== undefined && this.#isFresh(name.loadedAtMillis)) names.set(key, name);
      else missing.set(key, item);
    }
    if (missing.size > 0) {
      for (const [key, name] of await resolveNames([...missing.values()], path, runner, this.#now())) {
        names.set(key, name);
        this.#names.set(nameKey(searchPath, key), name);
      }
    }
    await this.#graph.load([...guard.roots, ...[...names.values()].flatMap(({ roots }) => roots)], runner);
    return { guard, names };
  }

  #judge({ facts, items }: KnownText, environment: Environment | Refusal): KnownVerdict {
    if (!('guard' in environment)) {
      const { reason, isLasting } = environment;
      return {
        verdict: this.#verdict(facts, [problem(reason, 'unseen')]),
        expiresAtMillis: this.#now() + (isLasting ? this.#timeToLiveMillis : 0),
      };
    }
    const { guard, names } = environment;
    const resolved = items.flatMap((item) => names.get(itemKey(item)) ?? []);
    const behind = this.#graph.closure([...guard.roots, ...resolved.flatMap(({ roots }) => roots)]);
    const problems = [
      ...guardProblems(guard, facts.names),
      ...resolved.flatMap((name) => name.problems),
      ...behind.problems,
    ];
    const oldest = Math.min(
      guard.loadedAtMillis,
      behind.loadedAtMillis,
      ...resolved.map(({ loadedAtMillis }) => loadedAtMillis),
    );
    return { verdict: this.#verdict(facts, problems), expiresAtMillis: oldest + this.#timeToLiveMillis };
  }

  #known(text: string, standardConformingStrings: boolean): KnownText {
    const found = standardConformingStrings ? this.#texts.get(text) : undefined;
    if (found !== undefined) return found;
    const facts = statementFacts(text, { standardConformingStrings });
    const items = nameItemsOf(facts.names);
    const made: KnownText = {
      facts,
      items,
      unconditional: items.length === 0 ? this.#verdict(facts, []) : undefined,
      verdicts: new LruMap(MAX_PATHS_A_TEXT),
    };
    // What was not understood may be so once the parser is loaded.
    if (standardConformingStrings && parserReady()) this.#texts.set(text, made, text.length);
    return made;
  }

  #isFresh(loadedAtMillis: number): boolean {
    return this.#now() - loadedAtMillis < this.#timeToLiveMillis;
  }

  #verdict(facts: StatementFacts, problems: readonly Problem[]): StatementVerdict {
    return statementVerdict(facts, problems, this.#traits?.reachesOutside ?? true);
  }
}

function refusalOf(error: unknown): Refusal {
  if (error instanceof CatalogueTooLargeError) return { reason: error.message, isLasting: true };
  if (!(error instanceof SqlError)) throw error;
  return {
    reason: `the catalogue can't be read (${error.code})`,
    isLasting: error.code === INSUFFICIENT_PRIVILEGE,
  };
}

function nameKey(searchPath: string, item: string): string {
  return `${searchPath}\n${item}`;
}

/** Why nothing that the cache knows holds for this session. */
function sessionProblem(items: readonly NameItem[], session: CatalogueSession): Problem | undefined {
  if (!session.temporaryObjects) return undefined;
  // Functions and operators are never looked for among temporary objects.
  const isFoundInTemporary = items.some(
    ({ use, schema }) => schema === null && use !== 'function' && use !== 'operator' && use !== 'attribute',
  );
  return isFoundInTemporary ? problem('the session has temporary objects', 'unseen') : undefined;
}
