import { isReplaced, keepGenuineClasses } from './stock-pg.ts';

/** What the installation was like before pg was loaded. */
export interface Installation {
  readonly wasLoadedBefore: boolean;
  /** See `installed-pg.ts`. */
  readonly otherPg: string | undefined;
}

/**
 * Puts our classes in place of those of a pg module: whoever asks it for `Client` or `Pool` from now on gets ours. Does
 * nothing if that has been done. What it can't reach it tells in a warning of the process.
 */
export function replaceClasses(
  module: object,
  classes: { readonly Client: unknown; readonly Pool: unknown },
  { wasLoadedBefore, otherPg }: Installation,
): void {
  if (isReplaced(module)) return;
  keepGenuineClasses(module);
  Object.assign(module, classes);
  if (wasLoadedBefore) {
    warn(
      'HOLDFAST_PG_LOADED_BEFORE',
      'pg had been loaded before holdfast/register: code that took Client or Pool from it before, and its named ' +
        'imports in ES modules, are without failover. Load holdfast/register first.',
    );
  }
  if (otherPg !== undefined) {
    warn(
      'HOLDFAST_OTHER_PG',
      `the program uses another copy of pg, ${otherPg}, which is without failover: holdfast/register replaces the ` +
        'classes of the pg that is installed beside holdfast. `npm ls pg` should list one version.',
    );
  }
}

function warn(code: string, message: string): void {
  process.emitWarning(message, { type: 'HoldfastWarning', code });
}
