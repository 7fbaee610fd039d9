import type { SqlRunner } from '../sql-runner.ts';
import type { NameItem, ResolvedName } from './catalogue-names.ts';
import type { NodeKey } from './catalogue-node.ts';
import { classOf, isMade, oidOf } from './catalogue-node.ts';
import type { Problem } from './catalogue-problem.ts';
import { problem } from './catalogue-problem.ts';
import type { NodeDraft } from './catalogue-rows.ts';
import { NODE_QUERIES } from './catalogue-rows.ts';
import type { FunctionBody } from './function-body.ts';

interface GraphNode {
  readonly problems: readonly Problem[];
  readonly edges: readonly NodeKey[];
  readonly body: FunctionBody | undefined;
  /** A function or a view that somebody made, and may make anew at any moment. */
  readonly isMadeCode: boolean;
  /** When it was asked for, in milliseconds of the cache's clock; Infinity for what initdb made. */
  readonly loadedAtMillis: number;
}

/** A name as it is looked up along a search_path. */
export interface WantedName {
  readonly searchPath: string;
  readonly item: NameItem;
}

/** Finds names again that were resolved before. */
export type NameLookup = (wanted: WantedName) => ResolvedName | undefined;

export interface Closure {
  readonly problems: readonly Problem[];
  /** When the oldest part of it was asked for. */
  readonly loadedAtMillis: number;
  /** Names in the bodies of functions that have to be resolved before the closure is whole. */
  readonly missing: readonly WantedName[];
  /** Code that somebody made, and may make anew at any time. */
  readonly restsOnCode: boolean;
}

/** Some hundred relations, as behind a large partitioned table, are a single round. */
const MAX_ROUNDS = 24;
const MAX_LOADED_NODES = 20_000;
/** All of it is forgotten then; a large catalogue has some ten thousand objects that statements touch. */
const MAX_KEPT_NODES = 100_000;

/** What there is behind the objects that statements name, remembered by object identifier. */
export class CatalogueGraph {
  readonly #nodes = new Map<NodeKey, GraphNode>();
  readonly #timeToLiveMillis: number;
  readonly #now: () => number;

  constructor(timeToLiveMillis: number, now: () => number) {
    this.#timeToLiveMillis = timeToLiveMillis;
    this.#now = now;
  }

  /** Asks for all that is reachable from `roots` and not known, or too old: one round of queries for each step of distance. */
  async load(roots: readonly NodeKey[], runner: SqlRunner): Promise<void> {
    if (this.#nodes.size > MAX_KEPT_NODES) this.#nodes.clear();
    const seen = new Set<NodeKey>(roots);
    let step: readonly NodeKey[] = [...seen];
    for (let round = 0; step.length > 0; round += 1) {
      if (round >= MAX_ROUNDS || seen.size > MAX_LOADED_NODES) throw new CatalogueTooLargeError();
      await this.#ask(
        step.filter((key) => !this.#isFresh(key)),
        runner,
      );
      const next: NodeKey[] = [];
      for (const key of step) {
        for (const edge of this.#nodes.get(key)?.edges ?? []) {
          if (seen.has(edge)) continue;
          seen.add(edge);
          next.push(edge);
        }
      }
      step = next;
    }
  }

  /**
   * Everything reachable from `roots`, after `load`. Where a function can be looked into, what its body names is part of
   * it, along the search_path that the function has or inherits.
   */
  closure(roots: readonly NodeKey[], searchPath: string, names: NameLookup): Closure {
    const seen = new Set<string>();
    const pending: { readonly key: NodeKey; readonly path: string }[] = [];
    const visit = (key: NodeKey, path: string): void => {
      const place = `${key} ${path}`;
      if (!seen.has(place)) pending.push({ key, path });
      seen.add(place);
    };
    for (const root of roots) visit(root, searchPath);
    const problems: Problem[] = [];
    const missing: WantedName[] = [];
    let restsOnCode = false;
    let loadedAtMillis = Infinity;
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      const { key, path } = next;
      const node = this.#nodes.get(key);
      if (node === undefined) {
        problems.push(problem('the catalogue changed while it was read', 'unseen'));
        loadedAtMillis = -Infinity;
        continue;
      }
      restsOnCode ||= node.isMadeCode;
      problems.push(...node.problems, ...(node.body?.problems ?? []));
      loadedAtMillis = Math.min(loadedAtMillis, node.loadedAtMillis);
      for (const edge of node.edges) visit(edge, path);
      const bodyPath = node.body?.searchPath ?? path;
      for (const item of node.body?.items ?? []) {
        const wanted = { searchPath: bodyPath, item };
        const resolved = names(wanted);
        if (resolved === undefined) {
          missing.push(wanted);
          continue;
        }
        problems.push(...resolved.problems);
        loadedAtMillis = Math.min(loadedAtMillis, resolved.loadedAtMillis);
        for (const root of resolved.roots) visit(root, bodyPath);
      }
    }
    return { problems, loadedAtMillis, missing, restsOnCode };
  }

  #isFresh(key: NodeKey): boolean {
    const node = this.#nodes.get(key);
    return node !== undefined && this.#now() - node.loadedAtMillis < this.#timeToLiveMillis;
  }

  async #ask(keys: readonly NodeKey[], runner: SqlRunner): Promise<void> {
    const now = this.#now();
    const drafts = new Map<NodeKey, NodeDraft>();
    for (const key of keys)
      drafts.set(key, { problems: [], edges: new Set(), isFound: false, isView: false, body: undefined });
    for (const { classes, sql, oid, read } of NODE_QUERIES) {
      const wanted = keys.filter((key) => classes.includes(classOf(key))).map((key) => oidOf(key));
      if (wanted.length === 0) continue;
      for (const row of await runner.run(sql, [`{${[...new Set(wanted)].join(',')}}`])) {
        for (const nodeClass of classes) {
          const key: NodeKey = `${nodeClass}:${oid(row)}`;
          const draft = drafts.get(key);
          if (draft !== undefined) read(draft, key, row);
        }
      }
    }
    for (const [key, { problems, edges, isFound, isView, body }] of drafts) {
      // Of a type only what lies behind it is asked for.
      if (!isFound && classOf(key) !== 'type')
        problems.push(problem('something was dropped meanwhile', 'unseen'));
      const isForEver = classOf(key) === 'call' && !isMade(oidOf(key));
      this.#nodes.set(key, {
        problems,
        edges: [...edges],
        body,
        isMadeCode: isView || (isCode(key) && isMade(oidOf(key))),
        loadedAtMillis: isForEver ? Infinity : now,
      });
    }
  }
}

function isCode(key: NodeKey): boolean {
  return classOf(key) === 'call' || classOf(key) === 'support';
}

/** More lies behind a statement than can be looked at in sensible time. */
export class CatalogueTooLargeError extends Error {
  constructor() {
    super('too much lies behind the statement');
    this.name = 'CatalogueTooLargeError';
  }
}
