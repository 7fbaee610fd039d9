import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';
import type { FailoverOptions } from '../../src/options.ts';
import { Client, type ClientConfig } from '../../src/pg.ts';
import { FailoverLab, type FailoverLabOptions, type WatchedClient } from '../support/failover-lab.ts';
import { PgBouncer, type PoolMode } from '../support/pgbouncer.ts';
import { APPLICATION } from '../support/postgres-template.ts';
import { WatchedEvents } from '../support/watched-events.ts';

export interface PoolerLabOptions extends FailoverLabOptions {
  readonly poolMode: PoolMode;
}

interface HostAndPort {
  readonly host: string;
  readonly port: number;
}

/** A cluster whose servers are behind poolers: application → PgBouncer → proxy → server. */
export class PoolerLab {
  readonly cluster: FailoverLab;
  readonly #poolMode: PoolMode;
  #bouncers: PgBouncer[] = [];
  #closers: (() => Promise<void>)[] = [];

  private constructor(cluster: FailoverLab, poolMode: PoolMode) {
    this.cluster = cluster;
    this.#poolMode = poolMode;
  }

  static forThisSuite({ poolMode, ...options }: PoolerLabOptions): PoolerLab {
    const cluster = FailoverLab.forThisSuite(options);
    const lab = new PoolerLab(cluster, poolMode);
    const close = async (): Promise<void> => {
      await lab.#close();
    };
    beforeAll(close);
    beforeEach(close);
    afterEach(close);
    afterAll(close);
    return lab;
  }

  async #close(): Promise<void> {
    await Promise.all(
      this.#closers.splice(0).map(async (one) => {
        await one().catch(() => undefined);
      }),
    );
    await Promise.all(
      this.#bouncers.splice(0).map(async (one) => {
        await one.stop();
      }),
    );
  }

  /** A PgBouncer in front of a server, by default the primary. It lives to the end of the test. */
  async bouncer(
    settings: Readonly<Record<string, string | number>> = {},
    target: HostAndPort = this.cluster.proxy,
  ): Promise<PgBouncer> {
    const bouncer = await PgBouncer.start(target, this.#poolMode, settings);
    this.#bouncers.push(bouncer);
    return bouncer;
  }

  /** One in front of each server. */
  async bouncers(settings: Readonly<Record<string, string | number>> = {}): Promise<readonly PgBouncer[]> {
    return await Promise.all(this.cluster.proxies.map(async (proxy) => await this.bouncer(settings, proxy)));
  }

  config(
    hosts: readonly HostAndPort[],
    failover: FailoverOptions | false = { pooler: 'session' },
  ): ClientConfig {
    const { user, password, database } = APPLICATION;
    const list = hosts.map(({ host, port }) => `${host}:${port}`).join(',');
    return { connectionString: `postgres://${user}:${password}@${list}/${database}`, failover };
  }

  /** Through these poolers. */
  async connect(
    hosts: readonly HostAndPort[],
    failover: FailoverOptions | false = { pooler: 'session' },
    extra: ClientConfig = {},
  ): Promise<WatchedClient> {
    const client = new Client({ ...this.config(hosts, failover), ...extra });
    const watched = Object.assign(client, { seen: new WatchedEvents(client) });
    this.#closers.push(async () => {
      await client.end();
    });
    await client.connect();
    return watched;
  }

  /** Plain pg through a pooler: somebody else's session. */
  async stock(host: HostAndPort): Promise<pg.Client & { readonly seen: WatchedEvents }> {
    const client = new pg.Client({ ...APPLICATION, host: host.host, port: host.port });
    const watched = Object.assign(client, { seen: new WatchedEvents(client) });
    this.#closers.push(async () => {
      await client.end();
    });
    await client.connect();
    return watched;
  }

  async notes(): Promise<string[]> {
    return await this.cluster.notes();
  }

  /** Process id of the backend behind a client's session. */
  async backendOf(client: { query(sql: string): Promise<pg.QueryResult> }): Promise<number> {
    const { rows } = await client.query('SELECT pg_backend_pid() AS pid');
    return (rows[0] as { pid: number }).pid;
  }
}
