import { Request, TYPES } from 'tedious';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { staticHosts } from '../../../src/topology/static-hosts.ts';
import { Connection } from '../../../src/tedious.ts';
import { begin, commit, connected, run, runStock, rollback } from '../../support/sqlserver/run-stock.ts';
import { SqlServerCluster } from '../../support/sqlserver/sql-server-cluster.ts';

let cluster: SqlServerCluster;
let connection: Connection;

beforeAll(async () => {
  cluster = await SqlServerCluster.start({
    synchronous: true,
    setUp: [
      'CREATE TABLE dbo.account (id int NOT NULL PRIMARY KEY, balance int NOT NULL)',
      'CREATE TABLE dbo.note (id int IDENTITY(1,1) PRIMARY KEY, text nvarchar(100))',
    ],
  });
});
beforeEach(async () => {
  await cluster.ready();
  await runStock(
    cluster.stockConfig(),
    'DELETE FROM note;DELETE FROM account;INSERT INTO account VALUES (1, 100), (2, 100)',
  );
  connection = await connected(new Connection(cluster.config()));
});
afterEach(() => {
  connection.close();
});
afterAll(async () => {
  await cluster.stop();
});

async function stock(sql: string): Promise<unknown[]> {
  return (await runStock(cluster.stockConfig(), sql)).flat();
}

describe('what was under way when the primary was lost', () => {
  it('a statement in an open transaction runs again, and its rows come once', async () => {
    await begin(connection);
    await run(connection, 'UPDATE account SET balance = balance - 1 WHERE id = 1');
    const cut = cluster.gateway.faults.add({
      kind: 'cut-after',
      at: ({ text }) => text.includes('balance - 2'),
    });
    const second = run(
      connection,
      'UPDATE account SET balance = balance - 2 WHERE id = 1; SELECT balance FROM account',
    );
    await cut;
    await cluster.replacePrimary();
    expect((await second).flat().sort()).toEqual([100, 97]);
    await commit(connection);
    expect(await stock('SELECT balance FROM account ORDER BY id')).toEqual([97, 100]);
  });

  it('rows that were given already do not come again', async () => {
    await stock(
      `INSERT INTO note (text) SELECT TOP 3000 'text' FROM sys.databases AS a CROSS JOIN generate_series(1, 3000)`,
    );
    await cluster.ship();
    const cut = cluster.gateway.faults.add({
      kind: 'cut-inside',
      at: ({ text }) => text.includes('FROM note'),
      bytes: 40_000,
    });
    const rows = run(connection, 'SELECT id, text FROM note ORDER BY id');
    await cut;
    await cluster.replacePrimary();
    const ids = (await rows).map(([id]) => id as number);
    expect(ids).toHaveLength(3000);
    expect(new Set(ids).size).toBe(3000);
  });

  it('a COMMIT that the old server carries out late is waited for', async () => {
    await begin(connection);
    await run(connection, 'UPDATE account SET balance = balance - 1 WHERE id = 1');
    const cut = cluster.gateway.faults.add({
      kind: 'cut-and-hold',
      at: ({ text }) => text.includes('COMMIT'),
      holdMillis: 700,
    });
    const committed = commit(connection);
    await cut;
    await committed;
    expect(await stock('SELECT balance FROM account ORDER BY id')).toEqual([99, 100]);
  });

  it.each(['cut-before', 'cut-after'] as const)(
    'a tombstone whose answer is lost is not taken for the token: %s',
    async (kind) => {
      await begin(connection);
      await run(connection, 'UPDATE account SET balance = balance - 1 WHERE id = 1');
      const cut = cluster.gateway.faults.add({
        kind: 'cut-before',
        at: ({ text }) => text.includes('COMMIT'),
      });
      const again = cluster.gateway.faults.add({ kind, at: ({ text }) => text.includes('[kind])') });
      const committed = commit(connection);
      await cut;
      await again;
      await committed;
      expect(await stock('SELECT balance FROM account ORDER BY id')).toEqual([99, 100]);
    },
  );

  it('an error that says that the server goes away is a loss', async () => {
    await begin(connection);
    await run(connection, 'UPDATE account SET balance = balance - 1 WHERE id = 1');
    const told = cluster.gateway.faults.add({
      kind: 'error',
      at: ({ text }) => text.includes('balance - 2'),
      message: { number: 983, state: 1, class: 14, message: 'failing over', line: 1, procedure: '' },
      isCut: true,
    });
    const second = run(connection, 'UPDATE account SET balance = balance - 2 WHERE id = 1');
    await told;
    await cluster.replacePrimary();
    await second;
    await commit(connection);
    expect(await stock('SELECT balance FROM account ORDER BY id')).toEqual([97, 100]);
  });

  it('a BEGIN runs again', async () => {
    const cut = cluster.gateway.faults.add({ kind: 'cut-after', at: ({ text }) => text === 'begin' });
    const begun = begin(connection);
    await cut;
    await cluster.replacePrimary();
    await begun;
    await run(connection, 'UPDATE account SET balance = 0 WHERE id = 1');
    await rollback(connection);
    expect(await stock('SELECT balance FROM account ORDER BY id')).toEqual([100, 100]);
  });

  it('a ROLLBACK succeeds', async () => {
    await begin(connection);
    await run(connection, 'UPDATE account SET balance = 0 WHERE id = 1');
    const cut = cluster.gateway.faults.add({ kind: 'cut-before', at: ({ text }) => text === 'rollback' });
    const rolledBack = rollback(connection);
    await cut;
    await cluster.replacePrimary();
    await rolledBack;
    expect(await run(connection, 'SELECT balance FROM account ORDER BY id')).toEqual([[100], [100]]);
  });

  it.each(['cut-before', 'cut-after'] as const)(
    'a batch with its own COMMIT takes effect once: %s',
    async (kind) => {
      await begin(connection);
      await run(connection, 'UPDATE account SET balance = balance - 1 WHERE id = 1');
      const cut = cluster.gateway.faults.add({ kind, at: ({ text }) => text.includes('balance - 2') });
      const last = run(
        connection,
        'UPDATE account SET balance = balance - 2 WHERE id = 1; COMMIT TRANSACTION',
        'batch',
      ).then(
        () => 'done',
        (error: unknown) => (error as { number?: number }).number,
      );
      await cut;
      await cluster.replacePrimary();
      expect(await last).toBe(kind === 'cut-before' ? 'done' : 58008);
      expect(await stock('SELECT balance FROM account ORDER BY id')).toEqual([97, 100]);
    },
  );

  it('a prepared statement works on the new server', async () => {
    const request = new Request('SELECT balance FROM account WHERE id = @id', () => undefined);
    request.addParameter('id', TYPES.Int);
    await new Promise<void>((resolve) => {
      request.on('prepared', resolve);
      connection.prepare(request);
    });
    const execute = (id: number): Promise<unknown[]> =>
      new Promise((resolve, reject) => {
        const rows: unknown[] = [];
        request.removeAllListeners('row');
        request.on('row', (columns: { value: unknown }[]) => rows.push(columns[0]?.value));
        request.callback = (error?: Error | null): void => {
          if (error === undefined || error === null) resolve(rows);
          else reject(error);
        };
        connection.execute(request, { id });
      });
    expect(await execute(1)).toEqual([100]);
    await begin(connection);
    expect(await execute(2)).toEqual([100]);
    await cluster.replacePrimary();
    expect(await execute(1)).toEqual([100]);
    await commit(connection);
  });

  it('savepoints are replayed', async () => {
    await begin(connection);
    await run(connection, 'UPDATE account SET balance = 1 WHERE id = 1');
    await new Promise<void>((resolve, reject) => {
      connection.saveTransaction((error) => {
        if (error) reject(error);
        else resolve();
      }, 'inner');
    });
    await run(connection, 'UPDATE account SET balance = 2 WHERE id = 1');
    await new Promise<void>((resolve, reject) => {
      connection.rollbackTransaction((error) => {
        if (error) reject(error);
        else resolve();
      }, 'inner');
    });
    await cluster.replacePrimary();
    await run(connection, 'UPDATE account SET balance = 3 WHERE id = 2');
    await commit(connection);
    expect(await stock('SELECT balance FROM account ORDER BY id')).toEqual([1, 3]);
  });

  it('a failed statement in the journal must fail again', async () => {
    await begin(connection);
    await run(connection, 'UPDATE account SET balance = 1 WHERE id = 1');
    await expect(run(connection, 'INSERT INTO account VALUES (1, 1)')).rejects.toMatchObject({
      number: 2627,
    });
    await cluster.replacePrimary();
    await run(connection, 'UPDATE account SET balance = 3 WHERE id = 2');
    await commit(connection);
    expect(await stock('SELECT balance FROM account ORDER BY id')).toEqual([1, 3]);
  });

  it('a request that is cancelled while no server is there is left out; its transaction goes on', async () => {
    await begin(connection);
    await run(connection, 'UPDATE account SET balance = 1 WHERE id = 1');
    await cluster.killPrimary();
    const cancelled = new Promise<unknown>((resolve) => {
      const request = new Request('UPDATE account SET balance = 2 WHERE id = 2', resolve);
      connection.execSql(request);
      setTimeout(() => connection.cancel(), 150);
    });
    expect(await cancelled).toMatchObject({ code: 'ECANCEL' });
    await cluster.postgres.failover();
    await run(connection, 'UPDATE account SET balance = balance + 5 WHERE id = 2');
    await commit(connection);
    expect(await stock('SELECT balance FROM account ORDER BY id')).toEqual([1, 105]);
  });

  it('the timer of a request does not run out while the session recovers', async () => {
    connection.close();
    connection = await connected(new Connection(cluster.config({ requestTimeout: 400 })));
    await begin(connection);
    await run(connection, 'UPDATE account SET balance = 1 WHERE id = 1');
    await cluster.killPrimary();
    const second = run(connection, 'UPDATE account SET balance = 2 WHERE id = 2');
    await new Promise((resolve) => setTimeout(resolve, 900));
    await cluster.postgres.failover();
    await second;
    await commit(connection);
    expect(await stock('SELECT balance FROM account ORDER BY id')).toEqual([1, 2]);
  });

  it('without a server the connection ends as stock tedious ends it', async () => {
    connection.close();
    const config = cluster.config();
    connection = await connected(
      new Connection({ ...config, failover: { ...config.failover, timeoutMillis: 400 } }),
    );
    const events: string[] = [];
    connection.on('error', () => events.push('error'));
    connection.on('end', () => events.push('end'));
    await begin(connection);
    await cluster.killPrimary();
    await expect(run(connection, 'SELECT 1')).rejects.toThrow(/could not be replaced within 400 ms/);
    expect(events).toContain('end');
  });

  it('a batch that may go back behind its token is not called rolled back when it committed', async () => {
    await begin(connection);
    await run(connection, 'UPDATE account SET balance = balance - 1 WHERE id = 1');
    await new Promise<void>((resolve, reject) => {
      connection.saveTransaction((error) => {
        if (error) reject(error);
        else resolve();
      }, 'inner');
    });
    const text = 'ROLLBACK TRANSACTION inner; UPDATE account SET balance = balance - 2 WHERE id = 1; COMMIT';
    const cut = cluster.gateway.faults.add({
      kind: 'cut-after',
      at: ({ text: one }) => one.includes('balance - 2'),
    });
    const last = run(connection, text, 'batch').then(
      () => 0,
      (error: unknown) => (error as { number?: number }).number,
    );
    await cut;
    await cluster.replacePrimary();
    expect(await last).toBe(58007);
    expect(await stock('SELECT balance FROM account ORDER BY id')).toEqual([97, 100]);
  });

  it.each(['statement', 'batch'] as const)(
    'a write that is cancelled leaves no transaction behind: %s',
    async (how) => {
      const holder = await connected(new Connection(cluster.config()));
      await begin(holder);
      await run(holder, 'UPDATE account SET balance = 1 WHERE id = 1');
      const cancelled = new Promise<unknown>((resolve) => {
        const request = new Request('UPDATE account SET balance = 2 WHERE id = 1', resolve);
        if (how === 'batch') connection.execSqlBatch(request);
        else connection.execSql(request);
        setTimeout(() => connection.cancel(), 150);
      });
      expect(await cancelled).toMatchObject({ code: 'ECANCEL' });
      expect(await run(connection, 'SELECT @@TRANCOUNT')).toEqual([[0]]);
      await run(connection, 'UPDATE account SET balance = 3 WHERE id = 2');
      await rollback(holder);
      holder.close();
      expect(await stock('SELECT balance FROM account ORDER BY id')).toEqual([100, 3]);
    },
  );

  it('rows of a bulk load in an open transaction are loaded again', async () => {
    await begin(connection);
    await new Promise<void>((resolve, reject) => {
      const load = connection.newBulkLoad('account', (error) => {
        if (error) reject(error);
        else resolve();
      });
      load.addColumn('id', TYPES.Int, { nullable: false });
      load.addColumn('balance', TYPES.Int, { nullable: false });
      connection.execBulkLoad(load, [
        { id: 10, balance: 1 },
        { id: 11, balance: 2 },
      ]);
    });
    await cluster.replacePrimary();
    await commit(connection);
    expect(await stock('SELECT balance FROM account ORDER BY id')).toEqual([100, 100, 1, 2]);
  });

  it('a bulk load with more bytes than are held is refused, and nothing of it loaded', async () => {
    const small = await connected(
      new Connection({
        ...cluster.config(),
        // A provider of its own: sessions of one list of hosts share the limits of the process.
        failover: {
          provider: staticHosts([...cluster.hosts]),
          maxProcessJournalBytes: 20_000,
          maxJournalBytes: 20_000,
        },
      }),
    );
    const told: unknown[] = [];
    small.failover!.on('limitReached', ({ limit }) => told.push(limit));
    const load = (rows: number): Promise<unknown> =>
      new Promise((resolve) => {
        const bulk = small.newBulkLoad('account', (error) => {
          resolve((error as { number?: number } | undefined)?.number ?? 'loaded');
        });
        bulk.addColumn('id', TYPES.Int, { nullable: false });
        bulk.addColumn('balance', TYPES.Int, { nullable: false });
        small.execBulkLoad(
          bulk,
          Array.from({ length: rows }, (_, index) => ({ id: 100 + index, balance: 7 })),
        );
      });
    await begin(small);
    expect(await load(5_000)).toBe(58010);
    expect(told).toEqual(['failover.maxProcessJournalBytes']);
    expect(await load(3)).toBe('loaded');
    await commit(small);
    expect(await stock('SELECT balance FROM account ORDER BY id')).toEqual([100, 100, 7, 7, 7]);
    small.close();
  });

  it('a transaction with more statements than are kept goes on, and says so; it is not replayed', async () => {
    const small = await connected(
      new Connection({
        ...cluster.config(),
        failover: { hosts: [...cluster.hosts], maxJournalStatements: 3 },
      }),
    );
    const told: unknown[] = [];
    small.failover!.on('limitReached', ({ limit }) => told.push(limit));
    await begin(small);
    for (let i = 0; i < 4; i++) {
      await run(small, 'UPDATE account SET balance = balance - 1 WHERE id = 1', 'batch');
    }
    expect(told).toEqual(['failover.maxJournalStatements']);
    await cluster.replacePrimary();
    const refused = run(small, 'SELECT 1', 'batch').catch(
      (error: unknown) => (error as { number?: number }).number,
    );
    expect(await refused).toBe(1205);
    expect(await stock('SELECT balance FROM account ORDER BY id')).toEqual([100, 100]);
    small.close();
  });

  it('a token that was undone with a savepoint is not asked for', async () => {
    await begin(connection);
    await new Promise<void>((resolve, reject) => {
      connection.saveTransaction((error) => {
        if (error) reject(error);
        else resolve();
      }, 'inner');
    });
    // Nobody sees how it ends: a token would be written in front of it.
    await run(connection, "EXEC (N'UPDATE account SET balance = balance - 5 WHERE id = 2')", 'batch');
    await new Promise<void>((resolve, reject) => {
      connection.rollbackTransaction((error) => {
        if (error) reject(error);
        else resolve();
      }, 'inner');
    });
    await run(connection, 'UPDATE account SET balance = balance - 1 WHERE id = 1');
    const cut = cluster.gateway.faults.add({
      kind: 'cut-after',
      at: ({ text }) => text === 'commit' || text.includes('COMMIT'),
    });
    const committed = commit(connection);
    await cut;
    await cluster.replacePrimary();
    await committed;
    expect(await stock('SELECT balance FROM account ORDER BY id')).toEqual([99, 100]);
  });

  it('a lone host that takes no writes is used as it is', async () => {
    const secondary = cluster.gateways.find((one) => one !== cluster.gateway);
    const config = cluster.config({ port: secondary!.port });
    const reader = await connected(new Connection({ ...config, failover: true }));
    await cluster.postgres.waitForReplay();
    expect(await run(reader, 'SELECT balance FROM account ORDER BY id')).toEqual([[100], [100]]);
    await expect(run(reader, 'UPDATE account SET balance = 1')).rejects.toMatchObject({ number: 3906 });
    secondary!.cutAll();
    expect(await run(reader, 'SELECT balance FROM account ORDER BY id')).toEqual([[100], [100]]);
    reader.close();
  });

  it.each([
    { onTerminated: 'error' as const, gets: 596 },
    { onTerminated: 'replay' as const, gets: 'done' },
  ])('a session that is killed: onTerminated $onTerminated', async ({ onTerminated, gets }) => {
    const config = cluster.config();
    const killed = await connected(
      new Connection({ ...config, failover: { ...config.failover, onTerminated } }),
    );
    killed.on('error', () => undefined);
    await begin(killed);
    await run(killed, 'UPDATE account SET balance = balance - 1 WHERE id = 1');
    void cluster.gateway.faults.add({
      kind: 'error',
      at: ({ text }) => text.includes('balance - 2'),
      message: { number: 596, state: 1, class: 21, message: 'in the kill state', line: 1, procedure: '' },
      isCut: true,
    });
    const second = run(killed, 'UPDATE account SET balance = balance - 2 WHERE id = 1').then(
      () => 'done',
      (error: unknown) => (error as { number?: number }).number,
    );
    expect(await second).toBe(gets);
    if (gets === 'done') await commit(killed);
    killed.close();
    expect(await stock('SELECT balance FROM account ORDER BY id')).toEqual([gets === 'done' ? 97 : 100, 100]);
  });

  it('settings and the isolation level are restored', async () => {
    await run(connection, 'SET XACT_ABORT ON; SET LOCK_TIMEOUT 1234', 'batch');
    await cluster.replacePrimary();
    await begin(connection);
    await expect(run(connection, 'INSERT INTO account VALUES (1, 1)')).rejects.toMatchObject({
      number: 2627,
    });
    // XACT_ABORT has ended the transaction.
    expect(await run(connection, 'SELECT @@TRANCOUNT')).toEqual([[0]]);
  });

  it('a temporary table can not be brought to another server', async () => {
    await run(connection, 'CREATE TABLE #t (id int)', 'batch');
    const ended = new Promise<void>((resolve) =>
      connection.on('end', () => {
        resolve();
      }),
    );
    connection.on('error', () => undefined);
    await cluster.replacePrimary();
    await ended;
  });

  it('a value of IDENTITY that comes out otherwise is refused, never given twice', async () => {
    await begin(connection);
    const [[id]] = (await run(connection, "INSERT INTO note (text) OUTPUT inserted.id VALUES ('one')")) as [
      [number],
    ];
    expect(id).toBeGreaterThan(0);
    await cluster.replacePrimary();
    await expect(run(connection, "INSERT INTO note (text) VALUES ('two')")).rejects.toMatchObject({
      number: 1205,
    });
    await rollback(connection);
    expect(await stock('SELECT COUNT(*) FROM note')).toEqual(['0']);
  });
});
