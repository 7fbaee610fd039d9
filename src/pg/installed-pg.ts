/**
 * Looks at the pg that is installed, before anything loads it. To be imported first: where pg is missing or can't be
 * used, this says what to do, which a failure in the middle of loading would not. CommonJS only.
 */
import { realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { ConfigurationError } from '../errors.ts';
import { quoteValue } from '../quote-value.ts';

/** As the peer dependency of package.json says. */
const OLDEST_MINOR = 21;
const MAJOR = 8;
export const SUPPORTED_PG = `>=${MAJOR}.${OLDEST_MINOR} <${MAJOR + 1}`;

/** @throws ConfigurationError for a version of pg that the driver is not made for */
export function requireSupportedVersion(version: string): void {
  const [major, minor] = version.split('.').map(Number);
  if (major === MAJOR && minor! >= OLDEST_MINOR) return;
  throw new ConfigurationError(
    `holdfast/register needs pg ${SUPPORTED_PG}, but pg ${version} is installed: install another version of pg`,
  );
}

/** @throws ConfigurationError if pg is told to load its native binding, which the driver can't be put under */
export function requireJavaScriptClient(environment: Readonly<Record<string, string | undefined>>): void {
  const value = environment['NODE_PG_FORCE_NATIVE'];
  if (value === undefined || value === '') return;
  throw new ConfigurationError(
    `NODE_PG_FORCE_NATIVE is ${quoteValue(value)}, but pg-native is not supported by holdfast/register: unset it`,
  );
}

function installedVersion(): string {
  try {
    // A plain require, so that bundlers can follow it.
    const { version } = require('pg/package.json') as { readonly version: string };
    return version;
  } catch (error) {
    if ((error as { readonly code?: unknown }).code !== 'MODULE_NOT_FOUND') throw error;
    throw new ConfigurationError(
      `holdfast/register replaces the classes of pg, but found no pg beside itself: install pg ${SUPPORTED_PG} in the application that has holdfast`,
      { cause: error },
    );
  }
}

/** The file that `require('pg')` gives in a directory; undefined if there is none. */
export function resolvePg(directory: string): string | undefined {
  try {
    return realpathSync(createRequire(join(directory, 'any.js')).resolve('pg'));
  } catch {
    return undefined;
  }
}

/** Where the program that was started lies; the working directory if there is no such file. */
function programDirectory(): string {
  const [, program] = process.argv;
  try {
    return program === undefined ? process.cwd() : dirname(realpathSync(program));
  } catch {
    return process.cwd();
  }
}

const own = resolvePg(__dirname);
const ofProgram = resolvePg(programDirectory());

/** The pg of the program that was started, if it is not the one whose classes are replaced. */
export const otherPg = ofProgram === own ? undefined : ofProgram;
/**
 * True if somebody has loaded our pg before us, and may have taken its classes. What an ES module is about to import is
 * in the cache as well, not loaded yet.
 */
export const wasLoadedBefore = own !== undefined && createRequire(__filename).cache[own]?.loaded === true;

requireJavaScriptClient(process.env);
requireSupportedVersion(installedVersion());
