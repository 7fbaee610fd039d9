/**
 * Builds `holdfast-pg`, the package that is installed under the name of pg: into `dist/` beside this file, ready for
 * `npm pack` and `npm publish`. Run by `npm run build:alias`.
 *
 * It has the shape of the pg that it is built from: the same sub-paths, the same exported names. What pg itself is to
 * our code is here the dependency `pg-real`, an alias. A dependency named `pg` would be overridden like all others, by
 * ourselves.
 */
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

/** Counts the releases for one version of pg. */
const RELEASE = 0;
/** pg's patch number comes before the two digits of ours, so that whatever range takes that pg takes us as well. */
const RELEASES_PER_PATCH = 100;

interface Manifest {
  readonly version: string;
  readonly exports: object;
  readonly main: string;
  readonly license: string;
  readonly engines: object;
  readonly dependencies: Readonly<Record<string, string>>;
}

const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = join(HERE, '../..');
const OUTPUT = join(HERE, 'dist');
const PG = dirname(fileURLToPath(import.meta.resolve('pg/package.json')));

const holdfast = await readManifest(ROOT);
const pg = await readManifest(PG);

await rm(OUTPUT, { recursive: true, force: true });
await mkdir(join(OUTPUT, 'esm'), { recursive: true });
await bundle();
await passOn();
await writeFile(join(OUTPUT, 'esm/index.mjs'), await namedExports());
await writeFile(join(OUTPUT, 'package.json'), `${JSON.stringify(manifest(), null, 2)}\n`);
for (const file of ['LICENSE', 'CHANGELOG.md']) await cp(join(ROOT, file), join(OUTPUT, file));
await cp(join(HERE, 'README.md'), join(OUTPUT, 'README.md'));

async function readManifest(directory: string): Promise<Manifest> {
  return JSON.parse(await readFile(join(directory, 'package.json'), 'utf8')) as Manifest;
}

/** lib/index.js: our pg object, as the module itself. */
async function bundle(): Promise<void> {
  await build({
    entryPoints: [join(ROOT, 'src/pg.ts')],
    outfile: join(OUTPUT, 'lib/index.js'),
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node20',
    sourcemap: true,
    alias: { pg: 'pg-real' },
    external: ['pg-real', ...Object.keys(holdfast.dependencies)],
    footer: { js: 'module.exports = module.exports.default;' },
    logLevel: 'warning',
  });
}

/** The rest of lib/ is pg's own, but for the client, which is ours. */
async function passOn(): Promise<void> {
  const lib = join(PG, 'lib');
  const entries = await readdir(lib, { recursive: true, withFileTypes: true });
  for (const entry of entries) {
    const path = relative(lib, join(entry.parentPath, entry.name)).replaceAll('\\', '/');
    if (!entry.isFile() || !path.endsWith('.js') || path === 'index.js') continue;
    const from = path === 'client.js' ? `'./index.js').Client` : `'pg-real/lib/${path}')`;
    await mkdir(dirname(join(OUTPUT, 'lib', path)), { recursive: true });
    await writeFile(join(OUTPUT, 'lib', path), `'use strict';\nmodule.exports = require(${from};\n`);
  }
}

/** Node can't see the properties of an object as named exports, so they are listed, as in pg. */
async function namedExports(): Promise<string> {
  const names = Object.keys((await import('pg')) as object).filter((name) => name !== 'default');
  const lines = names.map((name) => `export const ${name} = pg.${name};`);
  return [`import pg from '../lib/index.js';`, '', ...lines, 'export default pg;', ''].join('\n');
}

function manifest(): object {
  const [major, minor, patch] = pg.version.split('.').map(Number) as [number, number, number];
  return {
    name: 'holdfast-pg',
    version: `${major}.${minor}.${patch * RELEASES_PER_PATCH + RELEASE}`,
    description: `holdfast in place of pg: pg ${pg.version} whose sessions survive the death of their server. To be installed under the name pg.`,
    license: holdfast.license,
    keywords: ['postgresql', 'pg', 'failover', 'high-availability', 'driver'],
    engines: holdfast.engines,
    main: pg.main,
    exports: pg.exports,
    files: ['lib', 'esm', 'CHANGELOG.md'],
    dependencies: { ...holdfast.dependencies, 'pg-real': `npm:pg@${pg.version}` },
  };
}
