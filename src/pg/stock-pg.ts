import pg from 'pg';

/**
 * Where the genuine classes are kept on a pg module whose own have been replaced (`holdfast/register`, or our package
 * under the name of pg). A global symbol, so that every copy of this package finds them.
 */
export const GENUINE_CLASSES = Symbol.for('holdfast.genuine-classes.1');

interface Classes {
  readonly Client: typeof pg.Client;
  readonly Pool: typeof pg.Pool;
}

/** The module that is installed as `pg`. Its `Client` and `Pool` may be ours: take the two below. */
export { default as pg } from 'pg';

/**
 * pg's own classes, taken once when this file is loaded. Ours are built on them, so that ours are never built on ours,
 * whoever replaces what the module exports, before or after.
 */
const genuine: Classes = (pg as { readonly [GENUINE_CLASSES]?: Classes })[GENUINE_CLASSES] ?? {
  Client: pg.Client,
  Pool: pg.Pool,
};
export const StockClient: typeof pg.Client = genuine.Client;
export const StockPool: typeof pg.Pool = genuine.Pool;

/** True if somebody has put our classes in place of the module's own. */
export function isReplaced(module: object): boolean {
  return GENUINE_CLASSES in module;
}

/** Leaves the genuine classes with a module that exports ours. */
export function keepGenuineClasses(module: object): void {
  Object.defineProperty(module, GENUINE_CLASSES, { value: genuine });
}
