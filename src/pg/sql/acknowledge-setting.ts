import { upperCased } from './leading-keywords.ts';
import { tokens, type Token } from './lexer.ts';

/** What a `SET LOCAL holdfast.acknowledge` asks for; `default`: what the pool or client is configured with. */
export type AcknowledgeSetting = 'local' | 'replicated' | 'default';

const NONE: readonly AcknowledgeSetting[] = [];

/**
 * The `SET LOCAL holdfast.acknowledge = …` of a text, in order. PostgreSQL takes it for a custom setting and lets it pass.
 * A value that is neither `local` nor DEFAULT means `replicated`, so that a misspelt one is not taken for less than was meant.
 */
export function acknowledgeSettings(text: string): readonly AcknowledgeSetting[] {
  // Nearly no text has the word: those are not read for it.
  if (!/acknowledge/i.test(text)) return NONE;
  const found: AcknowledgeSetting[] = [];
  let statement: Token[] = [];
  const end = (): void => {
    const setting = settingOf(text, statement);
    if (setting !== null) found.push(setting);
    statement = [];
  };
  for (const token of tokens(text)) {
    if (token.kind === 'semicolon') end();
    else statement.push(token);
  }
  end();
  return found;
}

function settingOf(text: string, statement: readonly Token[]): AcknowledgeSetting | null {
  const [set, local, ...rest] = statement.map(({ kind, start, end }) => ({
    kind,
    text: text.slice(start, end),
  }));
  if (set?.kind !== 'word' || upperCased(set.text) !== 'SET') return null;
  if (local?.kind !== 'word' || upperCased(local.text) !== 'LOCAL') return null;
  const equals = rest.findIndex(
    ({ kind, text: word }) => word === '=' || (kind === 'word' && upperCased(word) === 'TO'),
  );
  const name = rest
    .slice(0, equals)
    .map(({ text: word }) => word.replaceAll('"', ''))
    .join('');
  const value = rest[equals + 1];
  if (equals < 0 || value === undefined || upperCased(name) !== 'HOLDFAST.ACKNOWLEDGE') return null;
  if (value.kind === 'word' && upperCased(value.text) === 'DEFAULT') return 'default';
  return upperCased(value.text.replaceAll(/['"]/g, '').trim()) === 'LOCAL' ? 'local' : 'replicated';
}
