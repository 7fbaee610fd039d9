/**
 * How a configuration error shows what it was given: short, on one line, and never with a password in it.
 *
 * People paste whole connection strings where a host name belongs, so everything before an `@` is left out.
 */
export function quoteValue(value: unknown): string {
  if (typeof value === 'string') {
    const text = value.includes('@') ? value.replace(/^.*@/s, '***@') : value;
    return JSON.stringify(
      text.length > MAX_QUOTED_CHARACTERS ? `${text.slice(0, MAX_QUOTED_CHARACTERS)}…` : text,
    );
  }
  if (typeof value === 'bigint') return `${value.toString()}n`;
  if (typeof value === 'number' || typeof value === 'boolean' || value === null || value === undefined) {
    return String(value);
  }
  if (Array.isArray(value)) {
    const shown = value.slice(0, MAX_QUOTED_ITEMS).map(quoteValue);
    return `[${shown.join(', ')}${value.length > MAX_QUOTED_ITEMS ? ', …' : ''}]`;
  }
  // The fields of an unknown object are not ours to print: one of them may be a secret.
  return typeof value === 'function' ? 'a function' : typeof value === 'symbol' ? 'a symbol' : 'an object';
}

const MAX_QUOTED_CHARACTERS = 120;
const MAX_QUOTED_ITEMS = 16;
