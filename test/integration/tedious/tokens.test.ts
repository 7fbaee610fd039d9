import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { runCli } from '../../../src/cli/run-cli.ts';
import type { LostCommit } from '../../../src/events.ts';
import * as stockTedious from 'tedious';
import { ServerConnection } from '../../../src/tedious/link/server-connection.ts';
import { ServerLink } from '../../../src/tedious/link/server-link.ts';
import { resolveKeys } from '../../../src/tedious/token/resolve-keys.ts';
import { readTombstone, tombstoneQuestion } from '../../../src/tedious/token/token-batches.ts';
import { Connection } from '../../../src/tedious.ts';
import { begin, commit, connected, run, runStock } from '../../support/sqlserver/run-stock.ts';
import { SqlServerCluster } from '../../support/sqlserver/sql-server-cluster.ts';
import { waitFor } from '../../support/wait-for.ts';

let cluster: SqlServerCluster;

async function resolveOnce(key: string): Promise<unknown> {
  const { host, port } = cluster.gateway;
  const connection = new ServerConnection(
    await ServerLink.dial(
      {
        Connection: stockTedious.Connection,
        config: cluster.stockConfig(),
        address: { host, port },
        dialTimeoutMillis: 5000,
      },
      AbortSignal.timeout(5000),
    ),
    { host, port },
  );
  try {
    return await resolveKeys(connection, 'holdfast', [key], AbortSignal.timeout(5000));
  } finally {
    connection.destroy();
  }
}

beforeAll(async () => {
  cluster = await SqlServerCluster.start({
    tokens: false,
    setUp: ['CREATE TABLE dbo.account (id int NOT NULL PRIMARY KEY, balance int NOT NULL)'],
  });
});
afterAll(async () => {
  await cluster.stop();
});

async function cli(...given: string[]): Promise<{ code: number; out: string; err: string }> {
  let out = '';
  let err = '';
  const code = await runCli(['init', '--engine', 'mssql', ...given], {
    out: (text) => (out += `${text}\n`),
    err: (text) => (err += `${text}\n`),
  });
  return { code, out, err };
}

async function balances(): Promise<unknown[]> {
  return (await runStock(cluster.stockConfig(), 'SELECT balance FROM account ORDER BY id')).flat();
}

async function fill(): Promise<void> {
  await runStock(cluster.stockConfig(), 'DELETE FROM account;INSERT INTO account VALUES (1, 100)');
}

describe('without the tables of commit tokens', () => {
  beforeEach(async () => {
    await cluster.ready();
    await fill();
  });

  it.each(['cut-before', 'cut-after'] as const)(
    'a COMMIT in doubt is unknown, and never run again: %s',
    async (kind) => {
      const connection = await connected(new Connection(cluster.config()));
      await begin(connection);
      await run(connection, 'UPDATE account SET balance = balance - 1 WHERE id = 1');
      await cluster.ship();
      const cut = cluster.gateway.faults.add({ kind, at: ({ text }) => text === 'commit' });
      const committed = commit(connection).then(
        () => 'done',
        (error: unknown) => (error as { number?: number }).number,
      );
      await cut;
      await cluster.replacePrimary();
      expect(await committed).toBe(58007);
      expect(await balances()).toEqual([kind === 'cut-before' ? 100 : 99]);
      // The session goes on.
      expect(await run(connection, 'SELECT 1')).toEqual([[1]]);
      connection.close();
    },
  );

  it('a COMMIT in doubt of a transaction that only read succeeds', async () => {
    const connection = await connected(new Connection(cluster.config()));
    await begin(connection);
    await run(connection, 'SELECT balance FROM account');
    const cut = cluster.gateway.faults.add({ kind: 'cut-before', at: ({ text }) => text === 'commit' });
    const committed = commit(connection);
    await cut;
    await cluster.replacePrimary();
    await committed;
    connection.close();
  });

  it('says so once, and refuses connections that insist on them', async () => {
    const told: unknown[] = [];
    const connection = new Connection({
      ...cluster.config(),
      failover: { hosts: [...cluster.hosts], timeoutMillis: 9000 },
    });
    connection.failover?.on('commitTokenUnavailable', (event) => told.push(event));
    await connected(connection);
    await run(connection, 'SELECT 1');
    expect(told.length).toBeLessThanOrEqual(1);
    connection.close();
    const insisting = new Connection({
      ...cluster.config(),
      failover: { hosts: [...cluster.hosts], commitOutcome: 'token' },
    });
    await expect(connected(insisting)).rejects.toThrow(/npx holdfast init --engine mssql/);
  });
});

describe('npx holdfast init --engine mssql', () => {
  it('makes the tables, and may run again', async () => {
    await cluster.ready();
    const { port } = cluster.gateway;
    const url = `mssql://app:app@127.0.0.1:${port}/app?encrypt=false`;
    expect(await cli('--check', '--url', url)).toMatchObject({
      code: 1,
      err: expect.stringContaining('missing'),
    });
    expect(await cli('--apply', '--url', url)).toMatchObject({ code: 0 });
    expect(await cli('--apply', '--url', url)).toMatchObject({ code: 0 });
    expect(await cli('--check', '--url', url)).toMatchObject({ code: 0 });
    expect((await cli()).out).toContain('CREATE TABLE [holdfast].[commit_token]');
    expect((await cli('--apply', '--url', url.replace(':app@', ':wrong@'))).err).not.toContain('wrong');
    expect(await cli('--role', 'x')).toMatchObject({ code: 2 });
    expect(await cli('--apply')).toMatchObject({ code: 2 });
  });
});

describe('with them', () => {
  beforeEach(async () => {
    await cluster.ready();
    await fill();
  });

  it('an acknowledged commit that the new primary does not have is reported', async () => {
    const connection = await connected(new Connection(cluster.config()));
    const lost: LostCommit[] = [];
    connection.failover?.on('lostCommit', (event) => lost.push(event));
    await begin(connection);
    await run(connection, 'UPDATE account SET balance = balance - 1 WHERE id = 1');
    await commit(connection);
    await cluster.ship();
    const [standby] = cluster.postgres.standbys;
    await cluster.postgres.primary.freezeWalSender(standby);
    await begin(connection);
    await run(connection, "UPDATE account SET balance = balance - 10 WHERE id = 1 -- it's lost");
    await commit(connection);
    await cluster.postgres.primary.kill();
    cluster.gateway.kill();
    await cluster.postgres.failover();
    expect(await run(connection, 'SELECT balance FROM account')).toEqual([[99]]);
    expect(lost).toHaveLength(1);
    expect(lost[0]).toMatchObject({ outcome: 'lost', reason: 'token-missing', database: 'app', user: 'app' });
    expect(lost[0]?.statements.join()).toContain('balance - 10');
    expect(connection.failover?.snapshot().commitsLost).toBe(1);
    connection.close();
  });

  it('a tombstone below the mark proves nothing, however often it is asked for', async () => {
    const key = '00000000000500000000000000000000';
    const watermark = 'UPDATE holdfast.commit_token_watermark SET below = 0x00000000000600000000000000000000';
    const ask = async (): Promise<unknown> =>
      await runStock(cluster.stockConfig(), tombstoneQuestion('holdfast', key, 1000)).catch(
        (error: unknown) => (error as { number?: number }).number,
      );
    // Of new tables it is above the server's clock.
    await runStock(cluster.stockConfig(), watermark.replace('0006', '0004'));
    expect(await ask()).toEqual([['fenced']]);
    await runStock(cluster.stockConfig(), watermark);
    expect(readTombstone({ rows: [['purged']], errors: [] }).kind).toBe('unknown');
    // Behind a duplicate key the row still comes.
    const found = await resolveOnce(key);
    expect(found).toEqual({ outcome: 'unknown', reason: 'token-too-old' });
  });

  it('old tokens are purged, behind a mark that says so', async () => {
    const connection = new Connection(cluster.config());
    await connected(connection);
    await runStock(
      cluster.stockConfig(),
      'INSERT INTO holdfast.commit_token (token) VALUES (0x00000000000100000000000000000000)',
    );
    const { TokenPurger } = await import('../../../src/tedious/token/token-purger.ts');
    const { ServerConnection } = await import('../../../src/tedious/link/server-connection.ts');
    const { ServerLink } = await import('../../../src/tedious/link/server-link.ts');
    const stock = await import('tedious');
    const { host, port } = cluster.gateway;
    const purger = new TokenPurger({
      coordinator: {
        publish: (_name: string, event: unknown) => {
          expect(event).toBe('never');
        },
      } as never,
      schema: 'holdfast',
      retentionMillis: 60_000,
      connect: async () =>
        new ServerConnection(
          await ServerLink.dial(
            {
              Connection: stock.Connection,
              config: cluster.stockConfig(),
              address: { host, port },
              dialTimeoutMillis: 5000,
            },
            AbortSignal.timeout(5000),
          ),
          { host, port },
        ),
    });
    await purger.purge();
    await waitFor(
      async () =>
        (
          await runStock(
            cluster.stockConfig(),
            'SELECT token FROM holdfast.commit_token WHERE token < 0x00000000000200000000000000000000',
          )
        ).length === 0,
    );
    const [[below]] = (await runStock(
      cluster.stockConfig(),
      'SELECT below FROM holdfast.commit_token_watermark',
    )) as [[Buffer]];
    expect(below.readUIntBE(0, 6)).toBeGreaterThan(Date.now() - 120_000);
    connection.close();
  });
});
