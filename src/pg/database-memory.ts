import type { SessionPin } from './session-snapshot.ts';
import type { SqlRunner } from './sql-runner.ts';
import { SqlError } from './sql-runner.ts';
import { CatalogueCache, type CatalogueSession } from './sql/catalogue.ts';
import { databaseTraits, type DatabaseTraits } from './sql/database-traits.ts';
import { settingsInStatement } from './sql/settings-in-statement.ts';
import { loadParser, loadParserSoon, parserReady } from './sql/parser.ts';
import { waysOut, type WaysOut } from './sql/ways-out.ts';
import { changesNames, type SessionEffect } from './sql/session-effect.ts';
import type { StatementVerdict } from './sql/statement-verdict.ts';
import type { JudgedSession, PutOff, Renewal, StatementJudge } from './statement-judge.ts';
import { NOTHING_PROVED, type Judgement } from './judgement.ts';
import type { StatementText } from './statement-text.ts';

/** How long what was learned of the catalogue is believed; somebody else may change it meanwhile. */
const TIME_TO_LIVE_MILLIS = 60_000;
/** How long a judgement is taken from the text's own memory before the catalogue's is looked at again. */
const REMEMBERED_MILLIS = 1_000;
/** Parsing takes some 0.1 ms a text. */
const TEXTS_AT_ONCE = 200;
/** Names of settings met in statements that are kept; beyond it a session that sets one stays unchecked. */
const MAX_CUSTOM_NAMES = 256;

/** One call of set_config, which calls nothing else. */
const ONLY_SETS = /^\s*select\s+(?:pg_catalog\.)?set_config\s*\([^()]*\)\s*(?:as\s+\w+\s*)?;?\s*$/i;

/** Lock timeouts, statement timeouts, shutdowns, want of memory: nothing that holds for another session. */
const OF_THE_MOMENT = /^(?:40|53|55|57|58)/;

/** The server refuses to tell: then code that nobody sees through may act outside, and set any setting. */
const NOTHING_KNOWN: DatabaseTraits = {
  reaching: ['unknown'],
  reachesOutside: true,
  hasDeferrableTriggers: true,
  hasWriteRules: true,
  customSettings: [],
  dynamicSetConfig: true,
};

/**
 * What all sessions of one database in this process share: the parser, judged statements, and what is known of the
 * database as a whole. Everything is learned off the hot path, over connections that are idle.
 */
export class DatabaseMemory implements StatementJudge {
  readonly #catalogue = new CatalogueCache({ timeToLiveMillis: TIME_TO_LIVE_MILLIS });
  readonly #customNames = new Set<string>();
  /** For whom the texts remember their judgements: another one when a definition was changed. */
  #era = {};
  #traits: DatabaseTraits | null = null;
  #traitsLearnedAt = Number.NEGATIVE_INFINITY;
  /** The server that told the traits, if that had to be a certain one. */
  #traitsOf: string | null = null;
  /** What one server said after a loss, in one question. */
  #waysOut: (WaysOut & { readonly server: string; readonly askedAtMillis: number }) | null = null;
  /** What one server's catalogue says, for sessions that arrived there after a loss. */
  #renewed: { readonly server: string; readonly catalogue: CatalogueCache } | null = null;

  /** Names of settings with a dot that may be set in sessions here: pg_settings does not show them. */
  customNames(): readonly string[] {
    return [...(this.#traits?.customSettings ?? []), ...this.#customNames];
  }

  /** A write may answer with rows of a rule; true as well if that is not known. */
  get rulesMayAnswer(): boolean {
    return this.#traitsLearnedAt === Number.NEGATIVE_INFINITY || this.#traits?.hasWriteRules !== false;
  }

  get putOff(): PutOff | null {
    if (this.#traits === null) return null;
    if (!this.#traits.hasDeferrableTriggers) return 'nothing';
    return this.#traits.dynamicSetConfig ? 'uncheckable-code' : 'code';
  }

  /** A session begins: what judging needs is loaded in a moment, behind its first statements. */
  prepare(): void {
    loadParserSoon();
  }

  get isReady(): boolean {
    return parserReady();
  }

  known(text: StatementText, session: JudgedSession): Judgement | null {
    if (text.text === '') return NOTHING_PROVED;
    if (!parserReady() || this.#traits === null || session.searchPath === null) return null;
    const now = performance.now();
    const key = sessionKey(session);
    const remembered = text.judgement(this.#era, key, now);
    if (remembered !== null) return remembered;
    const verdict = this.#catalogue.peek(text.text, catalogueSession(session, session.searchPath));
    if (verdict === undefined) return null;
    const judgement = this.#judge(text, verdict, session, this.#catalogue, this.#traits);
    text.remember(this.#era, key, now + REMEMBERED_MILLIS, judgement);
    return judgement;
  }

  async learn(
    texts: readonly StatementText[],
    runner: SqlRunner,
    session: JudgedSession,
    renewal?: Renewal,
  ): Promise<readonly Judgement[]> {
    await loadParser();
    const traits = await this.#learnTraits(runner, renewal);
    if (session.searchPath === null) return texts.map(() => NOTHING_PROVED);
    const isRenewed = renewal !== undefined && (renewal.proofs || traits.reachesOutside);
    const catalogue = isRenewed ? this.#catalogueOf(renewal.server, traits) : this.#catalogue;
    const judgements: Judgement[] = [];
    for (let from = 0; from < texts.length; from += TEXTS_AT_ONCE) {
      // A long journal must not hold up everything else in the process (review D5).
      if (from > 0) await new Promise((resolve) => setImmediate(resolve));
      const some = texts.slice(from, from + TEXTS_AT_ONCE);
      const verdicts = await catalogue.resolve(
        some.map(({ text }) => text),
        catalogueSession(session, session.searchPath),
        runner,
        isRenewed ? renewal.notBeforeMillis : undefined,
      );
      for (const [index, text] of some.entries()) {
        judgements.push(
          text.text === '' ? NOTHING_PROVED : this.#judge(text, verdicts[index]!, session, catalogue, traits),
        );
      }
    }
    return judgements;
  }

  definitionsChanged(): void {
    this.#catalogue.invalidate();
    this.#renewed = null;
    this.#waysOut = null;
    this.#era = {};
    this.#traitsLearnedAt = Number.NEGATIVE_INFINITY;
  }

  /** Other servers of the cluster may be behind: nothing that was learned there counts. */
  #catalogueOf(server: string, traits: DatabaseTraits): CatalogueCache {
    if (this.#renewed?.server !== server) {
      const catalogue = new CatalogueCache({ timeToLiveMillis: TIME_TO_LIVE_MILLIS });
      this.#renewed = { server, catalogue };
    }
    const { catalogue } = this.#renewed;
    catalogue.useTraits(traits);
    return catalogue;
  }

  async #learnTraits(runner: SqlRunner, renewal: Renewal | undefined): Promise<DatabaseTraits> {
    const now = performance.now();
    const known = now - this.#traitsLearnedAt < TIME_TO_LIVE_MILLIS ? this.#traits : null;
    if (known !== null) {
      if (renewal === undefined) return known;
      if (this.#traitsOf === renewal.server && this.#traitsLearnedAt >= renewal.notBeforeMillis) return known;
      if (!renewal.proofs) return await this.#renewWaysOut(known, runner, renewal);
    }
    const era = this.#era;
    let traits: DatabaseTraits;
    try {
      traits = await databaseTraits(runner);
    } catch (error) {
      if (!(error instanceof SqlError)) throw error;
      // For this answer only: what others know may well hold.
      if (renewal !== undefined) return NOTHING_KNOWN;
      if (OF_THE_MOMENT.test(error.code)) throw error; // Nothing is learned, for nobody.
      traits = this.#traits ?? NOTHING_KNOWN;
    }
    // Somebody was faster, who asked later.
    if (this.#traits !== null && now < this.#traitsLearnedAt && renewal === undefined) return this.#traits;
    this.#traits = traits;
    this.#catalogue.useTraits(traits);
    // What was changed while the question was under way is not in the answer for certain.
    this.#traitsLearnedAt = era === this.#era ? now : Number.NEGATIVE_INFINITY;
    this.#era = {}; // Judgements that the texts remember rest on the old traits.
    this.#traitsOf = renewal?.server ?? null;
    return traits;
  }

  /** The one question that decides whether a transaction may be replayed, at a quarter of the cost of all traits. */
  async #renewWaysOut(
    known: DatabaseTraits,
    runner: SqlRunner,
    { server, notBeforeMillis }: Renewal,
  ): Promise<DatabaseTraits> {
    const last = this.#waysOut;
    if (last?.server === server && last.askedAtMillis >= notBeforeMillis) return { ...known, ...last };
    const era = this.#era;
    const askedAtMillis = performance.now();
    try {
      const found = await waysOut(runner);
      if (era === this.#era) this.#waysOut = { ...found, server, askedAtMillis };
      return { ...known, ...found };
    } catch (error) {
      if (!(error instanceof SqlError)) throw error;
      return NOTHING_KNOWN;
    }
  }

  #judge(
    text: StatementText,
    found: StatementVerdict,
    session: JudgedSession,
    catalogue: CatalogueCache,
    traits: DatabaseTraits,
  ): Judgement {
    const facts = catalogue.factsOf(text.text, session.standardStrings);
    const { effects } = facts;
    // What stands behind such a statement in the same text was looked up under other names.
    const isInDoubt =
      !session.temporaryObjects &&
      (effects.some(changesNames)
        ? facts.statementCount !== 1 || (facts.kind !== 'session' && !ONLY_SETS.test(text.text))
        : facts.statementCount > 1 && !found.sessionSafe);
    const inDoubt = isInDoubt
      ? catalogue.peek(text.text, {
          ...catalogueSession(session, session.searchPath ?? ''),
          temporaryObjects: true,
        })
      : undefined;
    const verdict = inDoubt ?? found;
    const lasting = effects.filter(isLasting);
    let tooManyNames = false;
    for (const effect of lasting) if (!this.#noteName(effect)) tooManyNames = true;
    const holdsCode = !verdict.sessionSafe || lasting.some(({ kind }) => kind === 'prepare');
    const own = holdsCode ? settingsInStatement(text.text, facts) : null;
    for (const name of own?.names ?? []) if (!this.#keepName(name)) tooManyNames = true;
    const codeSets = (!verdict.sessionSafe && traits.dynamicSetConfig) || own?.isDynamic === true;
    return {
      provedRead: verdict.read === 'proved' && lasting.length === 0 && !effects.some(changesNames),
      restsOnCode: verdict.restsOnCode,
      staysInside: !verdict.outsideEffects,
      runsUnseenCode: verdict.runsUnseenCode,
      sessionSafe: verdict.sessionSafe && lasting.length === 0,
      undoneByRollback: verdict.sessionSafe && lasting.every(isUndone),
      orderSensitive: verdict.orderSensitive,
      changesNames: effects.some(changesNames),
      uncheckable: codeSets,
      tooManyNames,
      pins: lasting.flatMap(pinOf),
      unsafeReason:
        verdict.reasonUnsafe === null ? describe(lasting[0]) : `a statement (${verdict.reasonUnsafe})`,
    };
  }

  /** False if a setting's name could not be kept. */
  #noteName(effect: SessionEffect): boolean {
    const name = effect.kind === 'set' || effect.kind === 'set-config' ? effect.name : null;
    return name === null || !name.includes('.') || this.#keepName(name);
  }

  #keepName(name: string): boolean {
    if (this.#customNames.has(name)) return true;
    if (this.#customNames.size >= MAX_CUSTOM_NAMES) return false;
    this.#customNames.add(name);
    return true;
  }
}

function sessionKey(session: JudgedSession): string {
  const flags = (session.standardStrings ? 0 : 1) + (session.temporaryObjects ? 2 : 0);
  return flags === 0 ? (session.searchPath ?? '') : `${flags}\n${session.searchPath ?? ''}`;
}

function catalogueSession(session: JudgedSession, searchPath: string): CatalogueSession {
  return {
    searchPath,
    standardConformingStrings: session.standardStrings,
    temporaryObjects: session.temporaryObjects,
  };
}

/** What ends with the transaction leaves nothing in the session. */
function isLasting(effect: SessionEffect): boolean {
  switch (effect.kind) {
    case 'set':
    case 'set-role':
    case 'set-session-authorization':
      return !effect.local;
    case 'set-config':
      return effect.local !== true;
    case 'advisory-lock':
      return effect.session;
    case 'set-transaction':
    case 'close-cursor':
      return false;
    default:
      return true;
  }
}

/** What a ROLLBACK takes back. */
function isUndone(effect: SessionEffect): boolean {
  switch (effect.kind) {
    case 'set':
    case 'reset':
    case 'set-role':
    case 'set-session-authorization':
    case 'set-config':
    case 'listen':
    case 'unlisten':
    case 'temp-table':
    case 'hold-cursor':
      return true;
    default:
      return false;
  }
}

function pinOf(effect: SessionEffect): readonly SessionPin[] {
  if (effect.kind === 'load') return [{ kind: 'loaded-library', names: [] }];
  if (effect.kind === 'setseed') return [{ kind: 'random-seed', names: [] }];
  return [];
}

function describe(effect: SessionEffect | undefined): string {
  switch (effect?.kind) {
    case undefined:
      return 'a statement';
    case 'set':
      return `SET ${effect.name}`;
    case 'set-config':
      return `set_config of ${effect.name ?? 'a setting'}`;
    case 'listen':
      return 'LISTEN';
    case 'prepare':
      return 'PREPARE';
    case 'temp-table':
      return 'a statement that makes a temporary table';
    case 'advisory-lock':
    case 'advisory-unlock':
      return 'an advisory lock';
    default:
      return `a statement (${effect?.kind ?? ''})`;
  }
}
