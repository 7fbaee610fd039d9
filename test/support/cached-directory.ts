import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { lstat, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const MANIFEST = 'holdfast-manifest.json';

/**
 * Sees to it that `path` is a directory which `fill` has filled, once a machine, and returns it.
 *
 * `fill` works on a name of its own that is renamed when it is ready, so that no process ever sees half of it, and
 * processes that do it at the same time do not disturb each other. A directory that does not belong to `ownerUid` is
 * not believed: anybody may have put it into a directory that all can write to.
 */
export async function cachedDirectory(
  path: string,
  ownerUid: number,
  fill: (emptyPath: string) => Promise<void>,
): Promise<string> {
  for (let attempt = 0; !(await isComplete(path, ownerUid)); attempt++) {
    if (attempt === 5) throw new Error(`could not make ${path}: another process or user is in the way`);
    await make(path, ownerUid, fill);
  }
  return path;
}

/** Clean-up jobs delete old files out of the directory for temporary files one by one, so the entries are counted. */
async function isComplete(path: string, ownerUid: number): Promise<boolean> {
  try {
    if ((await lstat(path)).uid !== ownerUid) return false;
    const manifest = JSON.parse(await readFile(join(path, MANIFEST), 'utf8')) as { entries: number };
    return (await countEntries(path)) === manifest.entries;
  } catch {
    return false;
  }
}

async function countEntries(path: string): Promise<number> {
  return (await readdir(path, { recursive: true })).length;
}

async function make(
  path: string,
  ownerUid: number,
  fill: (emptyPath: string) => Promise<void>,
): Promise<void> {
  const unique = `${path}.${process.pid}-${randomBytes(4).toString('hex')}`;
  try {
    await fill(unique);
    const entries = (await countEntries(unique)) + 1;
    await writeFile(join(unique, MANIFEST), JSON.stringify({ entries }), { mode: 0o644 });
    await moveInto(path, unique, ownerUid);
  } finally {
    await rm(unique, { recursive: true, force: true });
    await rm(`${unique}.broken`, { recursive: true, force: true });
  }
}

async function moveInto(path: string, unique: string, ownerUid: number): Promise<void> {
  try {
    if (existsSync(path) && !(await isComplete(path, ownerUid))) await rename(path, `${unique}.broken`);
    await rename(unique, path);
  } catch (error) {
    // Another process was faster: its directory is as good as ours, and the caller looks at it.
    if (!['ENOTEMPTY', 'EEXIST', 'ENOENT'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
}
