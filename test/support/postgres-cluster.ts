import { takeBaseBackup } from './base-backup.ts';
import { newSystemIdentifier } from './cluster-identity.ts';
import { PostgresNode } from './postgres-node.ts';
import { APPLICATION } from './postgres-template.ts';
import type { ServerSettings } from './server-settings.ts';
import { setTimeout as sleep } from 'node:timers/promises';
import { waitFor } from './wait-for.ts';

export interface PostgresClusterOptions {
  /** Major version, '14' to '18'. Default '17'. */
  readonly version?: string;
  /** Default 1. */
  readonly standbys?: number;
  /** A COMMIT waits until one standby has it on disk. Default false. */
  readonly synchronous?: boolean;
  /** For all nodes. */
  readonly settings?: ServerSettings;
  /** Switches fsync on. Default false. */
  readonly durable?: boolean;
}

export interface HostAndPort {
  readonly host: string;
  readonly port: number;
}

export interface ConnectionStringOptions {
  /** Default: the nodes themselves; for example proxies in front of them. */
  readonly hosts?: readonly HostAndPort[];
  readonly user?: string;
  readonly password?: string;
  readonly database?: string;
  /** Default `{ target_session_attrs: 'read-write' }`. */
  readonly parameters?: Readonly<Record<string, string>>;
}

/** How long a checkpointer may take to read its settings again (see `#setSynchronousStandbys`). */
const SETTLE_MILLIS = 100;
const PAGE_BYTES = 8192n;
/** Of an ordinary page of the WAL, and of the first page of a segment. */
const PAGE_HEADER_BYTES = [24n, 40n];

interface Position {
  readonly node: PostgresNode;
  readonly position: bigint;
}

/** A primary and its streaming standbys, all real servers on this machine. */
export class PostgresCluster {
  /** In the order of their making; node1 is the first primary. */
  readonly nodes: readonly PostgresNode[];
  readonly #synchronous: boolean;
  #primary: PostgresNode;
  readonly #standbys: Set<PostgresNode>;

  private constructor(nodes: readonly PostgresNode[], synchronous: boolean) {
    this.nodes = nodes;
    this.#synchronous = synchronous;
    this.#primary = nodes[0]!;
    this.#standbys = new Set(nodes.slice(1));
  }

  /** Primary and standbys are copies of one template, so no base backup is needed: they stream from the start on. */
  static async start(options: PostgresClusterOptions = {}): Promise<PostgresCluster> {
    const { standbys = 1, synchronous = false, ...forNodes } = options;
    const systemIdentifier = newSystemIdentifier();
    const names = Array.from({ length: 1 + standbys }, (_, index) => `node${index + 1}`);
    const made = await Promise.allSettled(
      names.map(async (name) => await PostgresNode.create({ ...forNodes, name, systemIdentifier })),
    );
    const nodes = made.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    try {
      const failed = made.find((result) => result.status === 'rejected');
      if (failed !== undefined) throw failed.reason;
      const cluster = new PostgresCluster(nodes, synchronous && standbys > 0);
      await cluster.#startAll();
      return cluster;
    } catch (error) {
      await Promise.all(
        nodes.map(async (node) => {
          await node.destroy();
        }),
      );
      throw error;
    }
  }

  /** The node that is the primary, or was it when it died: `failover()` chooses the next one. */
  get primary(): PostgresNode {
    return this.#primary;
  }

  /** The nodes that follow the current primary. */
  get standbys(): readonly PostgresNode[] {
    return this.nodes.filter((node) => this.#standbys.has(node));
  }

  hosts(): HostAndPort[] {
    return this.nodes.map(({ host, port }) => ({ host, port }));
  }

  /** A libpq URL with all hosts, for the ordinary role of the application. */
  connectionString(options: ConnectionStringOptions = {}): string {
    const { hosts = this.hosts(), parameters = { target_session_attrs: 'read-write' } } = options;
    const { user, password, database } = { ...APPLICATION, ...options };
    const list = hosts.map(({ host, port }) => `${host}:${port}`).join(',');
    const query = new URLSearchParams(parameters).toString();
    return `postgres://${user}:${password}@${list}/${database}${query === '' ? '' : `?${query}`}`;
  }

  /**
   * Promotes the most advanced living standby and makes the others follow it. The old primary is left as it is, dead
   * or alive; `rejoin` brings it back.
   *
   * With synchronous replication no COMMIT is acknowledged by one server alone at any moment if there is another
   * standby: the names are in force on every standby long before it is promoted. Nor does one wait for ever: the
   * others have been told whom to follow by then, or, if there is none, the names have been cleared.
   */
  async failover(): Promise<PostgresNode> {
    const candidates = this.standbys.filter((node) => node.isRunning && !node.isFrozen);
    if (candidates.length === 0) throw new Error('no standby is left that could be promoted');
    const old = this.#primary;
    const positions = await Promise.all(candidates.map(async (node) => await this.#stopReceiving(node, old)));
    const next = positions.reduce((best, one) => (one.position > best.position ? one : best)).node;
    const others = candidates.filter((node) => node !== next);
    if (this.#synchronous && others.length === 0) await this.#setSynchronousStandbys(next, false);
    await Promise.all(
      others.map(async (node) => {
        await node.followAsStandby(next);
      }),
    );
    await next.promote();
    this.#primary = next;
    this.#standbys.delete(next);
    await this.#waitUntilStreaming(others);
    return next;
  }

  /** Makes a former primary, or any node, a standby of the current primary: with fresh data, as it may have diverged. */
  async rejoin(node: PostgresNode): Promise<void> {
    const primary = this.#primary;
    if (node === primary) throw new Error(`${node.name} is the primary`);
    if (node.isRunning) await node.stop('immediate');
    await node.removeData();
    await takeBaseBackup(primary, node);
    await node.configure(this.#synchronousSettings(node, true));
    await node.followAsStandby(primary);
    await node.start();
    this.#standbys.add(node);
    await this.#waitUntilStreaming([node]);
    if (this.#synchronous) await this.#setSynchronousStandbys(primary, true);
  }

  /** Waits until every running standby has replayed up to the LSN; without one, what the primary has written up to now. */
  async waitForReplay({
    timeoutMillis = 10_000,
    upTo,
  }: { timeoutMillis?: number; upTo?: string } = {}): Promise<void> {
    const target = upTo ?? (await this.#writtenPosition(timeoutMillis));
    await Promise.all(
      this.standbys
        .filter((node) => node.isRunning)
        .map(async (node) => {
          await node.withClient(async (client) => {
            await waitFor(
              async () => {
                const { rows } = await client.query<{ reached: boolean }>(
                  'SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn AS reached',
                  [target],
                );
                return rows[0]!.reached;
              },
              { timeoutMillis, message: `${node.name} to replay up to ${target}` },
            );
          });
        }),
    );
  }

  /** Ends all servers and removes their files. */
  async stop(): Promise<void> {
    await Promise.all(
      this.nodes.map(async (node) => {
        await node.destroy();
      }),
    );
  }

  async #startAll(): Promise<void> {
    await Promise.all(
      this.nodes.map(async (node) => {
        await node.configure(this.#synchronousSettings(node, true));
      }),
    );
    await this.#primary.start();
    await Promise.all(
      this.standbys.map(async (node) => {
        await node.followAsStandby(this.#primary);
        await node.start();
      }),
    );
    await this.#waitUntilStreaming(this.standbys);
  }

  async #waitUntilStreaming(standbys: readonly PostgresNode[]): Promise<void> {
    if (standbys.length === 0) return;
    const names = standbys.map(({ name }) => name);
    await this.#primary
      .withClient(async (client) => {
        await waitFor(
          async () => {
            const { rows } = await client.query<{ count: string }>(
              `SELECT count(DISTINCT application_name) FROM pg_stat_replication
             WHERE state = 'streaming' AND application_name = ANY ($1)`,
              [names],
            );
            return Number(rows[0]!.count) === names.length;
          },
          { timeoutMillis: 30_000, message: `${names.join(', ')} to stream from ${this.#primary.name}` },
        );
      })
      .catch((error: unknown) => {
        const logs = standbys.map((node) => `log of ${node.name}:\n${node.logTail()}`).join('\n');
        throw new Error(`the standbys do not follow\n${logs}`, { cause: error });
      });
  }

  /**
   * Gives the standby's position when it stands still, so that two of them can be compared. If the primary is dead it is
   * enough to wait until the end of its stream was noticed; if it lives on, its standbys turn away from it first.
   */
  async #stopReceiving(standby: PostgresNode, primary: PostgresNode): Promise<Position> {
    if (primary.isRunning) await standby.configure({ primary_conninfo: '' });
    return await standby.withClient(async (client) => {
      await waitFor(
        async () => {
          const { rowCount } = await client.query(
            `SELECT FROM pg_stat_wal_receiver WHERE status IN ('streaming', 'stopping')`,
          );
          return rowCount === 0;
        },
        { intervalMillis: 2, message: `${standby.name} to stop receiving` },
      );
      const { rows } = await client.query<{ bytes: string }>(
        `SELECT (greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/0'::pg_lsn)::text AS bytes`,
      );
      return { node: standby, position: BigInt(rows[0]!.bytes) };
    });
  }

  /** One of all other nodes, the dead ones too: so the names need not change when the roles do. */
  #synchronousSettings(node: PostgresNode, on: boolean): ServerSettings {
    const names = this.nodes.filter((other) => other !== node).map(({ name }) => `"${name}"`);
    return { synchronous_standby_names: this.#synchronous && on ? `ANY 1 (${names.join(', ')})` : '' };
  }

  async #setSynchronousStandbys(node: PostgresNode, on: boolean): Promise<void> {
    const settings = this.#synchronousSettings(node, on);
    const { rows } = await node.query<{ now: string }>(
      `SELECT current_setting('synchronous_standby_names') AS now`,
    );
    if (rows[0]!.now === settings['synchronous_standby_names']) return;
    await node.configure(settings);
    await waitFor(async () => {
      const result = await node.query<{ now: string }>(
        `SELECT current_setting('synchronous_standby_names') AS now`,
      );
      return result.rows[0]!.now === settings['synchronous_standby_names'];
    });
    // Whether a COMMIT waits is decided by a flag that the checkpointer sets when it has read the settings, and
    // nothing shows that flag.
    await sleep(SETTLE_MILLIS);
  }

  /** Where the WAL ends now, as soon as it is flushed (commits with synchronous_commit=off take up to 200 ms). */
  async #writtenPosition(timeoutMillis: number): Promise<string> {
    return await this.#primary.withClient(async (client) => {
      const { rows } = await client.query<{ bytes: string }>(
        `SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::text AS bytes`,
      );
      const inserted = BigInt(rows[0]!.bytes);
      // Right behind a page's header nothing was written yet: what was written ends before the header.
      const intoPage = inserted % PAGE_BYTES;
      const end = PAGE_HEADER_BYTES.includes(intoPage) ? inserted - intoPage : inserted;
      return await waitFor(
        async () => {
          const result = await client.query<{ lsn: string; reached: boolean }>(
            `SELECT lsn, lsn - '0/0'::pg_lsn >= $1::numeric AS reached FROM pg_current_wal_flush_lsn() AS lsn`,
            [end],
          );
          return result.rows[0]!.reached ? result.rows[0]!.lsn : undefined;
        },
        { timeoutMillis, message: `${this.#primary.name} to flush its WAL` },
      );
    });
  }
}
