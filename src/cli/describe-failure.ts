/** A server or resolver may quote what was mistaken for the name of a host or database. */
export function withoutPassword(text: string, url: string | undefined): string {
  const password = /^\w+:\/\/[^/?#]*?:([^/?#]*)@/.exec(url ?? '')?.[1];
  if (password === undefined || password === '') return text;
  return text.replaceAll(password, '***').replaceAll(decoded(password), '***');
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code } = error as { readonly code?: unknown };
  // An AggregateError of several addresses has no message.
  const message = error.message === '' ? 'the database can not be reached' : error.message;
  return typeof code === 'string' ? `${message} (${code})` : message;
}
