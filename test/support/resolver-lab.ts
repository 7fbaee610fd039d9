import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { commitMark, MARK_SQL, parseMark, type CommitMark } from '../../src/pg/commit-mark.ts';
import { resolveCommit, type CommitInDoubt, type CommitResolution } from '../../src/pg/commit-resolver.ts';
import { recordServer, UNKNOWN_LINEAGE, type Lineage } from '../../src/pg/lineage.ts';
import { runProbe, type ProbeResult } from '../../src/pg/probe.ts';
import { PostgresCluster, type PostgresClusterOptions } from './postgres-cluster.ts';
import type { PostgresNode } from './postgres-node.ts';
import { sqlRunnerOver } from './sql-runner-over.ts';

/** A transaction that has written one row and taken its mark, over a stock client. */
export interface MarkedTransaction {
  readonly client: pg.Client;
  readonly probe: ProbeResult;
  readonly mark: CommitMark;
  /** The text of its row. */
  readonly note: string;
}

export interface BeginOptions {
  /** Instead of one INSERT. `$note` stands for the text of the row. */
  readonly statements?: readonly string[];
}

/** Servers, transactions with marks, and the resolver asked about them as the driver would. */
export class ResolverLab {
  readonly cluster: PostgresCluster;
  /** What the probes of this lab have seen so far. */
  lineage: Lineage = UNKNOWN_LINEAGE;
  readonly #clients: pg.Client[] = [];

  private constructor(cluster: PostgresCluster) {
    this.cluster = cluster;
  }

  static async start(options: PostgresClusterOptions = {}): Promise<ResolverLab> {
    const lab = new ResolverLab(await PostgresCluster.start(options));
    const owner = await lab.dial(lab.cluster.primary);
    await owner.query('CREATE TABLE note (text text); CREATE TABLE other (number int)');
    // Durable also where nothing is flushed in time.
    await lab.cluster.primary.query('CHECKPOINT');
    if (lab.cluster.standbys.length > 0) await lab.cluster.waitForReplay();
    await lab.watch();
    return lab;
  }

  async dial(node: PostgresNode, config: pg.ClientConfig = {}): Promise<pg.Client> {
    const client = new pg.Client(node.connectionConfig(config));
    // Servers are killed under it.
    client.on('error', () => undefined);
    await client.connect();
    this.#clients.push(client);
    return client;
  }

  /** Probes all running servers as monitors would, writers first. */
  async watch(): Promise<void> {
    const running = this.cluster.nodes.filter((node) => node.isRunning);
    const seen = await Promise.all(
      running.map(async (node) => ({ node, probe: await runProbe(sqlRunnerOver(await this.dial(node))) })),
    );
    seen.sort((left, right) => Number(left.probe.inRecovery) - Number(right.probe.inRecovery));
    for (const { node, probe } of seen) this.lineage = recordServer(this.lineage, node.name, probe);
  }

  async begin(
    node: PostgresNode,
    { statements = [`INSERT INTO note VALUES ('$note')`] }: BeginOptions = {},
  ): Promise<MarkedTransaction> {
    const client = await this.dial(node);
    const probe = await runProbe(sqlRunnerOver(client));
    this.lineage = recordServer(this.lineage, node.name, probe);
    const note = randomUUID();
    await client.query('BEGIN');
    for (const statement of statements) await client.query(statement.replace('$note', note));
    const { rows } = await client.query<(string | null)[]>({ text: MARK_SQL, rowMode: 'array' });
    const found = parseMark(rows[0]!);
    const mark = found === null ? null : commitMark(found, probe);
    if (mark === null) throw new Error('the transaction has no mark');
    return { client, probe, mark, note };
  }

  /** Asks as the driver does after the loss: a new connection, a probe, the resolver. */
  async resolve(
    { mark, probe }: Pick<MarkedTransaction, 'mark' | 'probe'>,
    node: PostgresNode,
    {
      millis = 10_000,
      config = {},
      ...change
    }: Partial<CommitInDoubt> & { millis?: number; config?: pg.ClientConfig } = {},
  ): Promise<CommitResolution> {
    const runner = sqlRunnerOver(await this.dial(node, config));
    const server = await runProbe(runner);
    this.lineage = recordServer(this.lineage, node.name, server);
    return await resolveCommit({
      mark,
      captured: probe,
      backend: probe.backend,
      runner,
      server,
      lineage: this.lineage,
      signal: AbortSignal.timeout(millis),
      ...change,
    });
  }

  /** Whether the transaction's row is there: the truth. */
  async isThere({ note }: MarkedTransaction, node: PostgresNode): Promise<boolean> {
    const client = await this.dial(node);
    const { rowCount } = await client.query('SELECT FROM note WHERE text = $1', [note]);
    return rowCount === 1;
  }

  /** Commits other transactions until one of them has been given this xid, and some more. */
  async useUp(xid: string, node: PostgresNode): Promise<void> {
    const client = await this.dial(node);
    for (let left = 5; left > 0;) {
      const { rows } = await client.query<{ xid: string }>(
        'INSERT INTO other VALUES (1) RETURNING pg_current_xact_id()::text AS xid',
      );
      if (BigInt(rows[0]!.xid) >= BigInt(xid)) left -= 1;
    }
  }

  /** Power off, power on: the same data directory goes on by itself. */
  async crash(node: PostgresNode): Promise<void> {
    await node.kill();
    await node.start();
  }

  async statusOf(xid: string, node: PostgresNode): Promise<string | null> {
    const client = await this.dial(node);
    const { rows } = await client.query<{ status: string | null }>(
      'SELECT pg_xact_status($1::xid8) AS status',
      [xid],
    );
    return rows[0]!.status;
  }

  async stop(): Promise<void> {
    await Promise.all(
      this.#clients.map(async (client) => {
        await client.end().catch(() => undefined);
      }),
    );
    await this.cluster.stop();
  }
}
