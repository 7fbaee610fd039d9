/** The schemas of a search_path, as far as they can be told without a session. */
export interface SearchPath {
  readonly schemas: readonly string[];
  /** `"$user"` is among them: the schema, if there is one, that is called like the current role. */
  readonly includesUser: boolean;
}

/**
 * Reads the value of the setting `search_path` as SHOW gives it. `undefined` if it is malformed.
 *
 * Names are folded to lower case unless quoted, as SplitIdentifierString does (varlena.c).
 */
export function parseSearchPath(value: string): SearchPath | undefined {
  const schemas: string[] = [];
  const element = /\s*(?:"((?:[^"]|"")*)"|([^\s,"]+))\s*(,|$)/y;
  let isLast = value.trim() === '';
  while (!isLast) {
    const match = element.exec(value);
    if (match === null) return undefined;
    const [, quoted, plain, separator] = match;
    schemas.push(quoted?.replaceAll('""', '"') ?? asciiLowerCased(plain ?? ''));
    isLast = separator === '';
  }
  // Temporary objects are looked for by nobody: see CatalogueSession.
  const others = schemas.filter((schema) => schema !== '$user' && schema !== 'pg_temp' && schema !== '');
  return { schemas: others, includesUser: schemas.includes('$user') };
}

function asciiLowerCased(name: string): string {
  return name.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}
