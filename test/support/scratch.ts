import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  readlinkSync,
  readdirSync,
  rmSync,
  statfsSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { isProcessAlive, processesIn, signalProcess } from './server-processes.ts';
import { serverUser } from './server-user.ts';

const SHARED_MEMORY = '/dev/shm';
const ROOM_NEEDED_BYTES = 1024 ** 3;
const PREFIX = 'holdfast-servers-';

/** The directory for temporary files, or /tmp if the servers' user could not get into it. */
export function reachableTmpdir(): string {
  const directory = tmpdir();
  if (serverUser() === undefined) return directory;
  for (let path = directory; ; path = dirname(path)) {
    if ((statSync(path).mode & 0o001) === 0) return '/tmp';
    if (path === dirname(path)) return directory;
  }
}

/** Data directories in memory start in a third of the time; Docker's default of 64 MB has no room for them. */
function scratchRoot(): string {
  try {
    const { bavail, bsize } = statfsSync(SHARED_MEMORY);
    if (bavail * bsize >= ROOM_NEEDED_BYTES) return SHARED_MEMORY;
  } catch {
    // Not Linux.
  }
  return reachableTmpdir();
}

/** Process ids mean something only within one pid namespace, and /dev/shm may be shared by several. */
function processNamespace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid').replace(/\D/g, '');
  } catch {
    return '0';
  }
}

const swept = new Set<string>();

/** Removes what processes that were killed have left behind, once a process. */
function sweep(root: string): void {
  if (swept.has(root)) return;
  swept.add(root);
  const mine = `${PREFIX}${processNamespace()}-`;
  for (const name of readdirSync(root)) {
    if (!name.startsWith(mine)) continue;
    const pid = Number(name.slice(mine.length).split('-')[0]);
    const path = join(root, name);
    try {
      const { uid } = lstatSync(path);
      if ((uid === process.getuid?.() || uid === serverUser()?.uid) && !isProcessAlive(pid)) {
        // Those that were frozen at the time have not noticed its end.
        for (const server of processesIn(path)) signalProcess(server, 'SIGKILL');
        rmSync(path, { recursive: true, force: true });
      }
    } catch {
      // Another process sweeps at the same time.
    }
  }
}

/** Makes an empty directory that belongs to the servers' user, for one node. The caller removes it. */
export function makeScratchDirectory(): string {
  const root = scratchRoot();
  sweep(root);
  const name = `${PREFIX}${processNamespace()}-${process.pid}-${randomBytes(4).toString('hex')}`;
  const path = join(root, name);
  mkdirSync(path, { mode: 0o700 });
  // The process's umask may have taken bits away.
  chmodSync(path, 0o700);
  const user = serverUser();
  if (user !== undefined) chownSync(path, user.uid, user.gid);
  return path;
}
