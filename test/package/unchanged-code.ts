/**
 * Puts the driver under programs that know nothing of it, in the two ways that there are, where the packages are
 * installed: by `holdfast/register`, and by `holdfast-pg` in place of pg. Programs on plain pg, and libraries that
 * require pg by themselves, must come through the death of their primary.
 *
 * Run by `npm run check:package`, after `npm run build`. Versions are those of the other tests.
 */
import { spawn } from 'node:child_process';
import { cp, mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Client } from 'pg';
import { PostgresCluster } from '../support/postgres-cluster.ts';
import { APPLICATION } from '../support/postgres-template.ts';
import { waitFor } from '../support/wait-for.ts';
import {
  install,
  pack,
  PROGRAMS,
  readManifest,
  ROOT,
  say,
  withDirectory,
  writeManifest,
} from './scratch-project.ts';

const PACKAGE_FILES = /^((dist|lib|esm)\/|package\.json$|README\.md$|LICENSE$|CHANGELOG\.md$)/;
/** What is tried in the middle of something; each leaves two notes. */
const LIBRARIES = [
  'knex',
  'drizzle-orm',
  'slonik',
  'pg-boss',
  'connect-pg-simple',
  'pg-cursor',
  'pg-query-stream',
];
/** It demands an exact version of pg, which only an override gives it. */
const EXACT = 'pg-promise';

const versions = {
  ...(await readManifest()).devDependencies,
  ...(await readManifest('test/orms')).dependencies,
};
const packageOf = (name: string): string => `${name}@${versions[name]!}`;
const libraries = [...LIBRARIES, EXACT, 'express-session'].map(packageOf);

interface Call {
  /** For node, the program included. */
  readonly args: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

async function main(directory: string): Promise<void> {
  const cluster = await PostgresCluster.start({ standbys: 1 });
  try {
    const holdfast = await pack(ROOT, directory, PACKAGE_FILES);
    const alias = await pack(join(ROOT, 'packages/holdfast-pg/dist'), directory, PACKAGE_FILES);
    await query(cluster, 'CREATE TABLE note (text text)');
    await registered(join(directory, 'registered'), holdfast, cluster);
    await overridden(join(directory, 'overridden'), { holdfast, alias }, cluster);
  } finally {
    await cluster.stop();
  }
}

async function registered(directory: string, holdfast: string, cluster: PostgresCluster): Promise<void> {
  await makeProject(directory, {});
  await install(directory, [holdfast, packageOf('pg'), ...libraries]);
  const preload = { NODE_OPTIONS: '--require holdfast/register' };
  const project = { directory, cluster };
  await comesThrough(project, { args: ['--require', 'holdfast/register', 'transaction.cjs'] }, 2);
  await comesThrough(project, { args: ['--import', 'holdfast/register', 'transaction.mjs'] }, 2);
  await comesThrough(
    project,
    { args: ['tools.mjs', ...LIBRARIES], environment: preload },
    2 * LIBRARIES.length,
  );
  await runs(project, { args: ['registered.mjs'] });
  await runs(project, { args: ['registered.mjs'], environment: preload });
  await runs(project, { args: ['traced.cjs', 'after'] });
  await runs(project, { args: ['traced.cjs', 'before'] }, /HOLDFAST_PG_LOADED_BEFORE/);
  await runs(project, { args: ['early.mjs'] }, /HOLDFAST_PG_LOADED_BEFORE/);

  // A program that has a pg of its own.
  await mkdir(join(directory, 'other/node_modules'), { recursive: true });
  await cp(join(directory, 'node_modules/pg'), join(directory, 'other/node_modules/pg'), { recursive: true });
  await writeFile(join(directory, 'other/program.cjs'), `console.log('ok');`);
  await runs(project, { args: ['other/program.cjs'], environment: preload }, /HOLDFAST_OTHER_PG.*other/);

  const native = { ...preload, NODE_PG_FORCE_NATIVE: '1' };
  await fails(project, { args: ['transaction.cjs'], environment: native }, /ConfigurationError: .*pg-native/);
  const manifest = join(directory, 'node_modules/pg/package.json');
  await rename(manifest, `${manifest}.kept`);
  await writeFile(manifest, JSON.stringify({ name: 'pg', version: '8.20.0', main: './lib' }));
  await fails(
    project,
    { args: ['transaction.cjs'], environment: preload },
    /ConfigurationError: .*pg 8\.20\.0/,
  );
  await rename(join(directory, 'node_modules/pg'), join(directory, 'node_modules/elsewhere'));
  await fails(
    project,
    { args: ['transaction.cjs'], environment: preload },
    /ConfigurationError: .*install pg/,
  );
}

async function overridden(
  directory: string,
  { holdfast, alias }: { readonly holdfast: string; readonly alias: string },
  cluster: PostgresCluster,
): Promise<void> {
  const pg = `file:${alias}`;
  // Not '$pg': npm 10 can't resolve that where a package has pg as its peer, as pg-pool has.
  await makeProject(directory, { dependencies: { pg }, overrides: { pg } });
  await install(directory, [holdfast, ...libraries]);
  const project = { directory, cluster };
  await runs(project, { args: ['alias.cjs'] });
  await comesThrough(project, { args: ['transaction.cjs'] }, 2);
  await comesThrough(project, { args: ['transaction.mjs'] }, 2);
  await comesThrough(project, { args: ['tools.mjs', ...LIBRARIES, EXACT] }, 2 * (LIBRARIES.length + 1));
}

async function makeProject(directory: string, manifest: object): Promise<void> {
  await mkdir(directory);
  await writeManifest(directory, manifest);
  await cp(join(PROGRAMS, 'unchanged'), directory, { recursive: true });
}

interface Project {
  readonly directory: string;
  readonly cluster: PostgresCluster;
}

/** A program that runs in a project, with all hosts in its environment. */
class Program {
  stdout = '';
  stderr = '';
  readonly ended: Promise<number | null>;
  readonly #child;

  constructor({ directory, cluster }: Project, { args, environment }: Call) {
    const hosts = cluster.hosts();
    this.#child = spawn(process.execPath, args, {
      cwd: directory,
      timeout: 120_000,
      env: {
        PATH: process.env['PATH'],
        DATABASE_URL: cluster.connectionString(),
        PGHOST: hosts.map(({ host }) => host).join(','),
        PGPORT: hosts.map(({ port }) => port).join(','),
        PGUSER: APPLICATION.user,
        PGPASSWORD: APPLICATION.password,
        PGDATABASE: APPLICATION.database,
        PGTARGETSESSIONATTRS: 'read-write',
        ...environment,
      },
    });
    this.#child.stdout.setEncoding('utf8').on('data', (text: string) => (this.stdout += text));
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => (this.stderr += text));
    this.ended = new Promise((resolve, reject) => {
      this.#child.on('error', reject).on('close', resolve);
    });
  }

  goOn(): void {
    this.#child.stdin.write('go on\n');
  }
}

/** The primary dies when the program says that everything is open; it must end well and leave that many notes. */
async function comesThrough(project: Project, call: Call, notes: number): Promise<void> {
  const { cluster } = project;
  await query(cluster, 'TRUNCATE note');
  const old = cluster.primary;
  const program = new Program(project, call);
  let hasEnded = false;
  void program.ended.finally(() => (hasEnded = true));
  await waitFor(() => program.stdout === 'open\n' || hasEnded, {
    timeoutMillis: 60_000,
    message: `${call.args.join(' ')} to open its transactions`,
  });
  // A server does not flush the last page of open transactions by itself, with a commit it does.
  const { rows } = await old.query<{ upTo: string }>(
    `SELECT pg_logical_emit_message(true, '', '')::text AS "upTo"`,
  );
  await cluster.waitForReplay({ upTo: rows[0]!.upTo });
  await old.kill();
  program.goOn();
  await cluster.failover();
  await expectEnd(program, call, { stdout: 'open\nok\n', stderr: /^$/ });
  const [row] = await query<{ count: number }>(cluster, 'SELECT count(*)::int FROM note');
  if (row!.count !== notes)
    throw new Error(`${call.args.join(' ')} left ${row!.count} notes and not ${notes}`);
  await cluster.rejoin(old);
  say(`${call.args.join(' ')} comes through`);
}

async function runs(project: Project, call: Call, stderr = /^$/): Promise<void> {
  await expectEnd(new Program(project, call), call, { stdout: 'ok\n', stderr });
  say(`${call.args.join(' ')} runs${stderr.source === '^$' ? '' : `, with ${stderr.source}`}`);
}

async function fails(project: Project, call: Call, stderr: RegExp): Promise<void> {
  const program = new Program(project, call);
  const code = await program.ended;
  if (code === 0 || !stderr.test(program.stderr)) throw problem(program, call, code);
  say(`${call.args.join(' ')} fails with ${stderr.source}`);
}

async function expectEnd(
  program: Program,
  call: Call,
  expected: { readonly stdout: string; readonly stderr: RegExp },
): Promise<void> {
  const code = await program.ended;
  if (code !== 0 || program.stdout !== expected.stdout || !expected.stderr.test(program.stderr))
    throw problem(program, call, code);
}

function problem({ stdout, stderr }: Program, { args }: Call, code: number | null): Error {
  return new Error(
    `${args.join(' ')} ended with ${String(code)} and printed ${JSON.stringify({ stdout, stderr }, null, 2)}`,
  );
}

async function query<Row>(cluster: PostgresCluster, text: string): Promise<Row[]> {
  const client = new Client(cluster.primary.connectionConfig());
  await client.connect();
  try {
    const { rows } = await client.query(text);
    return rows as Row[];
  } finally {
    await client.end();
  }
}

await withDirectory(main);
