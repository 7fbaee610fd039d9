/** What code in the database does to the settings of its session, as far as a look at its text can tell. */
export interface SettingsInCode {
  /** Names that contain a dot, in lower case. */
  readonly names: Set<string>;
  /** True if some setting gets its name only when the code runs. */
  readonly isDynamic: boolean;
}

/** A setting of an extension or of the application's own: `app.tenant`. */
const NAME = String.raw`[A-Za-z_\x80-\uffff][\w$\x80-\uffff]*(?:\.[A-Za-z_\x80-\uffff][\w$\x80-\uffff]*)+`;
const CALL =
  /\b(set_config|current_setting)\s*\(\s*(?:[eE]?'((?:[^']|'')*)'\s*(?:::\s*(?:pg_catalog\s*\.\s*)?(?:text|varchar)\s*)?([,)]))?/gi;
const SET = new RegExp(String.raw`\b(?:set|reset)\s+(?:(?:local|session)\s+)?(${NAME})`, 'gi');
const EXECUTE = /\bexecute\b/i;
/** A string that begins with SET or RESET. */
const SET_IN_STRING = /'\s*(?:set|reset)\s/gi;
/** Behind these an expression of PL/pgSQL begins. */
const EXPRESSION = /;|:=|\b(?:then|else|begin|loop|execute|return)\b/i;
const UPDATE = /\bupdate\b/i;
const MAX_EXPRESSION_CHARACTERS = 2_000;
const MAX_STRINGS = 200;
/** What comments are is looked at in code of this size at most. */
const MAX_COMMENTED_CHARACTERS = 32_768;
/** The server's own setting, which pg_settings shows. */
const IS_PLAIN = /^[A-Za-z_]\w*$/;
const COMMENT = /\/\*[\s\S]*?\*\/|--[^\n]*/g;
const IS_NAME = new RegExp(`^${NAME}$`);

/**
 * Looks through the bodies of functions and the texts of policies, defaults and views. It reads words, not syntax:
 * comments and strings count as well. `isDynamic` errs towards true.
 */
export function settingsInCode(bodies: Iterable<string>): SettingsInCode {
  const names = new Set<string>();
  let isDynamic = false;
  for (const body of bodies) {
    // What looks like a comment may stand in a string.
    const plain = body.length > MAX_COMMENTED_CHARACTERS ? body : body.replaceAll(COMMENT, ' ');
    for (const text of new Set([body, plain])) {
      const found = settingsIn(text.replaceAll('"', ''));
      for (const name of found.names) names.add(name);
      isDynamic ||= found.isDynamic;
    }
  }
  return { names, isDynamic };
}

function settingsIn(text: string): SettingsInCode {
  const names = new Set<string>();
  let isDynamic = runsSetInString(text);
  for (const [, call, name, after] of text.matchAll(CALL)) {
    const isSet = call?.toLowerCase() === 'set_config';
    if (after === undefined || name === undefined) isDynamic ||= isSet;
    else if (IS_NAME.test(name)) names.add(name.toLowerCase());
    else isDynamic ||= isSet && !IS_PLAIN.test(name);
  }
  for (const [, name] of text.matchAll(SET)) if (name !== undefined) names.add(name.toLowerCase());
  return { names, isDynamic };
}

/** SQL put together at run time, that sets something. The SET of an UPDATE that is put together looks alike. */
function runsSetInString(text: string): boolean {
  if (!EXECUTE.test(text)) return false;
  let looked = 0;
  for (const { index } of text.matchAll(SET_IN_STRING)) {
    if (++looked > MAX_STRINGS) return true;
    const before = text.slice(Math.max(0, index - MAX_EXPRESSION_CHARACTERS), index);
    if (!UPDATE.test(before.split(EXPRESSION).at(-1) ?? '')) return true;
  }
  return false;
}
