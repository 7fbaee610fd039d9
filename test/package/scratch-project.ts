import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const execute = promisify(execFile);

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
export const PROGRAMS = fileURLToPath(new URL('programs', import.meta.url));

interface Manifest {
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
  readonly peerDependencies: Readonly<Record<string, string>>;
}

/** The package.json in a directory of this repository. */
export async function readManifest(directory = '.'): Promise<Manifest> {
  return JSON.parse(await readFile(join(ROOT, directory, 'package.json'), 'utf8')) as Manifest;
}

/** Runs a program to its end; what it printed is part of the error if it fails. */
export async function run(
  file: string,
  args: readonly string[],
  options: { readonly cwd: string; readonly env?: NodeJS.ProcessEnv; readonly timeout?: number },
): Promise<{ stdout: string; stderr: string }> {
  return await execute(file, args, options);
}

/** Gives `use` an empty directory, and removes it. */
export async function withDirectory(use: (directory: string) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'holdfast-package-'));
  try {
    await use(directory);
  } catch (error) {
    // What a child process printed says more than its exit code.
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    process.stderr.write(stdout + stderr);
    throw error;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** `npm pack`; gives the path of the tarball. */
export async function pack(from: string, into: string, allowed: RegExp): Promise<string> {
  const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', into], { cwd: from });
  const [packed] = JSON.parse(stdout) as { filename: string; files: { path: string }[] }[];
  const paths = packed!.files.map(({ path }) => path);
  const strange = paths.filter((path) => !allowed.test(path));
  if (strange.length > 0) throw new Error(`the package holds what no user needs: ${strange.join(', ')}`);
  say(`${packed!.filename} has ${paths.length} files`);
  return join(into, packed!.filename);
}

/** `npm install` of the packages into a directory. */
export async function install(directory: string, packages: readonly string[]): Promise<void> {
  const flags = ['--no-audit', '--no-fund', '--ignore-scripts', '--prefer-offline'];
  await run('npm', ['install', ...flags, ...packages], { cwd: directory });
}

export async function writeManifest(directory: string, manifest: object): Promise<void> {
  await writeFile(
    join(directory, 'package.json'),
    JSON.stringify({ name: 'consumer', private: true, ...manifest }),
  );
}

export function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
