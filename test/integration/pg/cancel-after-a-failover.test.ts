import pg from 'pg';
import { describe, expect, it } from 'vitest';
import { Client } from '../../../src/pg.ts';
import { FailoverLab, type WatchedClient } from '../../support/failover-lab.ts';
import { rejectionOf, settle } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

interface Cancelling {
  cancel(client: unknown, query: unknown): void;
}

interface Backend {
  readonly processID: number;
  readonly secretKey: number;
}

describe('a query is cancelled on a session that has another server by now', () => {
  const lab = FailoverLab.forThisSuite();

  function backendOf(client: object): Backend {
    const { processID, secretKey } = client as Backend;
    return { processID, secretKey };
  }

  async function waitUntilAsleep(pid: number): Promise<void> {
    await waitFor(
      async () => {
        const { rowCount } = await lab.primary.query(
          `SELECT FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'PgSleep'`,
          [pid],
        );
        return rowCount === 1;
      },
      { message: 'it to run' },
    );
  }

  /** Sessions that sleep as well, and must not notice. */
  async function bystanders(
    count: number,
  ): Promise<{ clients: WatchedClient[]; asleep: Promise<unknown>[] }> {
    const clients: WatchedClient[] = [];
    for (let i = 0; i < count; i++) clients.push(await lab.connect());
    const asleep = clients.map((client) => settle(client.query('SELECT pg_sleep(60)')));
    for (const client of clients) await waitUntilAsleep(backendOf(client).processID);
    return { clients, asleep };
  }

  async function expectAsleep(clients: readonly WatchedClient[]): Promise<void> {
    for (const client of clients) await waitUntilAsleep(backendOf(client).processID);
  }

  it("by pg's own cancel(): the new backend is hit, and nobody else", async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    await client.query('SAVEPOINT s');
    const before = backendOf(client);
    await lab.replacePrimary();
    await client.query('SELECT 1');
    expect(backendOf(client)).not.toEqual(before);
    const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    expect(rows[0]!.pid).toBe(backendOf(client).processID);

    const others = await bystanders(2);
    const query = new pg.Query('SELECT pg_sleep(60)');
    const cancelled = new Promise((resolve) => query.once('error', resolve));
    client.query(query);
    await waitUntilAsleep(backendOf(client).processID);
    const canceller = new Client({ connectionString: lab.connectionString() });
    canceller.on('error', () => undefined);
    (canceller as unknown as Cancelling).cancel(client, query);
    expect(await cancelled).toMatchObject({ code: '57014' });
    await expectAsleep(others.clients);
    await client.query('ROLLBACK TO s');
    await client.query('COMMIT');
    expect(await lab.notes()).toEqual(['a']);
    expect(client.seen.isQuiet).toBe(true);
  });

  it('by pg_cancel_backend(client.processID): the same', async () => {
    const client = await lab.connect();
    await client.query('SELECT 1');
    await lab.replacePrimary();
    await client.query('SELECT 1');
    const others = await bystanders(2);
    const cancelled = rejectionOf(client.query('SELECT pg_sleep(60)'));
    await waitUntilAsleep(backendOf(client).processID);
    const { rows } = await lab.primary.query<{ done: boolean }>('SELECT pg_cancel_backend($1) AS done', [
      backendOf(client).processID,
    ]);
    expect(rows).toEqual([{ done: true }]);
    expect(await cancelled).toMatchObject({ code: '57014' });
    await expectAsleep(others.clients);
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    expect(client.seen.isQuiet).toBe(true);
  });

  it('with the key of the lost backend: nobody is hit', async () => {
    const client = await lab.connect();
    await client.query('SELECT 1');
    const before = backendOf(client);
    await lab.replacePrimary();
    await client.query('SELECT 1');
    const others = await bystanders(1);
    const asleep = settle(client.query('SELECT pg_sleep(60)'));
    await waitUntilAsleep(backendOf(client).processID);
    const canceller = new Client({ connectionString: lab.connectionString() });
    canceller.on('error', () => undefined);
    const ended = new Promise((resolve) => canceller.once('end', resolve));
    const query = {};
    const noted = { ...before, activeQuery: query };
    (canceller as unknown as Cancelling).cancel(noted, query);
    // The request was refused or went nowhere; by then a cancel would have taken effect.
    await Promise.race([ended, lab.primary.query('SELECT pg_sleep(0.5)')]);
    await expectAsleep([client, ...others.clients]);
    await lab.primary.query('SELECT pg_cancel_backend($1)', [backendOf(client).processID]);
    expect(await asleep).toMatchObject({ error: { code: '57014' } });
  });

  it('while there is no server: what waits stays, and runs once', async () => {
    const client = await lab.connect();
    await client.query('SELECT 1');
    await lab.killPrimary();
    const query = new pg.Query(`INSERT INTO note VALUES ('a')`);
    const done = new Promise((resolve, reject) => query.once('end', resolve).once('error', reject));
    client.query(query);
    const canceller = new Client({ connectionString: lab.connectionString() });
    canceller.on('error', () => undefined);
    (canceller as unknown as Cancelling).cancel(client, query);
    await lab.cluster.failover();
    await done;
    expect(await lab.notes()).toEqual(['a']);
    expect(client.seen.isQuiet).toBe(true);
  });
});
