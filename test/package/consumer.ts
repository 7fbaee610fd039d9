/**
 * Uses the package as its users do: packs it, installs the tarball beside pg into an empty directory outside this
 * repository, and there type-checks and runs small programs, as an ES module and as CommonJS, against a real server.
 *
 * Run by `npm run check:package`, after `npm run build`. Takes the versions of pg and Knex from package.json: the newest
 * that is tested, and the oldest that the peer range allows.
 */
import { execFile } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { PostgresCluster } from '../support/postgres-cluster.ts';

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PROGRAMS = join(dirname(fileURLToPath(import.meta.url)), 'programs');
const TSC = join(ROOT, 'node_modules/typescript/bin/tsc');

interface Manifest {
  readonly devDependencies: Readonly<Record<string, string>>;
  readonly peerDependencies: Readonly<Record<string, string>>;
}

const manifest = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as Manifest;
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

async function main(): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'holdfast-consumer-'));
  const cluster = await PostgresCluster.start({ standbys: 0 });
  try {
    const tarball = await pack(directory);
    await writeFile(join(directory, 'package.json'), JSON.stringify({ name: 'consumer', private: true }));
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
  } catch (error) {
    // What a child process printed says more than its exit code.
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    process.stderr.write(stdout + stderr);
    throw error;
  } finally {
    await cluster.stop();
    await rm(directory, { recursive: true, force: true });
  }
}

async function pack(directory: string): Promise<string> {
  const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', directory], { cwd: ROOT });
  const [packed] = JSON.parse(stdout) as { filename: string; files: { path: string }[] }[];
  const paths = packed!.files.map(({ path }) => path);
  const strange = paths.filter(
    (path) => !/^(dist\/|package\.json$|README\.md$|LICENSE$|CHANGELOG\.md$)/.test(path),
  );
  if (strange.length > 0) throw new Error(`the package holds what no user needs: ${strange.join(', ')}`);
  say(`${packed!.filename} has ${paths.length} files`);
  return join(directory, packed!.filename);
}

async function install(directory: string, packages: readonly string[]): Promise<void> {
  await run('npm', ['install', '--no-audit', '--no-fund', '--ignore-scripts', ...packages], {
    cwd: directory,
  });
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

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

await main();
