import { setTimeout as sleep } from 'node:timers/promises';
import type { ConnectionConfiguration } from 'tedious';
import type { PostgresClusterOptions } from '../postgres-cluster.ts';
import { PostgresCluster } from '../postgres-cluster.ts';
import type { PostgresNode } from '../postgres-node.ts';
import { APPLICATION, SUPERUSER } from '../postgres-template.ts';
import { createTokenTablesSql } from '../../../src/tedious/token/token-objects.ts';
import type { GatewayTls } from './gateway/gateway-connection.ts';
import { TdsGateway } from './gateway/gateway.ts';
import { PostgresEngine, SETUP } from './tsql/postgres-engine.ts';
import { runStock } from './run-stock.ts';

export interface SqlServerClusterOptions extends PostgresClusterOptions {
  readonly tls?: GatewayTls;
  /** The database has the tables of commit tokens. Default true. */
  readonly tokens?: boolean;
  /** T-SQL; each text is a batch. */
  readonly setUp?: readonly string[];
}

/** Servers that speak TDS, in front of a primary and its standbys of PostgreSQL: one gateway for each node. */
export class SqlServerCluster {
  readonly postgres: PostgresCluster;
  readonly #gateways = new Map<PostgresNode, TdsGateway>();

  private constructor(postgres: PostgresCluster) {
    this.postgres = postgres;
  }

  static async start(options: SqlServerClusterOptions = {}): Promise<SqlServerCluster> {
    const { tls, tokens = true, setUp = [], ...forPostgres } = options;
    const cluster = new SqlServerCluster(await PostgresCluster.start(forPostgres));
    const { postgres } = cluster;
    await postgres.primary.query(SETUP.replaceAll('current_database()', `'${APPLICATION.database}'`));
    for (const [index, node] of postgres.nodes.entries()) {
      const serverName = `SQL${index + 1}`;
      const engine = new PostgresEngine({ host: node.host, port: node.port, serverName });
      const gateway = new TdsGateway({ engine, serverName, ...(tls === undefined ? {} : { tls }) });
      await gateway.start();
      cluster.#gateways.set(node, gateway);
    }
    for (const [index, { host, port }] of cluster.gateways.entries()) {
      await postgres.primary.query(
        `INSERT INTO sys.replica_list VALUES ('SQL${index + 1}', 'TCP://${host}:${port}', 'TCP://${host}:5022')`,
      );
    }
    const texts = [...(tokens ? [createTokenTablesSql('holdfast')] : []), ...setUp];
    for (const text of texts) await runStock(cluster.stockConfig({ encrypt: tls !== undefined }), text);
    return cluster;
  }

  /** The one in front of the primary. */
  get gateway(): TdsGateway {
    return this.#gateways.get(this.postgres.primary)!;
  }

  get gateways(): readonly TdsGateway[] {
    return this.postgres.nodes.map((node) => this.#gateways.get(node)!);
  }

  get hosts(): readonly { readonly host: string; readonly port: number }[] {
    return this.gateways.map(({ host, port }) => ({ host, port }));
  }

  /** For the driver: all hosts. */
  config(options: ConnectionConfiguration['options'] = {}): ConnectionConfiguration & {
    failover: { hosts: { host: string; port: number }[]; timeoutMillis?: number };
  } {
    const stock = this.stockConfig(options);
    return { ...stock, failover: { hosts: [...this.hosts] } };
  }

  /** For plain tedious: the primary alone. */
  stockConfig(options: ConnectionConfiguration['options'] = {}): ConnectionConfiguration {
    return {
      server: '127.0.0.1',
      authentication: {
        type: 'default',
        options: { userName: APPLICATION.user, password: APPLICATION.password },
      },
      options: {
        port: this.gateway.port,
        database: APPLICATION.database,
        encrypt: false,
        trustServerCertificate: true,
        ...options,
      },
    };
  }

  /** As a loss of power, behind which the standbys have all WAL up to now. */
  async killPrimary(): Promise<void> {
    await this.ship();
    const { primary } = this.postgres;
    await primary.kill();
    this.#gateways.get(primary)!.kill();
  }

  /** Kills the primary, and promotes a standby. */
  async replacePrimary(): Promise<void> {
    await this.killPrimary();
    await this.postgres.failover();
  }

  async ship(): Promise<void> {
    if (this.postgres.standbys.length === 0) return;
    const { rows } = await this.postgres.primary.query<{ upTo: string }>(
      `SELECT pg_logical_emit_message(true, '', '')::text AS "upTo"`,
    );
    await this.postgres.waitForReplay({ upTo: rows[0]!.upTo });
  }

  /** Brings a node back as a secondary of the current primary, and listens in front of it again. */
  async rejoin(node: PostgresNode): Promise<void> {
    await this.postgres.rejoin(node);
    const gateway = this.#gateways.get(node)!;
    gateway.kill();
    await sleep(1);
    await gateway.start();
  }

  /** Before each test: every node runs and follows the primary, and nothing is to go wrong. */
  async ready(): Promise<void> {
    const { postgres } = this;
    if (!postgres.primary.isRunning) await postgres.primary.start();
    for (const node of postgres.nodes) {
      const isFollower = node.isRunning && postgres.standbys.includes(node);
      if (node !== postgres.primary && !isFollower) await postgres.rejoin(node);
      const gateway = this.#gateways.get(node)!;
      gateway.faults.clear();
      gateway.refuseLogins(null);
      gateway.kill();
      await sleep(1);
      await gateway.start();
    }
    await postgres.waitForReplay();
  }

  async stop(): Promise<void> {
    for (const gateway of this.gateways) await gateway.stop();
    await this.postgres.stop();
  }

  static readonly superuser = SUPERUSER;
}
