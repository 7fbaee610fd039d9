import pg from 'pg';
import { afterAll, beforeAll, beforeEach } from 'vitest';
import type { ClientConfig, PoolConfig } from '../../src/pg.ts';
import { createTokenObjectsSql } from '../../src/pg/token/token-objects.ts';
import { Client, Pool } from '../../src/pg.ts';
import type { PostgresClusterOptions } from './postgres-cluster.ts';
import { PostgresCluster } from './postgres-cluster.ts';
import type { PostgresNode } from './postgres-node.ts';
import { TcpProxy } from './tcp-proxy.ts';
import { waitFor } from './wait-for.ts';
import { WatchedEvents } from './watched-events.ts';

/** The application's client, and what it was told beside the results. */
export type WatchedClient = Client & { readonly seen: WatchedEvents };
/** The same for a pool; `seen` holds the errors of its idle clients. */
export type WatchedPool = Pool & { readonly seen: WatchedEvents };

export interface FailoverLabOptions extends PostgresClusterOptions {
  /** Runs once, as the application's role. */
  readonly setUp?: string;
  /** The database has the objects of commit tokens. Default: as the variable HOLDFAST_TEST_TOKENS says. */
  readonly tokens?: boolean;
}

/**
 * A cluster with a proxy in front of each node, and an application on it.
 *
 * The table `note (text text)` has no key: what was written twice is there twice.
 */
export class FailoverLab {
  readonly #options: FailoverLabOptions;
  readonly #proxies = new Map<PostgresNode, TcpProxy>();
  #cluster: PostgresCluster | null = null;
  #closers: (() => Promise<void>)[] = [];

  private constructor(options: FailoverLabOptions) {
    this.#options = options;
  }

  static async start(options: FailoverLabOptions = {}): Promise<FailoverLab> {
    const lab = new FailoverLab(options);
    await lab.#start();
    return lab;
  }

  /** One for the tests of the suite that is being described: started before them, ready before each, stopped behind them. */
  static forThisSuite(options: FailoverLabOptions = {}): FailoverLab {
    const lab = new FailoverLab(options);
    beforeAll(async () => {
      await lab.#start();
    });
    beforeEach(async () => {
      await lab.ready();
    });
    afterAll(async () => {
      await lab.stop();
    });
    return lab;
  }

  async #start(): Promise<void> {
    const { setUp = '', tokens = Boolean(process.env['HOLDFAST_TEST_TOKENS']), ...options } = this.#options;
    this.#cluster = await PostgresCluster.start(options);
    for (const node of this.#cluster.nodes) this.#proxies.set(node, await TcpProxy.start(node));
    if (tokens) await this.primary.query(createTokenObjectsSql({ schema: 'holdfast' }));
    const client = await this.stock();
    await client.query(`CREATE TABLE note (text text); ${setUp}`);
  }

  get cluster(): PostgresCluster {
    if (this.#cluster === null) throw new Error('the lab is not started');
    return this.#cluster;
  }

  get primary(): PostgresNode {
    return this.cluster.primary;
  }

  /** The one in front of the primary. */
  get proxy(): TcpProxy {
    return this.proxyOf(this.primary);
  }

  get proxies(): readonly TcpProxy[] {
    return [...this.#proxies.values()];
  }

  /** Those in front of the nodes of which one will be promoted. */
  get standbyProxies(): readonly TcpProxy[] {
    return this.cluster.standbys.map((node) => this.proxyOf(node));
  }

  proxyOf(node: PostgresNode): TcpProxy {
    return this.#proxies.get(node)!;
  }

  /** What the application is configured with: all hosts, through their proxies. */
  connectionString(): string {
    return this.cluster.connectionString({ hosts: this.proxies });
  }

  async connect(config: ClientConfig = {}): Promise<WatchedClient> {
    const client = new Client({ connectionString: this.connectionString(), ...config });
    const watched = Object.assign(client, { seen: new WatchedEvents(client) });
    this.#closers.push(async () => {
      await client.end();
    });
    await client.connect();
    return watched;
  }

  pool(config: PoolConfig = {}): WatchedPool {
    const pool = new Pool({ connectionString: this.connectionString(), ...config });
    this.#closers.push(async () => {
      if (!pool.ended && !pool.ending) await pool.end();
    });
    return Object.assign(pool, { seen: new WatchedEvents(pool) });
  }

  /** Plain pg, past the proxy, as the application's role: another session of the same database. */
  async stock(config: pg.ClientConfig = {}): Promise<pg.Client & { readonly seen: WatchedEvents }> {
    const client = new pg.Client(this.primary.connectionConfig(config));
    const watched = Object.assign(client, { seen: new WatchedEvents(client) });
    this.#closers.push(async () => {
      await client.end();
    });
    await client.connect();
    return watched;
  }

  /** Kills the primary as a loss of power would, and promotes a standby that has all of its WAL up to now. */
  async replacePrimary(): Promise<void> {
    await this.shipAll();
    await this.primary.kill();
    await this.cluster.failover();
  }

  /** Kills the primary, and waits until every client has noticed: what it sends from now on never was on the old wire. */
  async killPrimary(): Promise<void> {
    await this.shipAll();
    await this.primary.kill();
    await waitFor(() => this.proxy.connections.length === 0, { message: 'the clients to notice' });
  }

  /** Waits until the standbys have all WAL up to now, that of open transactions too. */
  async shipAll(): Promise<void> {
    // Of itself a server does not flush the last page of an open transaction; with a commit it does.
    // Up to there only: a COPY that is still under way writes on, and nothing flushes that.
    const { rows } = await this.primary.query<{ upTo: string }>(
      `SELECT pg_logical_emit_message(true, '', '')::text AS "upTo"`,
    );
    await this.cluster.waitForReplay({ upTo: rows[0]!.upTo });
  }

  /** What is in the table now, sorted. */
  async notes(): Promise<string[]> {
    const { rows } = await this.primary.query<{ text: string }>('SELECT text FROM note ORDER BY text');
    return rows.map(({ text }) => text);
  }

  /** Before each test: every node runs and follows the primary, the proxies let everything pass, the table is empty. */
  async ready(): Promise<void> {
    await this.hangUp();
    for (const proxy of this.proxies) await proxy.reset();
    if (!this.primary.isRunning) await this.primary.start();
    for (const node of this.cluster.nodes) {
      if (node !== this.primary && !(node.isRunning && this.cluster.standbys.includes(node)))
        await this.cluster.rejoin(node);
    }
    await this.primary.query('TRUNCATE note');
    await this.cluster.waitForReplay();
  }

  /** Ends what the application has open. */
  async hangUp(): Promise<void> {
    const closers = this.#closers;
    this.#closers = [];
    await Promise.all(
      closers.map(async (close) => {
        await close().catch(() => undefined);
      }),
    );
  }

  async stop(): Promise<void> {
    await this.hangUp();
    for (const proxy of this.proxies) await proxy.stop();
    await this.#cluster?.stop();
  }
}
