import type { Problem } from './catalogue-problem.ts';
import { problem } from './catalogue-problem.ts';
import type { SessionEffect } from './session-effect.ts';
import type { StatementFacts } from './statement-facts.ts';

/** What may be believed of a text, run in one database with one search_path. */
export interface StatementVerdict {
  /** `proved`: running it twice does what running it once does, so that it may simply be run again (R2). */
  readonly read: 'proved' | 'unproved';
  /** Why it is unproved; null if it is proved. Names objects of the catalogue and syntax, never values. */
  readonly reason: string | null;
  /**
   * True if it leaves no trace in its session but those that its facts list as `effects`. An unsafe statement makes its
   * session unchecked until it is checked outside of a transaction: deferred triggers and cursors run later within one.
   */
  readonly sessionSafe: boolean;
  /** Why it is not safe; null if it is. */
  readonly reasonUnsafe: string | null;
  /** True if it may act outside of this database: then it is never run again unasked (review A7). */
  readonly outsideEffects: boolean;
  /** As its facts say, or because it runs code that nobody looks into, which may contain SKIP LOCKED and the like. */
  readonly orderSensitive: boolean;
  /** It runs code that nobody looks into. */
  readonly runsUnseenCode: boolean;
  /** It runs code that somebody made, and may make anew at any moment. */
  readonly restsOnCode: boolean;
}

/** `reachesOutside`: whether anything in the database can act outside of it; true if that is not known. */
export function statementVerdict(
  facts: StatementFacts,
  catalogue: readonly Problem[],
  reachesOutside: boolean,
  restsOnCode = false,
): StatementVerdict {
  const problems = [...textProblems(facts), ...catalogue];
  const reason = problems.find(({ unproved }) => unproved !== null)?.unproved ?? null;
  const reasonUnsafe = problems.find(({ unsafe }) => unsafe !== null)?.unsafe ?? null;
  const hasUnseenCode = problems.some(({ outside }) => outside === 'unseen');
  return {
    read: reason === null ? 'proved' : 'unproved',
    reason,
    sessionSafe: reasonUnsafe === null,
    reasonUnsafe,
    outsideEffects:
      facts.outsideEffects ||
      problems.some(({ outside }) => outside === 'yes') ||
      (hasUnseenCode && reachesOutside),
    orderSensitive:
      facts.orderSensitive || hasUnseenCode || problems.some(({ orderSensitive = false }) => orderSensitive),
    restsOnCode,
    runsUnseenCode: hasUnseenCode,
  };
}

/** What the text alone has against it. */
function textProblems(facts: StatementFacts): readonly Problem[] {
  const problems: Problem[] = [];
  if (facts.notUnderstood !== null) return [problem(facts.notUnderstood, 'unseen')];
  if (facts.opaque !== null) problems.push(problem(facts.opaque, 'unseen'));
  const [unknown] = facts.names.unknownSyntax;
  if (unknown !== undefined) problems.push(problem(`the syntax ${unknown} is not known`, 'unseen'));
  if (facts.effects.some((effect) => isUntraceable(effect))) {
    problems.push({ unproved: null, unsafe: 'set_config with a name that is not literal', outside: 'no' });
  }
  const notRead = whyNoRead(facts);
  if (notRead !== null) problems.push({ unproved: notRead, unsafe: null, outside: 'no' });
  return problems;
}

function whyNoRead(facts: StatementFacts): string | null {
  if (facts.statementCount > 1) return 'several statements in one text';
  if (facts.lockingClause) return 'locks rows';
  if (facts.dataModifyingCte) return 'writes within WITH';
  if (facts.selectInto) return 'SELECT INTO makes a table';
  if (facts.explain === 'analyze') return 'EXPLAIN ANALYZE runs what it explains';
  switch (facts.kind) {
    case 'read-candidate':
      return null;
    case 'write':
      return 'writes';
    case 'transaction-control':
      return 'controls the transaction';
    case 'session':
      return 'changes the session';
    case 'copy':
      return 'COPY';
    case 'utility':
      return 'is a utility command';
    case 'unknown':
      return 'is not understood';
  }
}

function isUntraceable(effect: SessionEffect): boolean {
  return effect.kind === 'set-config' && effect.name === null;
}
