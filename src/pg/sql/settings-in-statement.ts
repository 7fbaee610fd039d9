import { settingsInCode, type SettingsInCode } from './custom-settings.ts';
import { statementHeads } from './leading-keywords.ts';
import type { StatementFacts } from './statement-facts.ts';

/** Built-in functions that run a string as SQL. */
const RUNS_STRINGS = /\b(?:query|cursor)_to_xml/i;
/** DO with a string in which a backslash hides letters. */
const ESCAPED_DO = /\bdo\s+(?:language\s+\w+\s+)?e'/i;

/**
 * What a statement of the application's own may do to settings beyond the effects that its facts list by name: in code that
 * it carries (DO, PREPARE, a new function), or by set_config for more than the transaction with a name that is no literal.
 */
export function settingsInStatement(text: string, facts: StatementFacts): SettingsInCode {
  const names = new Set<string>();
  let isDynamic = facts.effects.some(
    (effect) => effect.kind === 'set-config' && effect.name === null && effect.local !== true,
  );
  const words = new Set(statementHeads(text).map((head) => head.words[0]));
  const runsCode = words.has('DO') || words.has('PREPARE') || RUNS_STRINGS.test(text);
  if (!runsCode && !words.has('CREATE')) return { names, isDynamic };
  const found = settingsInCode([text]);
  // A new function is looked through together with all others of the database.
  if (runsCode) isDynamic ||= found.isDynamic || (words.has('DO') && ESCAPED_DO.test(text));
  return { names: found.names, isDynamic };
}
