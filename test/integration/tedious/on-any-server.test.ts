import net from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import type { ConnectionConfiguration } from 'tedious';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Connection } from '../../../src/tedious.ts';
import { createTokenTablesSql } from '../../../src/tedious/token/token-objects.ts';
import { realServer } from '../../support/sqlserver/real-server.ts';
import { begin, commit, connected, rollback, run, runStock } from '../../support/sqlserver/run-stock.ts';
import { SqlServerCluster } from '../../support/sqlserver/sql-server-cluster.ts';

/**
 * What can be tested of any server by its address alone: connections are cut in a relay in front of it, in the moment at
 * which a text goes by. `npm run test:mssql` runs it against a real SQL Server.
 */
let cluster: SqlServerCluster | null = null;
let stock: ConnectionConfiguration;
let relay: Relay;

/** Cuts connections when a text goes by to the server, before it gets there or when its answer comes back. */
class Relay {
  readonly #server: net.Server;
  readonly #sockets = new Set<Socket>();
  #text: Buffer | null = null;
  #isBefore = false;

  constructor(host: string, port: number) {
    this.#server = net.createServer((client) => {
      const server = net.connect(port, host);
      let isHit = false;
      const cut = (): void => {
        client.resetAndDestroy();
        server.destroy();
      };
      for (const socket of [client, server]) {
        this.#sockets.add(socket);
        socket.on('error', cut);
        socket.on('close', () => {
          this.#sockets.delete(socket);
          cut();
        });
      }
      client.on('data', (bytes: Buffer) => {
        if (this.#text !== null && bytes.includes(this.#text)) {
          this.#text = null;
          isHit = true;
          if (this.#isBefore) {
            cut();
            return;
          }
        }
        server.write(bytes);
      });
      server.on('data', (bytes: Buffer) => {
        if (isHit) cut();
        else client.write(bytes);
      });
    });
  }

  async start(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return (this.#server.address() as AddressInfo).port;
  }

  cutAt(text: string, when: 'before' | 'behind'): void {
    this.#text = Buffer.from(text, 'utf16le');
    this.#isBefore = when === 'before';
  }

  stop(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }
}

beforeAll(async () => {
  const real = realServer();
  if (real === null) {
    cluster = await SqlServerCluster.start({ standbys: 0 });
    stock = cluster.stockConfig();
  } else {
    stock = real;
    await runStock(stock, createTokenTablesSql('holdfast'));
  }
  relay = new Relay(stock.server, stock.options?.port ?? 1433);
  const port = await relay.start();
  relayed = { ...stock, server: '127.0.0.1', options: { ...stock.options, port } };
  await runStock(stock, 'CREATE TABLE holdfast_test (id int NOT NULL PRIMARY KEY, balance int NOT NULL)');
});
let relayed: ConnectionConfiguration;
let connection: Connection;

beforeEach(async () => {
  await runStock(stock, 'DELETE FROM holdfast_test;INSERT INTO holdfast_test VALUES (1, 100), (2, 100)');
  // What goes by has to be readable: a server that insists on encryption can't be tested so.
  connection = await connected(
    new Connection({ ...relayed, options: { ...relayed.options, encrypt: false } }),
  );
  return () => {
    connection.close();
  };
});
afterAll(async () => {
  await runStock(stock, 'DROP TABLE holdfast_test').catch(() => undefined);
  relay.stop();
  await cluster?.stop();
});

async function balances(): Promise<unknown[]> {
  return (await runStock(stock, 'SELECT balance FROM holdfast_test ORDER BY id')).flat();
}

describe('a connection that is cut in front of a server that lives on', () => {
  it.each(['before', 'behind'] as const)('%s a statement of a transaction', async (when) => {
    await begin(connection);
    await run(connection, 'UPDATE holdfast_test SET balance = balance - 1 WHERE id = 1');
    relay.cutAt('balance - 2', when);
    await run(connection, 'UPDATE holdfast_test SET balance = balance - 2 WHERE id = 1');
    await commit(connection);
    expect(await balances()).toEqual([97, 100]);
  });

  it.each(['before', 'behind'] as const)('%s its COMMIT', async (when) => {
    await begin(connection);
    await run(connection, 'UPDATE holdfast_test SET balance = balance - 1 WHERE id = 1');
    relay.cutAt('COMMIT TRANSACTION', when);
    await commit(connection);
    expect(await balances()).toEqual([99, 100]);
  });

  it.each(['before', 'behind'] as const)('%s an autocommit write', async (when) => {
    relay.cutAt('balance - 5', when);
    const written = run(connection, 'UPDATE holdfast_test SET balance = balance - 5 WHERE id = 1').then(
      () => 'done',
      (error: unknown) => (error as { number?: number }).number,
    );
    expect(await written).toBe(when === 'before' ? 'done' : 58008);
    expect(await balances()).toEqual([95, 100]);
  });

  it('goes on behind a ROLLBACK, an error in a transaction, and a lost read', async () => {
    await begin(connection);
    await expect(run(connection, 'INSERT INTO holdfast_test VALUES (1, 1)')).rejects.toMatchObject({
      number: 2627,
    });
    await rollback(connection);
    relay.cutAt('SELECT balance', 'behind');
    expect(await run(connection, 'SELECT balance FROM holdfast_test ORDER BY id')).toEqual([[100], [100]]);
    expect(await run(connection, 'SELECT @@TRANCOUNT')).toEqual([[0]]);
  });
});
