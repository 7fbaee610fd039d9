import { existsSync, readFileSync } from 'node:fs';
import { chmod, copyFile, mkdir, readdir, readFile, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join, relative } from 'node:path';
import { cachedDirectory } from './cached-directory.ts';
import { reachableTmpdir } from './scratch.ts';

/** Raise it when the way in which the copy is made changes. */
const LAYOUT = 1;
/** Only needed to compile against PostgreSQL. */
const SKIPPED = /\.a$|^pkgconfig$|^pgxs$/;

export interface PostgresBinaries {
  /** As installed, e.g. `17.10.0-beta.17`. */
  readonly packageVersion: string;
  readonly major: number;
  readonly binDirectory: string;
  readonly libDirectory: string;
}

const known = new Map<string, Promise<PostgresBinaries>>();

/**
 * The binaries of one major version, copied out of node_modules into a cache that any user may read.
 *
 * The servers run as another user than root, and node_modules often lies in a home directory that is closed to others.
 */
export async function postgresBinaries(version: string): Promise<PostgresBinaries> {
  let binaries = known.get(version);
  if (binaries === undefined) {
    binaries = provide(version);
    known.set(version, binaries);
  }
  return await binaries;
}

async function provide(version: string): Promise<PostgresBinaries> {
  const { source, packageVersion } = findPackage(version);
  // One cache for each user: nobody executes what somebody else has put into a directory that all may write to.
  const cache = join(
    reachableTmpdir(),
    `holdfast-postgres-${packageVersion}-${LAYOUT}-u${process.getuid?.() ?? 0}`,
  );
  await cachedDirectory(cache, process.getuid?.() ?? 0, async (empty) => {
    await copyTree(source, empty);
    await makeSymlinks(empty, source);
  });
  return {
    packageVersion,
    major: Number.parseInt(packageVersion, 10),
    binDirectory: join(cache, 'bin'),
    libDirectory: join(cache, 'lib'),
  };
}

function findPackage(version: string): { source: string; packageVersion: string } {
  const name = `pg${version}-${process.platform}-${process.arch}`;
  // The package is a dependency of the workspace test/servers; npm may put it there or at the top.
  const workspace = createRequire(new URL('../servers/package.json', import.meta.url));
  let root: string;
  try {
    root = dirname(dirname(workspace.resolve(name)));
  } catch (cause) {
    throw new Error(
      `no PostgreSQL ${version} for ${process.platform}-${process.arch}: the package ${name} is not installed. ` +
        'test/servers/package.json lists what there is; `npm install` gets it.',
      { cause },
    );
  }
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  return { source: join(root, 'native'), packageVersion: manifest.version };
}

async function copyTree(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  // Whatever the umask here or at the time of the installation was, others must be able to read this.
  await chmod(to, 0o755);
  for (const entry of await readdir(from, { withFileTypes: true })) {
    if (SKIPPED.test(entry.name)) continue;
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (entry.isDirectory()) await copyTree(source, target);
    else if (entry.isFile()) {
      await copyFile(source, target);
      await chmod(target, basename(from) === 'bin' ? 0o755 : 0o644);
    }
  }
}

/** npm packages can't hold symbolic links; the package's own install script would make them, if it were run. */
async function makeSymlinks(root: string, source: string): Promise<void> {
  const list = join(source, 'pg-symlinks.json');
  if (!existsSync(list)) return;
  const links = JSON.parse(await readFile(list, 'utf8')) as { source: string; target: string }[];
  for (const link of links) {
    const path = join(root, relative('native', link.target));
    if (existsSync(path)) continue;
    await symlink(relative(dirname(link.target), link.source), path);
  }
}
