/**
 * PostgreSQL's own grammar (libpg-query, version 18's), loaded only when it is first wanted: it costs some 30 ms and
 * 20 MB. A statement costs 10 µs (short) to 50 µs (an ORM's join), a row of a long INSERT 3 µs more.
 *
 * It must never make the difference between a statement that runs and one that does not: whatever goes wrong in here
 * means "not understood", and what is not understood is treated as a write that may do anything.
 */

/** Each statement of the text as libpg-query's JSON; to be read with the accessors of `syntax-tree.ts` only. */
export type ParseOutcome =
  | { readonly kind: 'parsed'; readonly statements: readonly unknown[] }
  | { readonly kind: 'not-understood'; readonly reason: string };

interface Grammar {
  readonly parse: (text: string) => unknown;
  readonly parsePlpgsql: (definition: string) => unknown;
  readonly isSyntaxError: (error: unknown) => boolean;
}

const DOES_NOT_PARSE = 'the text does not parse';
/** Parsing is synchronous: at this length it may hold up the event loop for some 20 ms, once for each text. */
const MAX_CHARACTERS = 32_768;
/** The module leaks when an expression nests too deeply for its stack; a few times do no harm. */
const MAX_CRASHES = 10;

/** For so long the process has its event loop to itself, unless a statement must be judged before. */
const SOON_MILLIS = 250;

let grammar: Grammar | undefined;
let loading: Promise<void> | undefined;
let soon: NodeJS.Timeout | undefined;
let crashes = 0;

/**
 * Loads the grammar in a moment, unless somebody needs it before. Loading holds up the whole process: whoever is
 * connecting just now would wait for it, and a short script may be over before anything must be parsed.
 */
export function loadParserSoon(): void {
  if (loading !== undefined || soon !== undefined) return;
  soon = setTimeout(() => {
    soon = undefined;
    loadParser().catch(() => {
      // Told where it is needed: without it nothing is proved.
    });
  }, SOON_MILLIS);
  soon.unref();
}

/** Loads the grammar. Calling it again is free; a load that failed is tried again. */
export async function loadParser(): Promise<void> {
  loading ??= load().catch((error: unknown) => {
    loading = undefined;
    throw error;
  });
  await loading;
}

async function load(): Promise<void> {
  const { loadModule, parseSync, parsePlPgSQLSync, SqlError } = await import('libpg-query');
  await loadModule();
  grammar = {
    parse: parseSync,
    parsePlpgsql: parsePlPgSQLSync,
    isSyntaxError: (error) => error instanceof SqlError,
  };
}

/** True if `parse` can understand anything at all. */
export function parserReady(): boolean {
  return grammar !== undefined && crashes < MAX_CRASHES;
}

/** Never throws. A text of blanks and comments has no statements. */
export function parse(text: string, maxCharacters = MAX_CHARACTERS): ParseOutcome {
  if (grammar === undefined) return notUnderstood('the parser is not loaded');
  if (crashes >= MAX_CRASHES) return notUnderstood('the parser has failed too often');
  if (text.length > maxCharacters)
    return notUnderstood(`the text is longer than ${maxCharacters} characters`);
  // The grammar would see only what stands before it.
  if (text.includes('\0')) return notUnderstood('the text contains a NUL character');
  if (text === '') return { kind: 'parsed', statements: [] };
  try {
    return { kind: 'parsed', statements: statementsOf(grammar.parse(text)) };
  } catch (error) {
    if (grammar.isSyntaxError(error)) return notUnderstood(DOES_NOT_PARSE);
    crashes += 1;
    return notUnderstood('the text is too deeply nested');
  }
}

/** True if the grammar refuses the text; false also if nobody knows. Never throws. */
export function failsToParse(text: string): boolean {
  const outcome = parse(text);
  return outcome.kind === 'not-understood' && outcome.reason === DOES_NOT_PARSE;
}

/** The tree of a CREATE FUNCTION … LANGUAGE plpgsql; undefined if it is not understood. Never throws. */
export function parsePlpgsql(definition: string): unknown {
  if (grammar === undefined || crashes >= MAX_CRASHES) return undefined;
  if (definition.length > MAX_CHARACTERS || definition.includes('\0')) return undefined;
  try {
    return grammar.parsePlpgsql(definition);
  } catch (error) {
    // Its syntax errors are of class Error itself; a stack that overflowed or a trap of the module is not.
    if (!(error instanceof Error) || error.constructor !== Error) crashes += 1;
    return undefined;
  }
}

function notUnderstood(reason: string): ParseOutcome {
  return { kind: 'not-understood', reason };
}

function statementsOf(result: unknown): readonly unknown[] {
  const list = result as { readonly stmts?: readonly { readonly stmt?: unknown }[] };
  return (list.stmts ?? []).map(({ stmt }) => stmt);
}
