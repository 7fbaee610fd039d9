import { setTimeout as sleep } from 'node:timers/promises';
import stock from 'pg';
import { describe, expect, it } from 'vitest';
import { ConformanceLab, DRIVERS, errorOf } from '../support/drivers.ts';
import { freePort } from '../support/free-port.ts';
import { waitFor } from '../support/wait-for.ts';

const lab = ConformanceLab.forThisFile();
const EVENTS = ['connect', 'acquire', 'release', 'remove', 'error'];

/** Events of a pool with the client's number, in the order of the clients' first appearance. */
function traceOf(pool: stock.Pool): string[] {
  const trace: string[] = [];
  const numbers = new Map<unknown, number>();
  for (const event of EVENTS) {
    pool.on(event as 'connect', (...values: any[]) => {
      const client = event === 'release' || event === 'error' ? values[1] : values[0];
      if (!numbers.has(client)) numbers.set(client, numbers.size + 1);
      const error = event === 'release' || event === 'error' ? values[0] : undefined;
      trace.push(
        `${event} ${numbers.get(client)}${error === undefined || error === null ? '' : ` ${error.code ?? error.message ?? error}`}`,
      );
    });
  }
  return trace;
}

describe.each(DRIVERS)('the pool of $name', (driver) => {
  const { pg } = driver;

  it('has the options and counters of pg', () => {
    const pool: any = new pg.Pool(lab.config(driver, { max: 3, min: 1, idleTimeoutMillis: 5, maxUses: 7 }));
    const { max, min, idleTimeoutMillis, maxUses, allowExitOnIdle, maxLifetimeSeconds, host, user } =
      pool.options;
    expect({ max, min, idleTimeoutMillis, maxUses, allowExitOnIdle, maxLifetimeSeconds, host, user }).toEqual(
      {
        max: 3,
        min: 1,
        idleTimeoutMillis: 5,
        maxUses: 7,
        allowExitOnIdle: false,
        maxLifetimeSeconds: 0,
        host: '127.0.0.1',
        user: 'app',
      },
    );
    const { totalCount, idleCount, waitingCount, expiredCount, ending, ended } = pool;
    expect({ totalCount, idleCount, waitingCount, expiredCount, ending, ended }).toEqual({
      totalCount: 0,
      idleCount: 0,
      waitingCount: 0,
      expiredCount: 0,
      ending: false,
      ended: false,
    });
    expect(pool.options.password).toBe('app');
    expect(Object.keys(pool.options)).not.toContain('password');
    expect(pool.Client).toBe(pg.Client);
    const stockPool = new stock.Pool(
      lab.config(driver, { max: 3, min: 1, idleTimeoutMillis: 5, maxUses: 7 }),
    );
    expect(Object.keys(pool).sort()).toEqual(Object.keys(stockPool).sort());
    expect(Object.keys(pool.options).sort()).toEqual(Object.keys(stockPool.options).sort());
  });

  it('without anything has the defaults of pg', () => {
    const { max, idleTimeoutMillis } = new pg.Pool().options;
    expect({ max, idleTimeoutMillis }).toEqual({ max: 10, idleTimeoutMillis: 10_000 });
  });

  it('makes clients that are clients of pg, and gives the same one again', async () => {
    const pool = lab.pool(driver, { max: 1 });
    const client: any = await pool.connect();
    expect(client).toBeInstanceOf(stock.Client);
    expect(client).toBeInstanceOf(pg.Client);
    client.hungOnto = 'state';
    client.release();
    expect(((await pool.connect()) as any).hungOnto).toBe('state');
    client.release();
  });

  it('connect() takes a callback with client and done, which is its release', async () => {
    const pool: any = lab.pool(driver);
    const [error, client, done] = await new Promise<any[]>((resolve) => {
      const returned = pool.connect((...values: unknown[]) => {
        resolve(values);
      });
      expect(returned).toBeUndefined();
    });
    expect(error).toBeUndefined();
    expect(done).toBe(client.release);
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    done();
    expect(pool.idleCount).toBe(1);
  });

  it('emits onConnect, connect, acquire, verify, release and remove in this order', async () => {
    const trace: string[] = [];
    const pool = lab.pool(driver, {
      max: 1,
      onConnect: async (client: any) => {
        trace.push('onConnect begins');
        await client.query('SELECT 1');
        trace.push('onConnect ends');
      },
      verify: (_client: unknown, done: () => void) => {
        trace.push('verify');
        done();
      },
    });
    for (const event of EVENTS) pool.on(event as 'connect', () => trace.push(event));
    const client = await pool.connect();
    trace.push('got');
    client.release();
    const again = await pool.connect();
    again.release(true);
    await waitFor(() => trace.includes('remove'));
    expect(trace).toEqual([
      'onConnect begins', 'onConnect ends', 'connect', 'acquire', 'verify', 'got', 'release', 'acquire', 'release', 'remove',
    ]); // prettier-ignore
  });

  it('drops a client that onConnect or verify refuse', async () => {
    const failure = new Error('refused');
    const refusing = lab.pool(driver, { onConnect: async () => await Promise.reject(failure) });
    expect(await errorOf(refusing.connect())).toBe(failure);
    expect(refusing.totalCount).toBe(0);
    const verifying = lab.pool(driver, { verify: (_client: unknown, done: (error: Error) => void) => { done(failure); } }); // prettier-ignore
    expect(await errorOf(verifying.connect())).toBe(failure);
    await waitFor(() => verifying.totalCount === 0);
  });

  it('query() works in each form, and gives the client back', async () => {
    const pool: any = lab.pool(driver, { max: 1 });
    const trace = traceOf(pool);
    expect((await pool.query('SELECT $1::int AS a', [1])).rows).toEqual([{ a: 1 }]);
    expect((await pool.query({ text: 'SELECT 2 AS a', rowMode: 'array' })).rows).toEqual([[2]]);
    const viaCallback = await new Promise<any>((resolve, reject) => {
      const returned = pool.query('SELECT $1::int AS a', [3], (error: unknown, result: unknown) => {
        if (error instanceof Error) reject(error);
        else resolve(result);
      });
      expect(returned).toBeUndefined();
    });
    expect(viaCallback.rows).toEqual([{ a: 3 }]);
    const refused = await new Promise<Error>((resolve) => {
      pool.query(resolve);
    });
    expect(refused.message).toBe('Passing a function as the first parameter to pool.query is not supported');
    expect(trace).toEqual([
      'connect 1',
      'acquire 1',
      'release 1',
      'acquire 1',
      'release 1',
      'acquire 1',
      'release 1',
    ]);
  });

  it('drops the connection of a query that failed', async () => {
    const pool = lab.pool(driver, { max: 1 });
    const trace = traceOf(pool);
    expect(await errorOf(pool.query('SELECT 1/0'))).toMatchObject({ code: '22012' });
    await waitFor(() => trace.length === 4);
    expect(trace).toEqual(['connect 1', 'acquire 1', 'release 1 22012', 'remove 1']);
    expect(pool.totalCount).toBe(0);
    expect((await pool.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  it('lets wait who comes when it is full, in order', async () => {
    const pool = lab.pool(driver, { max: 2 });
    const [first, second] = await Promise.all([pool.connect(), pool.connect()]);
    const order: number[] = [];
    const waiting = [1, 2, 3].map(async (number) => {
      await pool.connect().then((client) => {
        order.push(number);
        client.release();
      });
    });
    expect([pool.totalCount, pool.idleCount, pool.waitingCount]).toEqual([2, 0, 3]);
    first.release();
    second.release();
    await Promise.all(waiting);
    expect(order).toEqual([1, 2, 3]);
    expect([pool.totalCount, pool.idleCount, pool.waitingCount]).toEqual([2, 2, 0]);
  });

  it('says so when nobody gave a client back in time', async () => {
    const pool = lab.pool(driver, { max: 1, connectionTimeoutMillis: 1_000 });
    const client = await pool.connect();
    expect((await errorOf(pool.connect())).message).toBe('timeout exceeded when trying to connect');
    client.release();
    expect((await pool.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  it('says so when a server does not answer in time', async () => {
    const { createServer } = await import('node:net');
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    const pool = lab.pool(driver, { port, connectionTimeoutMillis: 150 });
    const error = await errorOf(pool.connect());
    expect(error.message).toBe('Connection terminated due to connection timeout');
    expect(error.cause).toBeInstanceOf(Error);
    expect(pool.totalCount).toBe(0);
    server.close();
  });

  it('hands on what connecting fails with, and has no client then', async () => {
    const pool = lab.pool(driver, { password: 'wrong' });
    expect(await errorOf(pool.connect())).toMatchObject({ code: '28P01' });
    expect(await errorOf(pool.query('SELECT 1'))).toMatchObject({ code: '28P01' });
    expect(pool.totalCount).toBe(0);
    const port = await freePort();
    const refused = lab.pool(driver, { port });
    expect(await errorOf(refused.query('SELECT 1'))).toMatchObject({ code: 'ECONNREFUSED', port });
    expect(refused.totalCount).toBe(0);
  });

  it('refuses a second release, and drops who is released with an error', async () => {
    const pool = lab.pool(driver);
    const client = await pool.connect();
    client.release();
    expect(() => {
      client.release();
    }).toThrow('Release called on client which has already been released to the pool.');
    const other = await pool.connect();
    other.release(new Error('not this one'));
    expect(pool.totalCount).toBe(0);
  });

  it('drops a client that was ended by its user', async () => {
    const pool = lab.pool(driver);
    const client = await pool.connect();
    await client.end();
    client.release();
    expect(pool.totalCount).toBe(0);
    expect((await pool.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  it('closes what was idle for idleTimeoutMillis', async () => {
    const pool = lab.pool(driver, { idleTimeoutMillis: 60 });
    const trace = traceOf(pool);
    await pool.query('SELECT 1');
    expect(pool.idleCount).toBe(1);
    await waitFor(() => trace.includes('remove 1'));
    expect(pool.totalCount).toBe(0);
  });

  it('keeps min clients, and never closes idle ones with idleTimeoutMillis 0', async () => {
    const pool = lab.pool(driver, { idleTimeoutMillis: 20, min: 1 });
    const clients = await Promise.all([pool.connect(), pool.connect()]);
    for (const client of clients) client.release();
    await waitFor(() => pool.totalCount === 1);
    await sleep(60);
    expect(pool.totalCount).toBe(1);
    const keeping = lab.pool(driver, { idleTimeoutMillis: 0 });
    await keeping.query('SELECT 1');
    await sleep(60);
    expect(keeping.idleCount).toBe(1);
  });

  it('uses a client maxUses times, and no longer than maxLifetimeSeconds', async () => {
    const pool = lab.pool(driver, { max: 1, maxUses: 2 });
    const pids: number[] = [];
    for (let i = 0; i < 4; i++) pids.push((await pool.query('SELECT pg_backend_pid() AS pid')).rows[0].pid);
    expect(pids[0]).toBe(pids[1]);
    expect(pids[2]).toBe(pids[3]);
    expect(pids[1]).not.toBe(pids[2]);
    const aging = lab.pool(driver, { maxLifetimeSeconds: 1 });
    const client = await aging.connect();
    await sleep(1_100);
    expect(aging.expiredCount).toBe(1);
    client.release();
    expect([aging.expiredCount, aging.totalCount]).toEqual([0, 0]);
  });

  it("tells of an idle client's end with 'error', and goes on; with failover it goes on in silence", async () => {
    const pool = lab.pool(driver, { max: 1 });
    const trace = traceOf(pool);
    const told: any[] = [];
    pool.on('error', (error, client) => told.push([error, client]));
    const { rows } = await pool.query('SELECT pg_backend_pid() AS pid');
    // Waits until it has gone: a statement that is sent before would be in flight, and be told.
    await lab.node.query('SELECT pg_terminate_backend($1, 5000)', [rows[0].pid]);
    if (driver.hasFailover) {
      expect((await pool.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]); // R8, R14
      expect(told).toEqual([]);
      return;
    }
    await waitFor(() => trace.includes('remove 1'));
    expect(trace).toEqual(['connect 1', 'acquire 1', 'release 1', 'error 1 57P01', 'remove 1']);
    expect(told[0][0].client).toBe(told[0][1]);
    expect((await pool.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  it('takes a class of the application as Client', async () => {
    class OwnClient extends pg.Client {
      own = true;
    }
    const pool = lab.pool(driver, { Client: OwnClient });
    const client: any = await pool.connect();
    expect(client.own).toBe(true);
    expect(client).toBeInstanceOf(OwnClient);
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    client.release();
  });

  it('can be stock pg-pool with our Client as its second argument', async () => {
    const PgPool = Object.getPrototypeOf(stock.Pool) as new (options: object, Client: unknown) => stock.Pool;
    const pool = new PgPool(lab.config(driver), pg.Client);
    const client = await pool.connect();
    expect(client).toBeInstanceOf(pg.Client);
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    client.release();
    await pool.end();
  });

  it('end() waits for who is out, and refuses newcomers', async () => {
    const pool = lab.pool(driver);
    const trace = traceOf(pool);
    const client = await pool.connect();
    await pool.query('SELECT 1');
    let hasEnded = false;
    const ending = pool.end().then(() => {
      hasEnded = true;
    });
    expect(pool.ending).toBe(true);
    expect((await errorOf(pool.connect())).message).toBe('Cannot use a pool after calling end on the pool');
    expect((await errorOf(pool.query('SELECT 1'))).message).toBe(
      'Cannot use a pool after calling end on the pool',
    );
    expect((await errorOf(pool.end())).message).toBe('Called end on pool more than once');
    await sleep(30);
    expect(hasEnded).toBe(false);
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    client.release();
    await ending;
    expect(pool.ended).toBe(true);
    expect(pool.totalCount).toBe(0);
    expect(trace.filter((event) => event.startsWith('remove')).sort()).toEqual(['remove 1', 'remove 2']);
  });

  it('end() takes a callback, also without any client', async () => {
    const pool = lab.pool(driver);
    await new Promise<void>((resolve) => {
      pool.end(resolve);
    });
    expect(pool.ended).toBe(true);
  });

  it('says what it does to log', async () => {
    const lines: unknown[] = [];
    const pool = lab.pool(driver, { log: (...values: unknown[]) => lines.push(values[0]) });
    await pool.query('SELECT 1');
    expect(lines.slice(0, 4)).toEqual([
      'checking client timeout',
      'connecting new client',
      'new client connected',
      'dispatching query',
    ]);
  });
});
