import stock from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConformanceLab, DRIVERS, errorOf, errorsOf, record, type Driver } from '../support/drivers.ts';
import { onMessage } from '../support/on-message.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import { waitFor } from '../support/wait-for.ts';

const lab = ConformanceLab.forThisFile();
let proxy: TcpProxy;
beforeAll(async () => {
  proxy = await TcpProxy.start(lab.node);
});
afterAll(async () => {
  await proxy.stop();
});

const NOT_QUERYABLE = 'Client has encountered a connection error and is not queryable';
const TERMINATED = 'Connection terminated unexpectedly';

async function connectThroughProxy(driver: Driver, extra: object = {}): Promise<any> {
  await proxy.reset();
  return await lab.connect(driver, { host: proxy.host, port: proxy.port, ...extra });
}

describe.each(DRIVERS)('a connection of $name is lost', (driver) => {
  it.each([
    ['ends', 'fin', undefined],
    ['is reset', 'cut', 'ECONNRESET'],
  ] as const)(
    'and %s without a word: active and queued queries reject, "error" and "end" follow; with failover they give their results',
    async (_what, how, code) => {
      const client = await connectThroughProxy(driver);
      const trace = record(client, ['error', 'end']);
      const held = onMessage(proxy, { from: 'server', type: 'D' }, 'hold');
      const active = client.query('SELECT 1 AS one');
      const queued = client.query('SELECT 2 AS two');
      const settled = Promise.allSettled([active, queued]);
      await held;
      proxy[how]();
      const [first, second] = (await settled) as any[];
      if (driver.hasFailover) {
        expect(first.value.rows).toEqual([{ one: 1 }]); // R2
        expect(second.value.rows).toEqual([{ two: 2 }]); // R1
        expect(trace).toEqual([]);
        return;
      }
      for (const { reason } of [first, second]) {
        expect(reason).toBeInstanceOf(Error);
        expect(reason).not.toBeInstanceOf(stock.DatabaseError);
        // A reset is told as such, or as an end, whichever pg sees first.
        expect([undefined, code]).toContain(reason.code);
        if (reason.code === undefined) expect(reason.message).toBe(TERMINATED);
      }
      await waitFor(() => trace.includes('end'));
      expect(trace[0]).toBe('error');
      expect(trace.at(-1)).toBe('end');
      expect((await errorOf(client.query('SELECT 1'))).message).toBe(NOT_QUERYABLE);
    },
  );

  it('and no server comes back: all reject, "error" and "end" follow, and no query is taken any more', async () => {
    const client = await connectThroughProxy(
      driver,
      driver.hasFailover ? { failover: { timeoutMillis: 200 } } : {},
    );
    const trace = record(client, ['error', 'end']);
    const held = onMessage(proxy, { from: 'server', type: 'D' }, 'hold');
    const active = errorOf(client.query('SELECT 1'));
    const queued = errorOf(client.query('SELECT 2'));
    await held;
    await proxy.stop();
    expect(await active).toBeInstanceOf(Error);
    expect(await queued).toBeInstanceOf(Error);
    // Said by the driver: it looked for another server, and how long.
    if (driver.hasFailover) expect(await active).toMatchObject({ code: '08006', kind: 'failover-failed' });
    await waitFor(() => trace.includes('end'));
    expect(trace[0]).toBe('error');
    expect(trace.at(-1)).toBe('end');
    expect(errorsOf(client)).not.toHaveLength(0);
    expect((await errorOf(client.query('SELECT 1'))).message).toBe(NOT_QUERYABLE);
    await client.end();
    expect((await errorOf(client.query('SELECT 1'))).message).toBe(NOT_QUERYABLE);
  });

  it('while it is idle, without a word: "error" and "end"; with failover nothing, and the next query runs', async () => {
    const client = await connectThroughProxy(driver);
    const trace = record(client, ['error', 'end']);
    proxy.fin();
    if (driver.hasFailover) {
      expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]); // R8
      expect(trace).toEqual([]);
      return;
    }
    await waitFor(() => trace.includes('end'));
    expect(trace).toEqual(['error', 'end']);
    expect(errorsOf(client).map(({ message }) => message)).toEqual([TERMINATED]);
  });

  it('inside a transaction: the next query is refused; with failover the transaction goes on', async () => {
    const client = await connectThroughProxy(driver);
    const trace = record(client, ['error', 'end']);
    await client.query('BEGIN');
    await client.query('SELECT 1');
    proxy.fin();
    if (driver.hasFailover) {
      expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]); // R4
      expect(client.getTransactionStatus()).toBe('T');
      expect((await client.query('COMMIT')).command).toBe('COMMIT');
      return;
    }
    await waitFor(() => trace.includes('end'));
    expect((await errorOf(client.query('COMMIT'))).message).toBe(NOT_QUERYABLE);
  });
});

/** Aimed at a session that is busy, it is the administrator's will, with failover as well (R14). */
describe.each(DRIVERS)('a client of the pool of $name is terminated while it is out', (driver) => {
  it('the client emits "error", the pool does not, and release() without an error drops it', async () => {
    const pool = lab.pool(driver, { max: 1 });
    const ofThePool: unknown[] = [];
    pool.on('error', (error) => ofThePool.push(error));
    const client: any = await pool.connect();
    const trace = record(client, ['error', 'end']);
    await client.query('BEGIN');
    await lab.node.query('SELECT pg_terminate_backend($1)', [client.processID]);
    await waitFor(() => trace.includes('end'));
    expect(trace[0]).toBe('error');
    expect((await errorOf(client.query('COMMIT'))).message).toBe(NOT_QUERYABLE);
    expect(pool.totalCount).toBe(1);
    client.release();
    await waitFor(() => pool.totalCount === 0);
    expect(ofThePool).toEqual([]);
    expect((await pool.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  it('pool.query() rejects with the error of the server, and the client is dropped', async () => {
    const pool = lab.pool(driver, { max: 1 });
    const removed: unknown[] = [];
    pool.on('remove', (client) => removed.push(client));
    const running = errorOf(pool.query('SELECT pg_sleep(30)'));
    await waitFor(async () => {
      const { rowCount } = await lab.node.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'`,
      );
      return rowCount === 1;
    });
    expect(await running).toMatchObject({ code: '57P01' });
    await waitFor(() => removed.length === 1);
    expect(pool.totalCount).toBe(0);
  });
});
