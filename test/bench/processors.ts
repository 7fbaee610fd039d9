import { execFileSync } from 'node:child_process';
import { availableParallelism } from 'node:os';

/**
 * Gives this process the first processor and the server all others, as if they were two machines. Where both may use
 * all of them, the kernel tends to wake a server process on the processor of its client, where it waits for whatever the
 * client still does; that measures the scheduler. False where it can't be done: one processor only, or no `taskset`.
 */
export function separateProcessors(serverPid: number): boolean {
  const count = availableParallelism();
  if (count < 2) return false;
  try {
    bind(serverPid, `1-${count - 1}`);
    bind(process.pid, '0');
    return true;
  } catch {
    return false;
  }
}

/** Takes it back for this process: the servers that it starts from now on may run anywhere. */
export function shareProcessors(): void {
  bind(process.pid, `0-${availableParallelism() - 1}`);
}

/** All threads of a process; those that it starts later, and its children, inherit it. */
function bind(pid: number, processors: string): void {
  execFileSync('taskset', ['-a', '-c', '-p', processors, String(pid)], { stdio: 'ignore' });
}
