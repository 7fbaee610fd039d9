import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { PostgresCluster } from '../support/postgres-cluster.ts';
import { PostgresNode } from '../support/postgres-node.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import { waitFor } from '../support/wait-for.ts';

/** A stock client that notes its errors instead of ending the process. */
async function connectClient(config: pg.ClientConfig): Promise<pg.Client & { readonly errors: Error[] }> {
  const client = Object.assign(new pg.Client(config), { errors: [] as Error[] });
  client.on('error', (error) => client.errors.push(error));
  await client.connect();
  return client;
}

async function outcomeOf(promise: Promise<unknown>): Promise<unknown> {
  return await promise.then(
    () => 'resolved',
    (error: unknown) => (error as { code?: string }).code ?? (error as Error).message,
  );
}

async function timeline(node: PostgresNode): Promise<number> {
  const { rows } = await node.query<{ file: string }>('SELECT pg_walfile_name(pg_current_wal_lsn()) AS file');
  return Number.parseInt(rows[0]!.file.slice(0, 8), 16);
}

async function count(node: PostgresNode, table: string): Promise<number> {
  const { rows } = await node.query<{ count: string }>(`SELECT count(*) FROM ${table}`);
  return Number(rows[0]!.count);
}

describe('a cluster of real servers', () => {
  let cluster: PostgresCluster;
  beforeAll(async () => {
    cluster = await PostgresCluster.start({ standbys: 1 });
  });
  afterAll(async () => {
    await cluster.stop();
  });

  it('fails over from a killed primary, and takes it back as a standby, twice', async () => {
    const application = await connectClient(cluster.primary.connectionConfig());
    await application.query('CREATE TABLE kept (id int)');
    await application.query('INSERT INTO kept SELECT generate_series(1, 100)');
    await cluster.waitForReplay();
    for (let round = 1; round <= 2; round++) {
      const old = cluster.primary;
      await old.kill();
      expect(old.isRunning).toBe(false);
      const next = await cluster.failover();
      expect(next).not.toBe(old);
      expect(cluster.standbys).toEqual([]);
      expect(await timeline(next)).toBe(1 + round);
      await next.query('INSERT INTO kept VALUES (0)');
      await cluster.rejoin(old);
      expect(cluster.standbys).toEqual([old]);
      await cluster.waitForReplay();
      expect(await count(old, 'kept')).toBe(100 + round);
    }
    expect(application.errors[0]?.message).toMatch(/terminated unexpectedly/);
  });

  it('loses on rejoin what only the old primary had', async () => {
    const old = cluster.primary;
    await old.query('CREATE TABLE diverged (id int)');
    await cluster.waitForReplay();
    await old.freezeWalSender();
    await old.query('INSERT INTO diverged VALUES (1)');
    await old.kill();
    const next = await cluster.failover();
    expect(await count(next, 'diverged')).toBe(0);
    await old.start();
    expect(await count(old, 'diverged')).toBe(1);
    await cluster.rejoin(old);
    expect(await count(old, 'diverged')).toBe(0);
  });

  it('gives the application an ordinary role that owns its database', async () => {
    const client = await connectClient(cluster.primary.connectionConfig());
    const { rows } = await client.query<{ owner: boolean; super: boolean }>(
      `SELECT datdba::regrole::text = current_user AS owner, current_setting('is_superuser')::bool AS super
       FROM pg_database WHERE datname = current_database()`,
    );
    await client.end();
    expect(rows).toEqual([{ owner: true, super: false }]);
    const wrong = connectClient(cluster.primary.connectionConfig({ password: 'wrong' }));
    expect(await outcomeOf(wrong)).toBe('28P01');
  });

  it('names every host in its connection string', () => {
    const [one, two] = cluster.hosts();
    expect(cluster.connectionString()).toBe(
      `postgres://app:app@127.0.0.1:${one!.port},127.0.0.1:${two!.port}/app?target_session_attrs=read-write`,
    );
    expect(cluster.connectionString({ hosts: [two!], parameters: {}, user: 'me' })).toBe(
      `postgres://me:app@127.0.0.1:${two!.port}/app`,
    );
  });
});

describe('a cluster with synchronous replication', () => {
  it('never acknowledges what no standby has, also after a failover', async () => {
    const cluster = await PostgresCluster.start({ standbys: 2, synchronous: true });
    try {
      const old = cluster.primary;
      await old.query('CREATE TABLE kept (id int)');
      await old.kill();
      const next = await cluster.failover();
      await next.query('INSERT INTO kept VALUES (1)');
      const [other] = cluster.standbys;
      other!.freeze();
      const commit = next.query('INSERT INTO kept VALUES (2)');
      await waitFor(async () => {
        const { rowCount } = await next.query(`SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep'`);
        return rowCount === 1;
      });
      other!.thaw();
      await commit;
      await next.kill();
      const last = await cluster.failover();
      expect(last).toBe(other);
      // Alone now: it must not wait for anybody.
      await last.query('INSERT INTO kept VALUES (3)');
      await Promise.all([cluster.rejoin(old), cluster.rejoin(next)]);
      await last.query('INSERT INTO kept VALUES (4)');
      await cluster.waitForReplay();
      expect(await count(old, 'kept')).toBe(4);
      const { rows } = await last.query<{ state: string }>(
        'SELECT sync_state AS state FROM pg_stat_replication',
      );
      expect(rows).toEqual([{ state: 'quorum' }, { state: 'quorum' }]);
    } finally {
      await cluster.stop();
    }
  });
});

describe('a single server', () => {
  let node: PostgresNode;
  beforeAll(async () => {
    node = await PostgresNode.create({ settings: { work_mem: '5MB' } });
    await node.start();
  });
  afterAll(async () => {
    await node.destroy();
  });
  afterEach(() => {
    node.thaw();
  });

  it('has the settings and an identifier of its own', async () => {
    const { rows } = await node.query<{ memory: string; id: string }>(
      `SELECT current_setting('work_mem') AS memory, system_identifier::text AS id FROM pg_control_system()`,
    );
    expect(rows).toEqual([{ memory: '5MB', id: String(node.systemIdentifier) }]);
  });

  it('keeps its port and its data through each way to stop', async () => {
    const { port } = node;
    await node.query('CREATE TABLE kept (id int)');
    for (const mode of ['smart', 'fast', 'immediate'] as const) {
      await node.stop(mode);
      await node.start();
      await node.query('INSERT INTO kept VALUES (1)');
    }
    await node.kill();
    await node.start();
    expect(await count(node, 'kept')).toBe(3);
    expect(node.port).toBe(port);
  });

  it('says nothing while it is frozen, and goes on afterwards', async () => {
    const client = await connectClient(node.connectionConfig());
    node.freeze();
    const answer = client.query('SELECT 1');
    const dialled = connectClient(node.connectionConfig({ connectionTimeoutMillis: 100 }));
    expect(await outcomeOf(dialled)).toBe('timeout expired');
    node.thaw();
    expect((await answer).rowCount).toBe(1);
    await client.end();
  });

  it('throws out all sessions and recovers by itself when one backend is killed', async () => {
    const [victim, witness] = [
      await connectClient(node.connectionConfig()),
      await connectClient(node.connectionConfig()),
    ];
    const { rows } = await victim.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    node.killBackend(rows[0]!.pid);
    await waitFor(() => witness.errors.length > 0);
    await waitFor(async () => (await node.query('SELECT 1')).rowCount);
  });

  it('leaves a working backend behind when only the postmaster is killed', async () => {
    const client = await connectClient(node.connectionConfig());
    await client.query('BEGIN');
    // It computes, and so does not notice that its postmaster is gone.
    const work = client.query(
      `DO $$ BEGIN WHILE clock_timestamp() < statement_timestamp() + interval '0.5 s' LOOP END LOOP; END $$`,
    );
    await waitFor(async () => {
      const { rowCount } = await node.query(
        `SELECT FROM pg_stat_activity WHERE state = 'active' AND query ~ '^DO'`,
      );
      return rowCount === 1;
    });
    await node.killPostmasterOnly();
    expect(node.isRunning).toBe(false);
    await waitFor(() => node.orphans.length === 1);
    expect(await outcomeOf(work)).toBe('resolved');
    await node.killOrphans();
    await node.start();
  });

  it('shows the log when it can not start', async () => {
    const broken = await PostgresNode.create({ settings: { no_such_setting: 1 } });
    await expect(broken.start()).rejects.toThrow(/unrecognized configuration parameter "no_such_setting"/);
    await broken.destroy();
  });

  it('is not there for a version without binaries', async () => {
    await expect(PostgresNode.create({ version: '9' })).rejects.toThrow(
      /the package pg9-\S+ is not installed/,
    );
  });
});

/** Rows and the reset behind them may reach the client at once; Node then reports the end and not the reset. */
const LOST = /^(ECONNRESET|Connection terminated unexpectedly)$/;

describe('a proxy in front of a server', () => {
  let node: PostgresNode;
  let proxy: TcpProxy;
  let client: Awaited<ReturnType<typeof connectClient>>;
  beforeAll(async () => {
    node = await PostgresNode.create();
    await node.start();
    proxy = await TcpProxy.start(node);
    await node.query('CREATE TABLE t AS SELECT generate_series(1, 1000) AS id');
    await node.query('GRANT ALL ON t TO app');
  });
  afterAll(async () => {
    await proxy.stop();
    await node.destroy();
  });
  afterEach(async () => {
    await proxy.reset();
    proxy.cut();
    await waitFor(() => proxy.connections.length === 0);
  });

  async function dial(config: pg.ClientConfig = {}): Promise<void> {
    client = await connectClient(node.connectionConfig({ host: proxy.host, port: proxy.port, ...config }));
  }

  const isCommit = (type: string, body: Buffer): boolean =>
    type === 'Q' && body.toString().startsWith('COMMIT');
  const isCommitTag = (type: string, body: Buffer): boolean =>
    type === 'C' && body.toString().startsWith('COMMIT');
  async function rowsWith(id: number): Promise<number> {
    return await count(node, `t WHERE id = ${id}`);
  }
  async function insertAndCommit(id: number): Promise<unknown> {
    await client.query('BEGIN');
    await client.query('INSERT INTO t VALUES ($1)', [id]);
    return await outcomeOf(client.query('COMMIT'));
  }

  it('passes everything on, and knows the backend', async () => {
    await dial();
    const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    expect(proxy.connections[0]!.backendPid).toBe(rows[0]!.pid);
    const all = await client.query(`SELECT repeat('x', 200000) FROM generate_series(1, 50)`);
    expect(all.rowCount).toBe(50);
    await client.end();
    await waitFor(() => proxy.connections.length === 0);
  });

  it('cuts before a COMMIT reaches the server', async () => {
    await dial();
    proxy.onFrontendMessage = (type, body) => (isCommit(type, body) ? 'cut-before' : 'pass');
    expect(await insertAndCommit(-1)).toBe('ECONNRESET');
    expect(await rowsWith(-1)).toBe(0);
  });

  it('cuts when a COMMIT has reached the server', async () => {
    await dial();
    proxy.onFrontendMessage = (type, body) => (isCommit(type, body) ? 'cut-after' : 'pass');
    expect(await insertAndCommit(-2)).toBe('ECONNRESET');
    await waitFor(async () => (await rowsWith(-2)) === 1);
  });

  it('cuts when the answer to a COMMIT is about to be forwarded', async () => {
    await dial();
    proxy.onBackendMessage = (type, body) => (isCommitTag(type, body) ? 'cut-before' : 'pass');
    expect(await insertAndCommit(-3)).toBe('ECONNRESET');
    expect(await rowsWith(-3)).toBe(1);
  });

  it('cuts between CommandComplete and ReadyForQuery, and the client has got the first', async () => {
    await dial();
    const tags: unknown[] = [];
    (client as any).connection.on('commandComplete', ({ text }: { text: string }) => tags.push(text));
    proxy.onBackendMessage = (type, body) => (isCommitTag(type, body) ? 'cut-after' : 'pass');
    expect(await insertAndCommit(-4)).toMatch(LOST);
    expect(tags).toEqual(['BEGIN', 'INSERT 0 1', 'COMMIT']);
  });

  it('cuts inside a COMMIT, or inside its answer, with a reset or an orderly end', async () => {
    const length = 1 + 4 + 'COMMIT\0'.length;
    let id = -100;
    for (const by of ['reset', 'fin'] as const) {
      for (const bytes of [0, 1, 5, length - 1]) {
        await dial();
        proxy.onFrontendMessage = (type, body) => (isCommit(type, body) ? { bytes, by } : 'pass');
        expect(await insertAndCommit(--id)).toMatch(LOST);
        expect(await rowsWith(id)).toBe(0);
        await dial();
        proxy.onFrontendMessage = undefined;
        proxy.onBackendMessage = (type, body) => (isCommitTag(type, body) ? { bytes, by } : 'pass');
        expect(await insertAndCommit(--id)).toMatch(LOST);
        expect(await rowsWith(id)).toBe(1);
        await proxy.reset();
      }
    }
  });

  it('drops every answer to a COMMIT', async () => {
    await dial();
    let committing = false;
    proxy.onFrontendMessage = (type, body) => {
      committing ||= isCommit(type, body);
      return 'pass';
    };
    proxy.onBackendMessage = () => (committing ? 'drop' : 'pass');
    const outcome = insertAndCommit(-5);
    await waitFor(async () => (await rowsWith(-5)) === 1);
    expect(client.errors).toEqual([]);
    proxy.cut();
    expect(await outcome).toBe('ECONNRESET');
  });

  it('holds a COMMIT until it is let go', async () => {
    await dial();
    proxy.onFrontendMessage = (type, body) => (isCommit(type, body) ? 'hold' : 'pass');
    const outcome = insertAndCommit(-6);
    await waitFor(async () => {
      const { rowCount } = await node.query(
        `SELECT FROM pg_stat_activity WHERE state = 'idle in transaction' AND query ~ '^INSERT'`,
      );
      return rowCount === 1;
    });
    expect(await rowsWith(-6)).toBe(0);
    proxy.release();
    expect(await outcome).toBe('resolved');
    expect(await rowsWith(-6)).toBe(1);
  });

  it('cuts after ten rows, or in the middle of one', async () => {
    for (const cut of [
      () => {
        let rows = 0;
        proxy.onBackendMessage = (type) => (type === 'D' && ++rows === 10 ? 'cut-after' : 'pass');
      },
      () => {
        proxy.cutAfterServerBytes('\u000210');
      },
    ]) {
      await dial();
      let received = 0;
      (client as any).connection.on('dataRow', () => (received += 1));
      cut();
      expect(await outcomeOf(client.query('SELECT id FROM t WHERE id > 0 ORDER BY id'))).toMatch(LOST);
      expect(received).toBe(10);
      await proxy.reset();
    }
  });

  it('cuts after so many bytes of a client', async () => {
    await dial();
    proxy.cutAfterClientBytes(10);
    expect(await outcomeOf(client.query('INSERT INTO t VALUES (-7)'))).toBe('ECONNRESET');
    expect(await rowsWith(-7)).toBe(0);
  });

  it('leaves the backend in its transaction when only the client is cut', async () => {
    await dial();
    await client.query('BEGIN');
    const pid = proxy.connections[0]!.backendPid;
    proxy.cutClientSideOnly();
    await waitFor(() => client.errors.length > 0);
    const { rows } = await node.query<{ state: string }>(
      'SELECT state FROM pg_stat_activity WHERE pid = $1',
      [pid],
    );
    expect(rows).toEqual([{ state: 'idle in transaction' }]);
  });

  it('leaves the client waiting when only the backend is cut', async () => {
    await dial();
    const pid = proxy.connections[0]!.backendPid;
    proxy.cutServerSideOnly();
    await waitFor(
      async () => (await node.query('SELECT FROM pg_stat_activity WHERE pid = $1', [pid])).rowCount === 0,
    );
    expect(client.errors).toEqual([]);
  });

  it('delays, falls silent, ends and refuses', async () => {
    await dial();
    proxy.latency(20);
    const begun = performance.now();
    await client.query('SELECT 1');
    expect(performance.now() - begun).toBeGreaterThanOrEqual(39);
    await proxy.pass();

    for (const direction of ['to-server', 'to-client', 'both'] as const) {
      proxy.blackhole(direction);
      let answered = false;
      const answer = client.query('SELECT 1').then(() => (answered = true));
      const late = dial({ connectionTimeoutMillis: 50 });
      expect(await outcomeOf(late)).toBe('timeout expired');
      expect(answered).toBe(false);
      await proxy.pass();
      await answer;
    }

    const witness = client;
    await proxy.refuse();
    expect(await outcomeOf(dial())).toBe('ECONNREFUSED');
    await witness.query('SELECT 1');
    proxy.fin();
    await waitFor(() => witness.errors.length > 0);
    expect(witness.errors[0]!.message).toBe('Connection terminated unexpectedly');
    await proxy.pass();
    await dial();
  });

  it('sends new connections to another target', async () => {
    const other = await PostgresNode.create({ name: 'other' });
    await other.start();
    proxy.target = other;
    await dial();
    const { rows } = await client.query<{ id: string }>(
      'SELECT system_identifier::text AS id FROM pg_control_system()',
    );
    expect(rows).toEqual([{ id: String(other.systemIdentifier) }]);
    proxy.target = node;
    await client.end();
    await other.destroy();
  });
});
