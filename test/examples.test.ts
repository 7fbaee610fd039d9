import { spawn, type ChildProcess } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { afterEach, describe, expect, it } from 'vitest';
import { PostgresCluster, type PostgresClusterOptions } from './support/postgres-cluster.ts';
import type { PostgresNode } from './support/postgres-node.ts';
import { settle } from './support/settle.ts';
import { waitFor } from './support/wait-for.ts';

const ROOT = new URL('../', import.meta.url);
const MAX_LINES = 60;

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function startCluster(options: PostgresClusterOptions): Promise<PostgresCluster> {
  const cluster = await PostgresCluster.start(options);
  closers.push(async () => {
    await cluster.stop();
  });
  return cluster;
}

/** An example as it runs in a process of its own. */
class Run {
  stdout = '';
  stderr = '';
  readonly #child: ChildProcess;
  readonly ended: Promise<number | null>;

  constructor(example: string, environment: Readonly<Record<string, string>>) {
    const path = fileURLToPath(new URL(`examples/${example}`, ROOT));
    const child = spawn(process.execPath, ['--import', 'tsx', path], {
      cwd: fileURLToPath(ROOT),
      env: { PATH: process.env['PATH'], ...environment },
    });
    child.stdout.setEncoding('utf8').on('data', (text: string) => (this.stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (this.stderr += text));
    this.ended = new Promise((resolve, reject) => {
      child.on('error', reject).on('close', resolve);
    });
    this.#child = child;
    closers.push(async () => {
      child.kill('SIGKILL');
      await this.ended;
    });
  }

  stop(): void {
    this.#child.kill('SIGTERM');
  }
}

async function killAndFailOver(cluster: PostgresCluster): Promise<void> {
  await cluster.primary.kill();
  await cluster.failover();
}

/**
 * Until the server dies both sellers wait for the tulips. One that had just sold some would be idle, and an idle session
 * fails over later and by itself, when it is used.
 */
async function lockBothOut(node: PostgresNode): Promise<void> {
  const client = new pg.Client(node.superuserConfig());
  client.on('error', () => undefined); // It dies with the server.
  await client.connect();
  const areWaiting = async (): Promise<boolean> => {
    const waiting = await node.query(`SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'`);
    return waiting.rowCount === 2;
  };
  for (let attempt = 0; attempt < 20; attempt++) {
    await client.query('BEGIN');
    await client.query('SELECT FROM stock FOR UPDATE');
    const { error } = await settle(waitFor(areWaiting, { timeoutMillis: 1_500 }));
    if (error === undefined) return;
    // The lock came between the two: one has sold, and sells again only when the other has as well.
    await client.query('ROLLBACK');
  }
  throw new Error('both sellers never waited');
}

describe('the examples', () => {
  it('are all tried, here or in test/integration/tedious, and short', () => {
    const examples = ['', 'prisma/'].flatMap((directory) =>
      readdirSync(new URL(`examples/${directory}`, ROOT))
        .filter((name) => name.endsWith('.ts'))
        .map((name) => directory + name),
    );
    expect(examples.sort()).toEqual([
      'custom-topology.ts',
      'knex-mssql.ts',
      'knex.ts',
      'observe-failovers.ts',
      'pg-drop-in.ts',
      'prisma/payments.ts',
      'tedious.ts',
      'web-service.ts',
    ]);
    for (const name of examples) {
      const text = readFileSync(new URL(`examples/${name}`, ROOT), 'utf8');
      expect(text.split('\n').length, name).toBeLessThan(MAX_LINES);
    }
  });

  it('the one of the README is in the README', () => {
    const example = readFileSync(new URL('examples/pg-drop-in.ts', ROOT), 'utf8');
    expect(readFileSync(new URL('README.md', ROOT), 'utf8')).toContain(example);
  });

  it('pg-drop-in.ts moves all the money though the primary is killed', async () => {
    const cluster = await startCluster({ standbys: 2, synchronous: true });
    const run = new Run('pg-drop-in.ts', { DATABASE_URL: cluster.connectionString() });
    await waitFor(
      async () => {
        const { rows } = await cluster.primary.query<{ there: boolean }>(
          `SELECT to_regclass('account') IS NOT NULL AS there`,
        );
        if (!rows[0]!.there) return false;
        const moved = await cluster.primary.query<{ balance: number }>(
          'SELECT balance FROM account WHERE id = 2',
        );
        return (moved.rows[0]?.balance ?? 0) >= 5;
      },
      { timeoutMillis: 30_000, message: 'the first transfers' },
    );
    await killAndFailOver(cluster);
    expect(await run.ended, run.stderr).toBe(0);
    expect(run.stdout).toBe('[ { id: 1, balance: 0 }, { id: 2, balance: 100 } ]\n');
  });

  it('prisma/payments.ts makes each payment once though the primary is killed', async () => {
    const cluster = await startCluster({ standbys: 2, synchronous: true });
    const run = new Run('prisma/payments.ts', { DATABASE_URL: cluster.connectionString() });
    await waitFor(
      async () => {
        const { rows } = await cluster.primary.query<{ made: number }>(
          'SELECT count(*)::int AS made FROM "Payment"',
        );
        return rows[0]!.made >= 5;
      },
      { timeoutMillis: 30_000, message: 'the first payments' },
    );
    await killAndFailOver(cluster);
    expect(await run.ended, run.stderr).toBe(0);
    expect(run.stdout).toBe("[ { id: 'customer', balance: 0 }, { id: 'shop', balance: 100 } ] 100\n");
  });

  it('knex.ts sells everything once though the primary is killed', async () => {
    const cluster = await startCluster({ standbys: 2, synchronous: true });
    const run = new Run('knex.ts', { DATABASE_URL: cluster.connectionString() });
    await waitFor(
      async () => {
        const { rows } = await cluster.primary.query<{ there: boolean }>(
          `SELECT to_regclass('sale') IS NOT NULL AS there`,
        );
        if (!rows[0]!.there) return false;
        return ((await cluster.primary.query('SELECT FROM sale')).rowCount ?? 0) >= 5;
      },
      { timeoutMillis: 30_000, message: 'the first sales' },
    );
    await lockBothOut(cluster.primary);
    await killAndFailOver(cluster);
    expect(await run.ended, run.stderr).toBe(0);
    expect(run.stdout).toBe("[ { customers: '100', sales: '100' } ] [ { item: 'tulip', amount: 0 } ]\n");
    expect(run.stderr).toMatch(/^\d+ sessions go on after \d+ ms\n$/);
  });

  it('observe-failovers.ts tells of a failover', async () => {
    const cluster = await startCluster({ standbys: 1 });
    const run = new Run('observe-failovers.ts', { DATABASE_URL: cluster.connectionString() });
    await waitFor(
      async () => {
        const { rowCount } = await cluster.primary.query(
          `SELECT FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(0.05)'`,
        );
        return rowCount === 1;
      },
      { timeoutMillis: 30_000, message: 'its first query' },
    );
    await killAndFailOver(cluster);
    await waitFor(() => Promise.resolve(run.stdout.includes(`sessions go on at`)), {
      timeoutMillis: 30_000,
      message: `the news in ${run.stdout}${run.stderr}`,
    });
    run.stop();
    expect(await run.ended, run.stderr).toBe(0);
    expect(run.stdout).toMatch(
      /^failover 1: \S+ is lost \(.+\)\nfailover 1: 1 sessions go on at \S+ after \d+ ms\n/,
    );
    expect(run.stdout).toContain('failovers: 1');
  });

  it('web-service.ts serves every request while the primary is killed, and each order is there once', async () => {
    const cluster = await startCluster({ standbys: 2, synchronous: true });
    const run = new Run('web-service.ts', { DATABASE_URL: cluster.connectionString(), PORT: '0' });
    await waitFor(() => Promise.resolve(run.stdout.includes('listening at')), {
      timeoutMillis: 30_000,
      message: `the service in ${run.stderr}`,
    });
    const url = /listening at (\S+)/.exec(run.stdout)![1]!;
    const orders: string[] = [];
    let isOver = false;
    const customer = async (): Promise<void> => {
      while (!isOver) {
        const body = JSON.stringify({ item: 'chair' });
        const headers = { 'content-type': 'application/json' };
        const response = await fetch(`${url}/orders`, { method: 'POST', headers, body });
        expect(response.status).toBe(201);
        const { id } = (await response.json()) as { id: string };
        orders.push(id);
        expect((await fetch(`${url}/orders/${id}`)).status).toBe(200);
      }
    };
    const customers = [1, 2, 3, 4].map(customer);
    const ordered = (count: number): Promise<unknown> =>
      Promise.race([
        waitFor(() => Promise.resolve(orders.length >= count), { timeoutMillis: 30_000 }),
        ...customers, // They end only if a request fails.
      ]);
    await ordered(50);
    await killAndFailOver(cluster);
    await ordered(orders.length + 50);
    isOver = true;
    await Promise.all(customers);
    const { rows } = await cluster.primary.query<{ orders: string[]; sold: number }>(
      `SELECT array_agg(id::text) AS orders, (SELECT 1000000 - left_over FROM stock) AS sold FROM orders`,
    );
    expect(rows[0]!.orders.sort()).toEqual(orders.sort());
    expect(rows[0]!.sold).toBe(orders.length);
    expect(await (await fetch(`${url}/health`)).json()).toMatchObject({ failovers: 1 });
    run.stop();
    expect(await run.ended, run.stderr).toBe(0);
  });

  it('custom-topology.ts asks the registry', async () => {
    const cluster = await startCluster({ standbys: 1 });
    const registry = createServer((_request, response) => {
      response.end(JSON.stringify({ hosts: cluster.hosts(), primary: cluster.hosts()[0] }));
    });
    await new Promise<void>((resolve) => registry.listen(0, '127.0.0.1', resolve));
    closers.push(async () => {
      await new Promise((resolve) => registry.close(resolve));
    });
    const url = new URL(cluster.connectionString({ hosts: [cluster.primary] }));
    const run = new Run('custom-topology.ts', {
      REGISTRY_URL: `http://127.0.0.1:${(registry.address() as AddressInfo).port}/`,
      PGUSER: url.username,
      PGPASSWORD: url.password,
      PGDATABASE: url.pathname.slice(1),
    });
    expect(await run.ended, run.stderr).toBe(0);
    expect(run.stdout).toBe(`connected to port ${cluster.primary.port}, as the registry says\n`);
  });
});
