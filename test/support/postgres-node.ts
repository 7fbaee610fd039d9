import { chownSync, readFileSync, rmSync } from 'node:fs';
import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { newSystemIdentifier, setSystemIdentifier } from './cluster-identity.ts';
import { freePort } from './free-port.ts';
import type { PostgresBinaries } from './postgres-binaries.ts';
import { postgresBinaries } from './postgres-binaries.ts';
import { APPLICATION, postgresTemplate, SUPERUSER } from './postgres-template.ts';
import { makeScratchDirectory } from './scratch.ts';
import { ServerProcess } from './server-process.ts';
import type { ProcessSignal } from './server-processes.ts';
import type { ServerSettings } from './server-settings.ts';
import { defaultSettings, formatSettings, HOST_BASED_AUTHENTICATION } from './server-settings.ts';
import { mustRunAsServerUser, serverUser } from './server-user.ts';
import { waitFor } from './wait-for.ts';

export interface PostgresNodeOptions {
  /** Major version, '14' to '18'. Default '17'. */
  readonly version?: string;
  /** Also the application_name of its walreceiver. Default 'node1'. */
  readonly name?: string;
  readonly settings?: ServerSettings;
  /** Switches fsync on. Default false: killing a process loses nothing that it has written. */
  readonly durable?: boolean;
  /** Nodes of one cluster have the same. Default: a new one. */
  readonly systemIdentifier?: bigint;
}

/** smart waits for the clients to go, fast ends their sessions, immediate crashes them. */
export type StopMode = 'smart' | 'fast' | 'immediate';

const STOP_SIGNALS = { smart: 'SIGTERM', fast: 'SIGINT', immediate: 'SIGQUIT' } as const satisfies Record<
  StopMode,
  ProcessSignal
>;
const START_TIMEOUT_MILLIS = 30_000;
const SETTINGS_FILE = 'holdfast.conf';

/** What must not outlive this process. */
const living = new Set<PostgresNode>();
process.on('exit', () => {
  for (const node of living) node.destroyNow();
});

/** One real PostgreSQL server with a data directory of its own. */
export class PostgresNode {
  readonly name: string;
  readonly version: string;
  readonly host = '127.0.0.1';
  /** Stays the same across restarts. */
  readonly port: number;
  readonly systemIdentifier: bigint;
  /** Holds the data directory, the unix socket and the log. */
  readonly directory: string;
  readonly #binaries: PostgresBinaries;
  readonly #settings: Record<string, string | number | boolean>;
  readonly #process: ServerProcess;
  #writing: Promise<void> = Promise.resolve();

  private constructor(options: PostgresNodeOptions, binaries: PostgresBinaries, port: number) {
    this.name = options.name ?? 'node1';
    this.version = options.version ?? '17';
    this.systemIdentifier = options.systemIdentifier ?? newSystemIdentifier();
    this.port = port;
    this.directory = makeScratchDirectory();
    this.#binaries = binaries;
    this.#process = new ServerProcess(this.dataDirectory);
    this.#settings = {
      ...defaultSettings(options.durable ?? false),
      port,
      unix_socket_directories: this.directory,
      ...options.settings,
    };
    living.add(this);
  }

  /** Makes the data directory; the server is not started yet. */
  static async create(options: PostgresNodeOptions = {}): Promise<PostgresNode> {
    const binaries = await postgresBinaries(options.version ?? '17');
    const template = await postgresTemplate(binaries);
    const node = new PostgresNode(options, binaries, await freePort());
    try {
      await mustRunAsServerUser('cp', ['-Rp', template, node.dataDirectory]);
      await setSystemIdentifier(node.dataDirectory, node.systemIdentifier);
      await node.writeConfiguration();
    } catch (error) {
      await node.destroy();
      throw error;
    }
    return node;
  }

  get dataDirectory(): string {
    return join(this.directory, 'data');
  }

  /** Connect with `host: node.socketDirectory` to use the unix socket. */
  get socketDirectory(): string {
    return this.directory;
  }

  get logPath(): string {
    return join(this.directory, 'server.log');
  }

  get major(): number {
    return this.#binaries.major;
  }

  /** True while the postmaster lives, frozen or not. */
  get isRunning(): boolean {
    return this.#process.isRunning;
  }

  get isFrozen(): boolean {
    return this.#process.isFrozen;
  }

  /** Process id of the postmaster. */
  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** Backends that still work although their postmaster was killed. */
  get orphans(): readonly number[] {
    return this.#process.orphans;
  }

  /** For `new pg.Client(…)` as the ordinary role of the application. */
  connectionConfig(extra: pg.ClientConfig = {}): pg.ClientConfig {
    return { host: this.host, port: this.port, ...APPLICATION, ...extra };
  }

  /** For `new pg.Client(…)` as superuser, in the same database. */
  superuserConfig(extra: pg.ClientConfig = {}): pg.ClientConfig {
    return this.connectionConfig({ ...SUPERUSER, ...extra });
  }

  connectionString(): string {
    const { user, password, database } = APPLICATION;
    return `postgres://${user}:${password}@${this.host}:${this.port}/${database}`;
  }

  /** Runs one statement as superuser on a connection of its own, through the unix socket. */
  async query<R extends pg.QueryResultRow = any>(
    sql: string,
    values?: unknown[],
  ): Promise<pg.QueryResult<R>> {
    return await this.withClient(async (client) => await client.query<R>(sql, values));
  }

  /** As `query`, for several statements on one connection. */
  async withClient<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
    const client = new pg.Client(
      this.superuserConfig({ host: this.socketDirectory, connectionTimeoutMillis: 10_000 }),
    );
    // A server that dies meanwhile rejects the query; the event would end the process.
    client.on('error', () => undefined);
    try {
      await client.connect().catch((error: unknown) => {
        throw this.#explain(`could not connect to ${this.name}`, error);
      });
      return await work(client);
    } finally {
      await client.end().catch(() => undefined);
    }
  }

  /**
   * Starts the server and waits until it accepts connections; with `wait: false` only until it is on its way.
   * A standby is a node for which `followAsStandby` was called.
   */
  async start({ wait = true }: { wait?: boolean } = {}): Promise<void> {
    if (this.pid !== undefined) throw new Error(`${this.name} runs already`);
    this.#process.start(join(this.#binaries.binDirectory, 'postgres'), this.logPath);
    if (!wait) return;
    const what = { timeoutMillis: START_TIMEOUT_MILLIS, message: `${this.name} to start` };
    await waitFor(() => this.isReady || !this.isRunning, what).catch((error: unknown) => {
      throw this.#explain(`${this.name} did not start`, error);
    });
    if (!this.isRunning) throw this.#explain(`${this.name} ended while it started`);
  }

  /** True when the server accepts connections, by its own account. */
  get isReady(): boolean {
    return this.#process.isReady;
  }

  /** Ends the server and waits until it has ended. */
  async stop(
    mode: StopMode = 'fast',
    { timeoutMillis = 30_000 }: { timeoutMillis?: number } = {},
  ): Promise<void> {
    this.thaw();
    this.beginStop(mode);
    await this.waitForExit(timeoutMillis);
  }

  /** Tells the server to end, and does not wait; a smart stop may take for ever. */
  beginStop(mode: StopMode): void {
    this.#process.signal(STOP_SIGNALS[mode]);
  }

  async waitForExit(timeoutMillis = 30_000): Promise<void> {
    await waitFor(() => !this.isRunning, { timeoutMillis, message: `${this.name} to end` }).catch(
      (error: unknown) => {
        throw this.#explain(`${this.name} did not end`, error);
      },
    );
  }

  /** As if the machine lost its power: every process is killed at once, none has a last word. */
  async kill(): Promise<void> {
    await this.#process.kill();
  }

  /** The backends live on without their postmaster: idle ones end at once, one that computes goes on and may commit. */
  async killPostmasterOnly(): Promise<void> {
    await this.#process.killPostmasterOnly();
  }

  async killOrphans(): Promise<void> {
    await this.#process.killOrphans();
  }

  /** Kills one backend, after which the server throws out all sessions and recovers by itself. */
  killBackend(pid: number): void {
    this.#process.killBackend(pid);
  }

  /** Stops all processes without ending them: connections stay open and say nothing any more. */
  freeze(): void {
    this.#process.freeze();
  }

  thaw(): void {
    this.#process.thaw();
  }

  /** Replication stops, the server goes on: what commits now (asynchronously) no standby will have. */
  async freezeWalSender(standby?: PostgresNode): Promise<void> {
    const { rows } = await this.query<{ pid: number }>(
      'SELECT pid FROM pg_stat_replication WHERE $1::text IS NULL OR application_name = $1',
      [standby?.name],
    );
    this.#process.freezeBackends(rows.map(({ pid }) => pid));
  }

  thawWalSender(): void {
    this.#process.thawBackends();
  }

  /** Makes a standby the primary, and waits until it takes writes. pg_promote() itself looks only each 100 ms. */
  async promote({ timeoutMillis = 30_000 }: { timeoutMillis?: number } = {}): Promise<void> {
    await this.withClient(async (client) => {
      await client.query('SELECT pg_promote(false)');
      await waitFor(
        async () => {
          const { rows } = await client.query<{ recovering: boolean }>(
            'SELECT pg_is_in_recovery() AS recovering',
          );
          return rows[0]?.recovering === false;
        },
        { timeoutMillis, intervalMillis: 2, message: `${this.name} to be promoted` },
      );
    });
    delete this.#settings['primary_conninfo'];
    await this.writeConfiguration();
  }

  /** Changes settings in the file, and has a running server read it again. */
  async configure(settings: ServerSettings): Promise<void> {
    Object.assign(this.#settings, settings);
    await this.writeConfiguration();
    this.reload();
  }

  reload(): void {
    this.#process.signal('SIGHUP');
  }

  /** Makes the node a standby of `primary`, from its next start or, if it is a running standby, at once. */
  async followAsStandby(primary: { readonly host: string; readonly port: number }): Promise<void> {
    if (!this.isRunning) await this.writeDataFile('standby.signal', '');
    await this.configure({
      primary_conninfo:
        `host=${primary.host} port=${primary.port} user=${SUPERUSER.user} application_name=${this.name} ` +
        'sslmode=disable gssencmode=disable connect_timeout=5',
    });
  }

  /** Writes a file into the data directory, for example `server.key`, as the server's user and readable by it only. */
  async writeDataFile(name: string, content: string | Buffer): Promise<void> {
    const path = join(this.dataDirectory, name);
    const unfinished = `${path}.new`;
    await writeFile(unfinished, content, { mode: 0o600 });
    const user = serverUser();
    if (user !== undefined) chownSync(unfinished, user.uid, user.gid);
    await rename(unfinished, path);
  }

  /** The last lines of the server's log. */
  logTail(lines = 20): string {
    try {
      return readFileSync(this.logPath, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
    } catch {
      return '';
    }
  }

  /** Empties the data directory, for example to fill it with a base backup. */
  async removeData(): Promise<void> {
    if (this.isRunning) throw new Error(`${this.name} still runs`);
    await this.killOrphans();
    await rm(this.dataDirectory, { recursive: true, force: true });
  }

  /** Writes the settings and pg_hba.conf, also into a data directory that was copied from elsewhere. */
  async writeConfiguration(): Promise<void> {
    // One after the other: two at once would rename each other's files.
    this.#writing = this.#writing
      .catch(() => undefined)
      .then(async () => {
        await this.writeDataFile(SETTINGS_FILE, formatSettings(this.#settings));
        await this.writeDataFile('postgresql.conf', `include '${SETTINGS_FILE}'\n`);
        await this.writeDataFile('pg_hba.conf', HOST_BASED_AUTHENTICATION);
      });
    await this.#writing;
  }

  /** Ends the server in whatever state it is, and removes all its files. */
  async destroy(): Promise<void> {
    this.thaw();
    if (this.isRunning) {
      this.beginStop('immediate');
      await this.waitForExit(2_000).catch(async () => {
        await this.kill();
      });
    }
    await this.killOrphans();
    living.delete(this);
    await rm(this.directory, { recursive: true, force: true, maxRetries: 5 });
  }

  /** As `destroy`, without waiting for anything: the last act of a process. @internal */
  destroyNow(): void {
    this.#process.killNow();
    try {
      rmSync(this.directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 10 });
    } catch {
      // The next process that uses the harness sweeps it up.
    }
  }

  #explain(what: string, cause?: unknown): Error {
    const reason = cause instanceof Error ? `: ${cause.message}` : '';
    return new Error(`${what}${reason}\nlog of ${this.name}:\n${this.logTail()}`, { cause });
  }
}
