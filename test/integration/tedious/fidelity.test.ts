import * as stock from 'tedious';
import { Request, TYPES } from 'tedious';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Connection } from '../../../src/tedious.ts';
import { selfSignedCertificate } from '../../support/self-signed-certificate.ts';
import { runStock } from '../../support/sqlserver/run-stock.ts';
import { SqlServerCluster } from '../../support/sqlserver/sql-server-cluster.ts';

const CONNECTION_EVENTS = [
  'connect',
  'end',
  'error',
  'databaseChange',
  'languageChange',
  'charsetChange',
  'infoMessage',
  'errorMessage',
  'resetConnection',
  'rollbackTransaction',
  'commitTransaction',
  'beginTransaction',
] as const;
const REQUEST_EVENTS = [
  'columnMetadata',
  'row',
  'done',
  'doneInProc',
  'doneProc',
  'returnValue',
  'order',
  'requestCompleted',
  'cancel',
  'prepared',
  'error',
] as const;

type Trace = string[];

/** What differs from one connection to the next, and means nothing. */
function plain(value: unknown): string {
  return JSON.stringify(value, (key, one: unknown) => {
    if (one instanceof Error) {
      const { name, message, code, number } = one as Error & { code?: unknown; number?: unknown };
      return { name, message, code, number };
    }
    if (typeof one === 'object' && one !== null && (one as { type?: unknown }).type === 'Buffer')
      return 'bytes';
    if (typeof one === 'bigint') return String(one);
    // The numbers of transactions and of prepared statements are the server's, or the driver's.
    if (key === 'metadata' || key === 'colMetadata') return '…';
    return one;
  }).replace(/^\["handle",\d+/, '["handle",…');
}

async function trace(connection: stock.Connection): Promise<Trace> {
  const told: Trace = [];
  for (const event of CONNECTION_EVENTS) {
    (connection as unknown as NodeJS.EventEmitter).on(event, (...args: unknown[]) =>
      told.push(`connection.${event} ${plain(args)}`),
    );
  }
  const state = (): string => {
    const { inTransaction, transactionDepth } = connection as unknown as {
      inTransaction: boolean;
      transactionDepth: number;
    };
    return `${connection.state.name} ${inTransaction} ${transactionDepth}`;
  };
  const step = (name: string, act: (done: (...args: unknown[]) => void) => void): Promise<void> =>
    new Promise((resolve) => {
      act((...args) => {
        told.push(`${name} called back ${plain(args)} ${state()}`);
        // Whatever is still to be told belongs to this step.
        setImmediate(resolve);
      });
    });
  const request = (sql: string, done: (...args: unknown[]) => void): Request => {
    const made = new Request(sql, done as never);
    for (const event of REQUEST_EVENTS) {
      (made as unknown as NodeJS.EventEmitter).on(event, (...args: unknown[]) =>
        told.push(`${event} ${plain(args)}`),
      );
    }
    return made;
  };
  const batch = (sql: string): Promise<void> =>
    step(sql, (done) => {
      connection.execSqlBatch(request(sql, done));
    });
  const statement = (sql: string, add?: (one: Request) => void): Promise<void> =>
    step(sql, (done) => {
      const one = request(sql, done);
      add?.(one);
      connection.execSql(one);
    });

  await step('connect', (done) => {
    connection.connect(done);
  });
  await batch('DELETE FROM item');
  await statement('SELECT 1 AS one, CAST(NULL AS nvarchar(10)) AS nothing');
  await batch("INSERT INTO item (id, name) VALUES (1, N'a'); SELECT id, name FROM item; SELECT 2 AS two");
  await statement('SELECT id, name FROM item WHERE id = @id', (one) => {
    one.addParameter('id', TYPES.Int, 1);
  });
  await statement('SET @out = @in + 1', (one) => {
    one.addParameter('in', TYPES.Int, 41);
    one.addOutputParameter('out', TYPES.Int);
  });
  await statement('UPDATE item SET name = @name', (one) => {
    one.addParameter('name', TYPES.NVarChar, 'b');
  });
  await statement("INSERT INTO item (id, name) VALUES (1, N'twice')");
  await batch("UPDATE item SET name = N'c'; SELECT @@ROWCOUNT AS changed");
  await step('begin', (done) => {
    connection.beginTransaction(done, 'outer');
  });
  await statement("INSERT INTO item (id, name) VALUES (2, N'two')");
  await statement("INSERT INTO item (id, name) VALUES (2, N'again')");
  await step('save', (done) => {
    connection.saveTransaction(done, 'inner');
  });
  await statement('DELETE FROM item');
  await step('rollback to', (done) => {
    connection.rollbackTransaction(done, 'inner');
  });
  await step('commit', (done) => {
    connection.commitTransaction(done);
  });
  await statement('SELECT COUNT(*) AS count FROM item');
  await step('begin', (done) => {
    connection.beginTransaction(done, '', stock.ISOLATION_LEVEL.REPEATABLE_READ);
  });
  await statement('DELETE FROM item');
  await step('rollback', (done) => {
    connection.rollbackTransaction(done);
  });
  await batch('BEGIN TRAN; INSERT INTO item (id) VALUES (7); COMMIT TRAN');
  await batch('SELECT nothing FROM nowhere');
  await batch("PRINT N'hello'; RAISERROR(N'careful', 16, 1)");
  await step('timeout', (done) => {
    const one = request("WAITFOR DELAY '00:00:05'", done);
    one.setTimeout(80);
    connection.execSql(one);
  });
  await step('cancel', (done) => {
    const one = request("WAITFOR DELAY '00:00:05'", done);
    connection.execSql(one);
    setTimeout(() => connection.cancel(), 80);
  });
  const prepared = request('SELECT name FROM item WHERE id = @id', () => undefined);
  prepared.addParameter('id', TYPES.Int);
  await new Promise<void>((resolve) => {
    prepared.on('prepared', () => {
      resolve();
    });
    connection.prepare(prepared);
  });
  for (const id of [1, 2]) {
    await step('execute', (done) => {
      prepared.callback = done as never;
      connection.execute(prepared, { id });
    });
  }
  await step('unprepare', (done) => {
    prepared.callback = done as never;
    connection.unprepare(prepared);
  });
  await step('bulk', (done) => {
    const load = connection.newBulkLoad('item', done as never);
    load.addColumn('id', TYPES.Int, { nullable: false });
    load.addColumn('name', TYPES.NVarChar, { length: 50, nullable: true });
    connection.execBulkLoad(load, [
      { id: 100, name: 'x' },
      { id: 101, name: null },
    ]);
  });
  await statement('SELECT id, name FROM item ORDER BY id');
  await step('reset', (done) => {
    connection.reset(done);
  });
  await statement('SELECT 3 AS three');
  await new Promise<void>((resolve) => {
    connection.on('end', () => setImmediate(resolve));
    connection.close();
  });
  return told;
}

describe.each([
  { tls: false, tokens: false },
  { tls: false, tokens: true },
  { tls: true, tokens: true },
])('the events of a session, with TLS: $tls, commit tokens: $tokens', ({ tls, tokens }) => {
  let cluster: SqlServerCluster;
  beforeAll(async () => {
    cluster = await SqlServerCluster.start({
      standbys: 0,
      tokens,
      ...(tls ? { tls: selfSignedCertificate('localhost', '127.0.0.1') } : {}),
      setUp: ['CREATE TABLE item (id int PRIMARY KEY, name nvarchar(50))'],
    });
  });
  afterAll(async () => {
    await cluster.stop();
  });

  it('are those of stock tedious', async () => {
    // Both find the table empty.
    const empty = (): Promise<unknown> => runStock(cluster.stockConfig({ encrypt: tls }), 'DELETE FROM item');
    const expected = await trace(new stock.Connection(cluster.stockConfig({ encrypt: tls })));
    await empty();
    const seen = await trace(new Connection(cluster.config({ encrypt: tls })));
    expect(expected.length).toBeGreaterThan(100);
    expect(seen).toEqual(expected);
  });
});
