import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ProcessSignal } from './server-processes.ts';
import {
  childrenOf,
  hasDeathSignal,
  isProcessAlive,
  removeSharedMemory,
  signalProcess,
  worksIn,
} from './server-processes.ts';
import { serverEnvironment, serverUser } from './server-user.ts';
import { waitFor } from './wait-for.ts';

/** The processes of one server: the postmaster, its children, and those that survived it. */
export class ServerProcess {
  readonly #dataDirectory: string;
  #postmaster: ChildProcess | undefined;
  #frozen: number[] = [];
  #frozenBackends: number[] = [];
  #orphans: number[] = [];
  #freedSharedMemory: string | undefined;

  constructor(dataDirectory: string) {
    this.#dataDirectory = dataDirectory;
  }

  get isRunning(): boolean {
    return this.#postmaster !== undefined;
  }

  get isFrozen(): boolean {
    return this.#frozen.length > 0;
  }

  get pid(): number | undefined {
    return this.#postmaster?.pid;
  }

  get orphans(): readonly number[] {
    return this.#orphans.filter((pid) => worksIn(pid, this.#dataDirectory));
  }

  /**
   * What the server itself says in postmaster.pid. To connect until it works is not enough: an orphan of an earlier
   * life, or somebody else's server, may answer on the port.
   */
  get isReady(): boolean {
    const lines = this.#postmasterFile();
    return Number(lines[0]) === this.pid && ['ready', 'standby'].includes(lines[7]?.trim() ?? '');
  }

  start(executable: string, logPath: string): void {
    const command = [executable, '-D', this.#dataDirectory];
    if (hasDeathSignal()) command.unshift('setpriv', '--pdeathsig=INT', '--');
    const log = openSync(logPath, 'a', 0o644);
    // Detached: a Ctrl-C in the terminal must not reach the servers before their owner has had its say.
    const child = spawn(command[0]!, command.slice(1), {
      ...serverUser(),
      cwd: '/',
      env: serverEnvironment,
      detached: true,
      stdio: ['ignore', log, log],
    });
    closeSync(log);
    this.#postmaster = child;
    const gone = (): void => {
      if (this.#postmaster === child) this.#postmaster = undefined;
    };
    child.on('error', gone).on('exit', gone);
    child.unref();
  }

  signal(signal: ProcessSignal): void {
    if (this.pid !== undefined) signalProcess(this.pid, signal);
  }

  async kill(): Promise<void> {
    const children = this.#killAll();
    await waitFor(() => !this.isRunning && !children.some(isProcessAlive), { intervalMillis: 1 });
    await this.killOrphans();
  }

  async killPostmasterOnly(): Promise<void> {
    if (this.pid === undefined) return;
    // Stopped first, so that it starts no child that would be missing in the list.
    this.signal('SIGSTOP');
    this.#orphans = childrenOf(this.pid);
    this.signal('SIGKILL');
    await waitFor(() => !this.isRunning, { intervalMillis: 1 });
  }

  async killOrphans(): Promise<void> {
    const orphans = this.orphans;
    for (const pid of orphans) signalProcess(pid, 'SIGKILL');
    await waitFor(() => !orphans.some(isProcessAlive), { intervalMillis: 1 });
    this.#orphans = [];
    if (!this.isRunning) this.#freeSharedMemory();
  }

  /** Kills everything and waits for nothing: the last act of a process. */
  killNow(): void {
    this.#killAll();
    for (const pid of this.orphans) signalProcess(pid, 'SIGKILL');
    this.#freeSharedMemory();
  }

  killBackend(pid: number): void {
    if (this.pid === undefined || !childrenOf(this.pid).includes(pid)) {
      throw new Error(`${pid} is no process of this server`);
    }
    signalProcess(pid, 'SIGKILL');
  }

  freeze(): void {
    if (this.pid === undefined || this.isFrozen) return;
    this.signal('SIGSTOP');
    const children = childrenOf(this.pid);
    for (const pid of children) signalProcess(pid, 'SIGSTOP');
    this.#frozen = [this.pid, ...children];
  }

  thaw(): void {
    this.thawBackends();
    // The postmaster last, so that it finds its children at work.
    for (const pid of this.#frozen.reverse()) signalProcess(pid, 'SIGCONT');
    this.#frozen = [];
  }

  freezeBackends(pids: readonly number[]): void {
    for (const pid of pids) signalProcess(pid, 'SIGSTOP');
    this.#frozenBackends.push(...pids);
  }

  thawBackends(): void {
    for (const pid of this.#frozenBackends) {
      if (worksIn(pid, this.#dataDirectory)) signalProcess(pid, 'SIGCONT');
    }
    this.#frozenBackends = [];
  }

  #killAll(): number[] {
    if (this.pid === undefined) return [];
    this.signal('SIGSTOP');
    const children = childrenOf(this.pid);
    for (const pid of children) signalProcess(pid, 'SIGKILL');
    this.signal('SIGKILL');
    this.#frozen = [];
    this.#frozenBackends = [];
    return children;
  }

  #postmasterFile(): string[] {
    try {
      return readFileSync(join(this.#dataDirectory, 'postmaster.pid'), 'utf8').split('\n');
    } catch {
      return [];
    }
  }

  /** A server that was killed leaves its postmaster.pid; line 7 has the key and the identifier of its segment. */
  #freeSharedMemory(): void {
    const id = this.#postmasterFile()[6]?.trim().split(/\s+/)[1];
    // Never twice: the identifier may belong to another server by now.
    if (id === undefined || id === this.#freedSharedMemory) return;
    removeSharedMemory(id);
    this.#freedSharedMemory = id;
  }
}
