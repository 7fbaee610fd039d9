import type { SqlRunner } from '../sql-runner.ts';
import { CatalogueKnowledge } from './catalogue-knowledge.ts';
import type { NameItem } from './catalogue-names.ts';
import { nameItemsOf } from './catalogue-names.ts';
import type { Problem } from './catalogue-problem.ts';
import { problem } from './catalogue-problem.ts';
import { LruMap } from '../../lru-map.ts';
import { parserReady } from './parser.ts';
import type { StatementFacts } from './statement-facts.ts';
import { statementFacts } from './statement-facts.ts';
import type { StatementVerdict } from './statement-verdict.ts';
import { statementVerdict } from './statement-verdict.ts';
import type { WaysOut } from './ways-out.ts';

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
  /** The setting `standard_conforming_strings`. Default true; while it is off, nothing with a name in it is proved. */
  readonly standardConformingStrings?: boolean;
  /**
   * True if the session may have temporary objects. They come before everything else and are no other session's, so that
   * nothing with a name in it is proved.
   */
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
  readonly loadedAtMillis: number;
}

/** Of all texts that are kept: an application that writes values into its statements has many long ones. */
const MAX_KEPT_CHARACTERS = 8_388_608;
const MAX_PATHS_A_TEXT = 64;
/** FETCH and MOVE run a cursor's query, SET CONSTRAINTS what triggers were put off: they name nothing themselves. */
const RUNS_EARLIER = /\b(?:fetch|move|constraints)\b/i;

/**
 * Verdicts on statements, for all sessions of one database. They do not depend on the role.
 *
 * The memo is by text and search_path. What it knows may be as old as `timeToLiveMillis` allows. Parameters are taken to
 * be of built-in types, or of types that follow from the statement: a Parse message that declares others is not judged.
 */
export class CatalogueCache {
  readonly #texts: LruMap<string, KnownText>;
  #knowledge: CatalogueKnowledge;
  /** Nothing in `#knowledge` is older. */
  #knowsSinceMillis: number;
  readonly #timeToLiveMillis: number;
  readonly #now: () => number;
  #reachesOutside = true;
  #generation = 0;

  constructor(options: CatalogueOptions = {}) {
    this.#timeToLiveMillis = options.timeToLiveMillis ?? 60_000;
    this.#now = options.now ?? (() => performance.now());
    this.#texts = new LruMap(options.maxTexts ?? 5_000, MAX_KEPT_CHARACTERS);
    this.#knowledge = new CatalogueKnowledge(this.#timeToLiveMillis, this.#now);
    this.#knowsSinceMillis = this.#now();
  }

  /** Until it is called, whatever runs unseen code counts as acting outside of the database. */
  useTraits({ reachesOutside }: WaysOut): void {
    if (reachesOutside === this.#reachesOutside) return;
    this.#reachesOutside = reachesOutside;
    this.#texts.clear();
    this.#generation += 1;
  }

  /** Forgets what was learned from the catalogue: call it when DDL was seen. */
  invalidate(): void {
    this.#forgetKnowledge();
    this.#texts.clear();
    this.#generation += 1;
  }

  /** The facts of a text, remembered. */
  factsOf(text: string, standardConformingStrings = true): StatementFacts {
    return this.#known(text, standardConformingStrings).facts;
  }

  /**
   * The verdict on a text if it is known, and was learned not before that moment of the clock, else undefined: then
   * `resolve` it, and take it for unproved meanwhile.
   */
  peek(
    text: string,
    session: CatalogueSession,
    notBeforeMillis = Number.NEGATIVE_INFINITY,
  ): StatementVerdict | undefined {
    const { facts, unconditional, verdicts } = this.#known(text, session.standardConformingStrings ?? true);
    const inTheWay = sessionProblem(session);
    // It may run what an earlier statement has named.
    const runsEarlier = inTheWay !== undefined && RUNS_EARLIER.test(text);
    if (unconditional !== undefined && !runsEarlier) return unconditional;
    if (inTheWay !== undefined) return this.#verdict(facts, [inTheWay]);
    const known = verdicts.get(session.searchPath);
    if (known === undefined || known.loadedAtMillis < notBeforeMillis) return undefined;
    return this.#now() < known.loadedAtMillis + this.#timeToLiveMillis ? known.verdict : undefined;
  }

  /**
   * The verdicts on `texts`, asking the catalogue for what is not known of any of them: two round trips where there are
   * only plain tables, one or more a step for what lies behind views, partitions, policies, triggers and functions.
   *
   * Send it outside of transactions: the server may refuse a query, and it sees the catalogue of the transaction. A
   * refusal gives unproved verdicts. Rejects if the connection is gone.
   *
   * `notBeforeMillis`, a moment of the clock: what was learned earlier is asked for again.
   */
  async resolve(
    texts: readonly string[],
    session: CatalogueSession,
    runner: SqlRunner,
    notBeforeMillis = Number.NEGATIVE_INFINITY,
  ): Promise<readonly StatementVerdict[]> {
    const isStandard = session.standardConformingStrings ?? true;
    const known = texts.map((text) => ({
      text: this.#known(text, isStandard),
      verdict: this.peek(text, session, notBeforeMillis),
    }));
    const unknown = known.flatMap(({ text, verdict }) => (verdict === undefined ? text : []));
    if (unknown.length === 0) return known.flatMap(({ verdict }) => verdict ?? []);
    if (this.#knowsSinceMillis < notBeforeMillis) this.#forgetKnowledge();
    const generation = this.#generation;
    const questions = unknown.map(({ facts, items }) => ({ names: facts.names, items }));
    const findings = await this.#knowledge.find(questions, session.searchPath, runner);
    const learned = new Map<KnownText, StatementVerdict>();
    unknown.forEach((text, index) => {
      const { problems, loadedAtMillis, restsOnCode } = findings[index]!;
      const verdict = this.#verdict(text.facts, problems, restsOnCode);
      learned.set(text, verdict);
      // What was learned before `invalidate` is good for this answer only.
      if (generation === this.#generation) text.verdicts.set(session.searchPath, { verdict, loadedAtMillis });
    });
    return known.map(({ text, verdict }) => verdict ?? learned.get(text)!);
  }

  /** Who is asking at the moment goes on with the old one, which stays whole. */
  #forgetKnowledge(): void {
    this.#knowledge = new CatalogueKnowledge(this.#timeToLiveMillis, this.#now);
    this.#knowsSinceMillis = this.#now();
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

  #verdict(facts: StatementFacts, problems: readonly Problem[], restsOnCode = false): StatementVerdict {
    return statementVerdict(facts, problems, this.#reachesOutside, restsOnCode);
  }
}

/** Why nothing that the cache knows holds for this session. */
function sessionProblem({
  temporaryObjects,
  standardConformingStrings,
}: CatalogueSession): Problem | undefined {
  if (temporaryObjects) return problem('its names may mean something else in this session', 'unseen');
  // The bodies of functions were read with it on.
  return standardConformingStrings === false
    ? problem('standard_conforming_strings is off', 'unseen')
    : undefined;
}
