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
/** SQL put together at run time: EXECUTE with a string that begins with SET, RESET or SELECT set_config. */
const DYNAMIC = /\bexecute\b[\s\S]*?'\s*(?:set|reset)\s/i;
/** The same with the string in a variable; the SET of an UPDATE that is put together looks alike. */
const DYNAMIC_LATER = /'\s*(?:set|reset)\s[\s\S]*\bexecute\b/i;
const UPDATE = /\bupdate\b/i;
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
    for (const text of new Set([body, body.replaceAll(COMMENT, ' ')])) {
      const found = settingsIn(text.replaceAll('"', ''));
      for (const name of found.names) names.add(name);
      isDynamic ||= found.isDynamic;
    }
  }
  return { names, isDynamic };
}

function settingsIn(text: string): SettingsInCode {
  const names = new Set<string>();
  let isDynamic = DYNAMIC.test(text) || (DYNAMIC_LATER.test(text) && !UPDATE.test(text));
  for (const [, call, name, after] of text.matchAll(CALL)) {
    const isSet = call?.toLowerCase() === 'set_config';
    if (after === undefined || name === undefined) isDynamic ||= isSet;
    else if (IS_NAME.test(name)) names.add(name.toLowerCase());
    else isDynamic ||= isSet && !IS_PLAIN.test(name);
  }
  for (const [, name] of text.matchAll(SET)) if (name !== undefined) names.add(name.toLowerCase());
  return { names, isDynamic };
}
