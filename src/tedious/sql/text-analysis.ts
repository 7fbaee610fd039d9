import { LruMap } from '../../lru-map.ts';
import { NO_EFFECT, type SessionEffect, type TextScope } from './session-effect.ts';
import { statementFacts, type StatementFacts } from './statement-facts.ts';

/** What is known of a text beforehand, by its words alone: what can't be read counts as what it may be. */
export interface TextAnalysis {
  /** It may run twice outside of a transaction and leave the same behind: it only reads, or sets what is set. */
  readonly isRepeatable: boolean;
  /** One INSERT, UPDATE, DELETE or MERGE, with nothing but reads beside it: it can have a transaction of its own. */
  readonly isSingleWrite: boolean;
  /** Why it must not run a second time even if it was rolled back (A7); null if it may. */
  readonly actsOutside: string | null;
  /** Its result depends on the moment: it keeps the recorded precedence when it is replayed (B). */
  readonly liesInTheMoment: boolean;
  /** A savepoint may stand behind it: what comes later may go back to it. */
  readonly mayLeaveSavepoint: boolean;
  /** It asks for @@IDENTITY as an earlier request has left it. */
  readonly asksForIdentity: boolean;
  /** It asks for SCOPE_IDENTITY() as an earlier batch has left it. */
  readonly asksForScopeIdentity: boolean;
  /** It asks for the number of rows, or the error, of an earlier request. */
  readonly asksForRowCount: boolean;
  /** It surely runs an INSERT that lasts. */
  readonly inserts: boolean;
  readonly effect: SessionEffect;
}

/** What changes nothing. */
export const PLAIN: TextAnalysis = {
  isRepeatable: true,
  isSingleWrite: false,
  actsOutside: null,
  liesInTheMoment: false,
  mayLeaveSavepoint: false,
  asksForIdentity: false,
  asksForScopeIdentity: false,
  asksForRowCount: false,
  inserts: false,
  effect: NO_EFFECT,
};

/** What nobody can see through: a procedure. */
export const OPAQUE: TextAnalysis = {
  ...PLAIN,
  isRepeatable: false,
  liesInTheMoment: true,
  mayLeaveSavepoint: true,
};

const MAX_TEXTS = 2_000;
const MAX_CHARACTERS = 8_000_000;
const known: Readonly<Record<TextScope, LruMap<string, StatementFacts>>> = {
  batch: new LruMap(MAX_TEXTS, MAX_CHARACTERS),
  dynamic: new LruMap(MAX_TEXTS, MAX_CHARACTERS),
};

/**
 * @param database the session's; null if it is not known: then a name of three parts may be of another one
 */
export function analyse(sql: string, scope: TextScope, database: string | null = null): TextAnalysis {
  const cache = known[scope];
  let facts = cache.get(sql);
  if (facts === undefined) {
    facts = statementFacts(sql, scope);
    cache.set(sql, facts, sql.length);
  }
  const { isRepeatable, isSingleWrite, momentDependent, mayLeaveSavepoint, effect } = facts;
  const { asksForIdentity, asksForScopeIdentity, asksForRowCount, inserts } = facts;
  const actsOutside = facts.actsOutside ?? otherDatabase(facts, database);
  return {
    isRepeatable,
    isSingleWrite: isSingleWrite && actsOutside === null,
    actsOutside,
    liesInTheMoment: momentDependent,
    mayLeaveSavepoint,
    asksForIdentity,
    asksForScopeIdentity,
    asksForRowCount,
    inserts,
    effect,
  };
}

/** What is written in another database is not in the transaction's token. */
function otherDatabase({ databases, effect }: StatementFacts, database: string | null): string | null {
  const current = effect.database === null ? database?.toUpperCase() : null;
  const other = databases.find((name) => name !== current);
  return other === undefined ? null : `it may act on another database (${other.toLowerCase()})`;
}
