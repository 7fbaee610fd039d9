import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';

export type ProcessSignal = 'SIGSTOP' | 'SIGCONT' | 'SIGKILL' | 'SIGTERM' | 'SIGINT' | 'SIGQUIT' | 'SIGHUP';

/** Sends a signal; a process that is gone already is no error. */
export function signalProcess(pid: number, signal: ProcessSignal): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

interface ProcessState {
  readonly state: string;
  readonly parent: number;
}

/** `/proc/<pid>/stat`: pid (name) state parent …; the name may hold spaces and brackets. */
function readStat(pid: number | string): ProcessState | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const [state = '', parent = ''] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return { state, parent: Number(parent) };
  } catch {
    return undefined;
  }
}

const hasProc = existsSync('/proc/self/stat');

/** True while the process exists and is not just waiting to be reaped by its parent. */
export function isProcessAlive(pid: number): boolean {
  if (hasProc) {
    const stat = readStat(pid);
    return stat !== undefined && stat.state !== 'Z' && stat.state !== 'X';
  }
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/**
 * The children of a postmaster. Each backend calls setsid(), so a process group is of no use here.
 */
export function childrenOf(parent: number): number[] {
  if (hasProc) {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name) && readStat(name)?.parent === parent)
      .map(Number);
  }
  const { stdout } = spawnSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' });
  return stdout
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number))
    .flatMap(([pid, ppid]) => (pid !== undefined && ppid === parent ? [pid] : []));
}

/** All that work in this directory or below it. */
export function processesIn(directory: string): number[] {
  if (!hasProc) return [];
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => worksIn(pid, directory));
}

/** True if the process works in this data directory: a guard against process ids that were given out again. */
export function worksIn(pid: number, dataDirectory: string): boolean {
  if (!isProcessAlive(pid)) return false;
  if (!hasProc) return true;
  try {
    return readlinkSync(`/proc/${pid}/cwd`).startsWith(dataDirectory);
  } catch {
    return false;
  }
}

/** A server that is killed leaves its System V segment behind, and there are only 4096 in a system. */
export function removeSharedMemory(id: string): void {
  spawnSync('ipcrm', ['-m', id], { stdio: 'ignore' });
}

let deathSignal: boolean | undefined;

/** True if setpriv (util-linux) can tie a server's life to ours, so that it ends even if we are killed. */
export function hasDeathSignal(): boolean {
  deathSignal ??= spawnSync('setpriv', ['--pdeathsig=INT', '--', 'true'], { stdio: 'ignore' }).status === 0;
  return deathSignal;
}
