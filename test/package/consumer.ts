/**
 * Uses the package as its users do: packs it, installs the tarball beside pg into an empty directory outside this
 * repository, and there type-checks and runs small programs, as an ES module and as CommonJS, against a real server.
 *
 * Run by `npm run check:package`, after `npm run build`. Takes the versions of pg and Knex from package.json: the newest
 * that is tested, and the oldest that the peer range allows.
 */
import { cp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PostgresCluster } from '../support/postgres-cluster.ts';
import {
  install,
  pack,
  PROGRAMS,
  readManifest,
  ROOT,
  run,
  say,
  withDirectory,
  writeManifest,
} from './scratch-project.ts';

const TSC = join(ROOT, 'node_modules/typescript/bin/tsc');

const manifest = await readManifest();
const newest = manifest.devDependencies['pg']!;
const oldest = /^>=(\d+\.\d+)/.exec(manifest.peerDependencies['pg']!)![1]!;
const stream = `pg-query-stream@${manifest.devDependencies['pg-query-stream']!}`;
/** The oldest that the peer range allows, one of each minor version, and the newest that is tested. */
const KNEX_VERSIONS = ['3.0.1', '3.1', '3.2', manifest.devDependencies['knex']!];
const types = ['@types/pg', '@types/node'].map((name) => `${name}@${manifest.devDependencies[name]!}`);

const PRISMA = ['@prisma/adapter-pg', '@prisma/client'].map(
  (name) => `${name}@${manifest.devDependencies[name]!}`,
);
/** Prisma's own types are not ours to check. */
const PRISMA_TYPES = { skipLibCheck: true };

/** How an application may resolve modules: each must find the types. `node10` is what old CommonJS projects have. */
const RESOLUTIONS = [
  { module: 'nodenext', moduleResolution: 'nodenext' },
  { module: 'esnext', moduleResolution: 'bundler' },
  { module: 'commonjs', moduleResolution: 'node10', ignoreDeprecations: '6.0' },
];

async function main(directory: string): Promise<void> {
  const cluster = await PostgresCluster.start({ standbys: 0 });
  try {
    const tarball = await pack(
      ROOT,
      directory,
      /^(dist\/|package\.json$|README\.md$|LICENSE$|CHANGELOG\.md$)/,
    );
    await writeManifest(directory, {});
    await cp(PROGRAMS, directory, { recursive: true });
    await install(directory, [tarball, `pg@${newest}`, ...types]);
    for (const program of ['esm.mjs', 'common.cjs'])
      await runProgram(directory, program, cluster.connectionString());
    say('nothing but pg is needed beside it');
    await install(directory, [`knex@${KNEX_VERSIONS.at(-1)!}`, stream]);
    for (const resolution of RESOLUTIONS) await typeCheck(directory, resolution, 'types.ts');
    for (const version of [newest, oldest]) {
      if (version !== newest) await install(directory, [`pg@${version}`]);
      for (const program of ['esm.mjs', 'common.cjs']) {
        await runProgram(directory, program, cluster.connectionString());
        say(`${program} runs with pg ${version}`);
      }
    }
    await install(directory, [`pg@${newest}`]);
    for (const version of KNEX_VERSIONS) {
      await install(directory, [`knex@${version}`]);
      for (const program of ['knex.mjs', 'knex.cjs'])
        await runProgram(directory, program, cluster.connectionString());
      say(`knex.mjs and knex.cjs run with Knex ${version}`);
    }
    await install(directory, PRISMA);
    for (const resolution of RESOLUTIONS) {
      await typeCheck(directory, { ...resolution, ...PRISMA_TYPES }, 'prisma-types.ts');
    }
    await giveItsOwnCopyOfPg(directory, '@prisma/adapter-pg');
    for (const program of ['prisma.mjs', 'prisma.cjs']) {
      await runProgram(directory, program, cluster.connectionString());
      say(`${program} runs with ${PRISMA.join(' and ')}`);
    }
  } finally {
    await cluster.stop();
  }
}

/** As an exact version in its manifest would. */
async function giveItsOwnCopyOfPg(directory: string, name: string): Promise<void> {
  const modules = join(directory, 'node_modules');
  await cp(join(modules, 'pg'), join(modules, name, 'node_modules/pg'), { recursive: true });
}

async function typeCheck(
  directory: string,
  resolution: Readonly<Record<string, string | boolean>>,
  file: string,
): Promise<void> {
  const compilerOptions = {
    ...resolution,
    target: 'es2022',
    lib: ['es2022'],
    types: ['node'],
    strict: true,
    // The types of the package itself are checked as well.
    skipLibCheck: false,
    esModuleInterop: true,
    noEmit: true,
  };
  await writeFile(join(directory, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: [file] }));
  await run(process.execPath, [TSC, '-p', directory], { cwd: directory });
  say(`${file} is right with moduleResolution ${resolution['moduleResolution']!}`);
}

async function runProgram(directory: string, program: string, url: string): Promise<void> {
  const options = { cwd: directory, env: { ...process.env, DATABASE_URL: url }, timeout: 60_000 };
  const { stdout, stderr } = await run(process.execPath, [program], options);
  if (stdout !== 'ok\n' || stderr !== '')
    throw new Error(`${program} printed ${JSON.stringify({ stdout, stderr })}`);
}

await withDirectory(main);
