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
const IS_NAME = new RegExp(`^${NAME}$`);

/**
 * Looks through the bodies of functions and the texts of policies, defaults and views. It reads words, not syntax:
 * comments and strings count as well. `isDynamic` errs towards true.
 */
export function settingsInCode(bodies: Iterable<string>): SettingsInCode {
  const names = new Set<string>();
  let isDynamic = false;
  for (const body of bodies) {
    for (const [, call, name, after] of body.matchAll(CALL)) {
      if (after !== undefined && name !== undefined && IS_NAME.test(name)) names.add(name.toLowerCase());
      // A name without a dot is the server's own setting, which pg_settings shows.
      if (after === undefined && call?.toLowerCase() === 'set_config') isDynamic = true;
    }
    for (const [, name] of body.replaceAll('"', '').matchAll(SET))
      if (name !== undefined) names.add(name.toLowerCase());
    isDynamic ||= DYNAMIC.test(body);
  }
  return { names, isDynamic };
}
