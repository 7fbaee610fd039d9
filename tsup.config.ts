import { readFileSync } from 'node:fs';
import { defineConfig, type Options } from 'tsup';

const { tsup } = JSON.parse(readFileSync('package.json', 'utf8')) as { readonly tsup: readonly Options[] };

/**
 * As with pg, `require('holdfast/pg')` gives the very object that is the default export: its `native` is not loaded
 * before somebody asks, and its classes can be replaced by tracing tools and tests. What translates ES modules to
 * CommonJS finds the default export as well.
 */
const WHOLE_MODULE = `{
  const { default: whole, ...named } = module.exports;
  if (whole !== undefined && Object.keys(named).every((name) => name in whole))
    module.exports = Object.defineProperties(whole, { default: { value: whole }, __esModule: { value: true } });
}`;

/** The options are in package.json, but for what JSON can't say. */
export default defineConfig(
  tsup.map((options) => ({
    ...options,
    footer: ({ format }) => (format === 'cjs' ? { js: WHOLE_MODULE } : {}),
  })),
);
