import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { chownSync, closeSync, existsSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { freePort } from './free-port.ts';
import { APPLICATION, SUPERUSER } from './postgres-template.ts';
import { makeScratchDirectory } from './scratch.ts';
import { hasDeathSignal } from './server-processes.ts';
import { serverEnvironment, serverUser } from './server-user.ts';
import { waitFor } from './wait-for.ts';

const EXECUTABLE = '/usr/sbin/pgbouncer';
const START_TIMEOUT_MILLIS = 10_000;
const INSTALL_TIMEOUT_MILLIS = 180_000;

export type PoolMode = 'session' | 'transaction' | 'statement';

interface Target {
  readonly host: string;
  readonly port: number;
}

/** What must not outlive this process. */
const living = new Set<PgBouncer>();
process.on('exit', () => {
  for (const bouncer of living) bouncer.killNow();
});

/** Makes sure that PgBouncer is there: Debian's package, installed if need be. Throws with what to do if it can't be. */
export function installPgBouncer(): void {
  if (existsSync(EXECUTABLE)) return;
  if (process.getuid?.() !== 0) {
    throw new Error('PgBouncer is not installed, and only root can: apt-get install pgbouncer');
  }
  const environment = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  let said = '';
  for (const args of [
    ['update', '-q'],
    ['install', '-qy', '--no-install-recommends', 'pgbouncer'],
  ]) {
    const result = spawnSync('apt-get', args, {
      env: environment,
      encoding: 'utf8',
      timeout: INSTALL_TIMEOUT_MILLIS,
    });
    said += `${result.error?.message ?? ''}${result.stdout}${result.stderr}`;
  }
  if (!existsSync(EXECUTABLE)) throw new Error(`apt-get could not install pgbouncer:\n${said.slice(-2_000)}`);
}

/** A real PgBouncer of its own in front of one server. */
export class PgBouncer {
  readonly host = '127.0.0.1';
  /** Stays the same across restarts. */
  readonly port: number;
  readonly #directory = makeScratchDirectory();
  readonly #settings: Readonly<Record<string, string | number>>;
  #target: Target;
  #process: ChildProcess | undefined;

  private constructor(port: number, target: Target, settings: Readonly<Record<string, string | number>>) {
    this.port = port;
    this.#target = target;
    this.#settings = settings;
    living.add(this);
  }

  static async start(
    target: Target,
    poolMode: PoolMode,
    settings: Readonly<Record<string, string | number>> = {},
  ): Promise<PgBouncer> {
    installPgBouncer();
    const bouncer = new PgBouncer(await freePort(), target, { pool_mode: poolMode, ...settings });
    const { user, password } = APPLICATION;
    writeFileSync(
      join(bouncer.#directory, 'users'),
      `"${user}" "${password}"\n"${SUPERUSER.user}" "${SUPERUSER.password}"\n`,
    );
    await bouncer.start();
    return bouncer;
  }

  get isRunning(): boolean {
    return this.#process !== undefined;
  }

  async start(): Promise<void> {
    this.#configure();
    const command = [EXECUTABLE, join(this.#directory, 'pgbouncer.ini')];
    if (hasDeathSignal()) command.unshift('setpriv', '--pdeathsig=KILL', '--');
    const log = openSync(join(this.#directory, 'log'), 'a');
    const child = spawn(command[0]!, command.slice(1), {
      ...serverUser(),
      cwd: '/',
      env: serverEnvironment,
      detached: true,
      stdio: ['ignore', log, log],
    });
    closeSync(log);
    this.#process = child;
    const gone = (): void => {
      if (this.#process === child) this.#process = undefined;
    };
    child.on('error', gone).on('exit', gone);
    child.unref();
    await waitFor(
      async () => {
        if (!this.isRunning) throw new Error(`PgBouncer ended:\n${this.log()}`);
        return await this.admin('SHOW VERSION').then(
          () => true,
          () => false,
        );
      },
      { timeoutMillis: START_TIMEOUT_MILLIS, message: 'PgBouncer to start' },
    );
  }

  /** As a crash: no client and no server hears a word. */
  async kill(): Promise<void> {
    this.#process?.kill('SIGKILL');
    await waitFor(() => !this.isRunning, { intervalMillis: 1 });
  }

  async restart(): Promise<void> {
    await this.kill();
    await this.start();
  }

  /** Other servers behind the same address, as an operator does it: the configuration is written and read again. */
  async pointTo(target: Target): Promise<void> {
    this.#target = target;
    this.#configure();
    await this.admin('RELOAD');
  }

  /** One command on the console, such as PAUSE, RESUME, KILL, RECONNECT, SHOW SERVERS. */
  async admin(command: string): Promise<pg.QueryResult> {
    const client = new pg.Client({
      host: this.host,
      port: this.port,
      ...SUPERUSER,
      database: 'pgbouncer',
    });
    client.on('error', () => undefined);
    await client.connect();
    try {
      return await client.query(command);
    } finally {
      await client.end();
    }
  }

  log(): string {
    return readFileSync(join(this.#directory, 'log'), 'utf8');
  }

  async stop(): Promise<void> {
    await this.kill();
    living.delete(this);
    rmSync(this.#directory, { recursive: true, force: true });
  }

  /** Kills it and waits for nothing: the last act of a process. */
  killNow(): void {
    this.#process?.kill('SIGKILL');
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #configure(): void {
    const settings = {
      listen_addr: this.host,
      listen_port: this.port,
      unix_socket_dir: '',
      auth_type: 'scram-sha-256',
      auth_file: join(this.#directory, 'users'),
      admin_users: SUPERUSER.user,
      // Of the default 15 s no test could wait for the end.
      server_login_retry: 1,
      default_pool_size: 20,
      ...this.#settings,
    };
    const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}\n`);
    const { host, port } = this.#target;
    const path = join(this.#directory, 'pgbouncer.ini');
    writeFileSync(path, `[databases]\n* = host=${host} port=${port}\n[pgbouncer]\n${lines.join('')}`);
    const owner = serverUser();
    if (owner === undefined) return;
    for (const name of ['pgbouncer.ini', 'users']) {
      const file = join(this.#directory, name);
      if (existsSync(file)) chownSync(file, owner.uid, owner.gid);
    }
  }
}
