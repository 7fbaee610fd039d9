import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { ConformanceLab, DRIVERS, errorOf, errorsOf, record } from '../support/drivers.ts';
import { waitFor } from '../support/wait-for.ts';

const lab = ConformanceLab.forThisFile();

async function backendLives(pid: number): Promise<boolean> {
  const { rowCount } = await lab.node.query('SELECT FROM pg_stat_activity WHERE pid = $1', [pid]);
  return rowCount === 1;
}

describe.each(DRIVERS)('end() of $name', (driver) => {
  it('resolves when the connection is closed, and the backend goes', async () => {
    const client: any = await lab.connect(driver);
    const trace = record(client, ['end', 'error']);
    const pid = client.processID as number;
    expect(await client.end()).toBeUndefined();
    await sleep(0);
    expect(trace).toEqual(['end']);
    await waitFor(async () => !(await backendLives(pid)));
  });

  it('calls back, and returns undefined', async () => {
    const client: any = await lab.connect(driver);
    const values = await new Promise<unknown[]>((resolve) => {
      const returned = client.end((...passed: unknown[]) => {
        resolve([returned, ...passed]);
      });
    });
    expect(values).toEqual([undefined]);
  });

  it('may be called again', async () => {
    const client = await lab.connect(driver);
    await Promise.all([client.end(), client.end()]);
    await client.end();
    expect(errorsOf(client)).toEqual([]);
  });

  it('of a client that was never connected resolves at once', async () => {
    const client: any = lab.client(driver);
    const outcome = await Promise.race([client.end().then(() => 'ended'), sleep(300, 'silence')]);
    expect(outcome).toBe('ended');
  });

  it('before the connection is made rejects connect()', async () => {
    const client = lab.client(driver);
    const trace = record(client, ['connect', 'end', 'error']);
    const connecting = errorOf(client.connect());
    await Promise.race([client.end(), sleep(500)]);
    const outcome = await Promise.race([connecting.then((error) => error.message), sleep(500, 'silence')]);
    expect(['Connection terminated', 'silence']).toContain(outcome);
    expect(trace.filter((event) => event !== 'end')).toEqual([]);
  });

  it('while a statement runs cuts it off', async () => {
    const client: any = await lab.connect(driver);
    const running = errorOf(client.query('SELECT pg_sleep(30)'));
    const waiting = errorOf(client.query('SELECT 1'));
    const before = performance.now();
    await sleep(20);
    await client.end();
    expect((await running).message).toBe('Connection terminated');
    expect((await waiting).message).toBe('Connection terminated');
    expect(performance.now() - before).toBeLessThan(5_000);
    await sleep(0);
    expect(errorsOf(client)).toEqual([]);
  });

  it('inside a transaction rolls it back', async () => {
    const client: any = await lab.connect(driver);
    await client.query('CREATE TABLE IF NOT EXISTS ended (a int)');
    await client.query('BEGIN');
    await client.query('INSERT INTO ended VALUES (1)');
    const pid = client.processID as number;
    await client.end();
    await waitFor(async () => !(await backendLives(pid)));
    expect((await lab.node.query('SELECT count(*)::int AS n FROM ended')).rows).toEqual([{ n: 0 }]);
  });

  it('in the callback of connect() comes before what was queried there, which never runs', async () => {
    await lab.node.query(
      'CREATE TABLE IF NOT EXISTS never (a int); TRUNCATE never; GRANT ALL ON never TO app',
    );
    const client: any = lab.client(driver);
    const failed = new Promise<Error>((resolve) => {
      client.connect(() => {
        // Nothing is sent before the callback is over: the goodbye goes out first.
        client.query('INSERT INTO never VALUES (1)', resolve);
        client.end();
      });
    });
    expect((await failed).message).toBe('Connection terminated');
    await sleep(200);
    expect((await lab.node.query('SELECT count(*)::int AS n FROM never')).rows).toEqual([{ n: 0 }]);
  });

  it('leaves the client refusing queries', async () => {
    const client = await lab.connect(driver);
    await client.end();
    const message = 'Client was closed and is not queryable';
    expect((await errorOf(client.query('SELECT 1'))).message).toBe(message);
    const viaCallback = await new Promise<Error>((resolve) => {
      client.query('SELECT 1', resolve);
    });
    expect(viaCallback.message).toBe(message);
  });

  it('is not needed after the socket was destroyed by hand', async () => {
    const client: any = await lab.connect(driver);
    const trace = record(client, ['error', 'end']);
    const running = errorOf(client.query('SELECT pg_sleep(30)'));
    await sleep(20);
    client.connection.stream.destroy();
    expect((await running).message).toBe('Connection terminated unexpectedly');
    await waitFor(() => trace.includes('end'));
    expect(trace).toEqual(['error', 'end']);
    expect(errorsOf(client).map((error) => error.message)).toEqual(['Connection terminated unexpectedly']);
    expect((await errorOf(client.query('SELECT 1'))).message).toBe(
      'Client has encountered a connection error and is not queryable',
    );
  });
});

/** Kills aimed at one session are the administrator's will, not the loss of a server (R14): as with stock pg. */
describe.each(DRIVERS)('a session of $name that is terminated', (driver) => {
  it('while a statement runs: it rejects with 57P01, the others with the end of the connection', async () => {
    const client: any = await lab.connect(driver);
    const trace = record(client, ['error', 'end']);
    const running = errorOf(client.query('SELECT pg_sleep(30)'));
    const waiting = errorOf(client.query('SELECT 1'));
    await sleep(50);
    await lab.node.query('SELECT pg_terminate_backend($1)', [client.processID]);
    const error = await running;
    expect(error).toBeInstanceOf(driver.pg.DatabaseError);
    expect(error).toMatchObject({
      code: '57P01',
      severity: 'FATAL',
      message: 'terminating connection due to administrator command',
    });
    expect((await waiting).message).toBe('Connection terminated unexpectedly');
    await waitFor(() => trace.includes('end'));
    expect(trace).toEqual(['error', 'end']);
    expect((await errorOf(client.query('SELECT 1'))).message).toBe(
      'Client has encountered a connection error and is not queryable',
    );
  });

  it("while it is idle: two 'error' events, then 'end'; with failover nothing at all", async () => {
    const client: any = await lab.connect(driver);
    const trace = record(client, ['error', 'end']);
    const { processID } = client;
    await lab.node.query('SELECT pg_terminate_backend($1)', [processID]);
    if (driver.hasFailover) {
      // Its last words are on their way when it has gone; and read behind one more flight.
      await waitFor(async () => {
        const { rowCount } = await lab.node.query('SELECT FROM pg_stat_activity WHERE pid = $1', [processID]);
        return rowCount === 0;
      });
      await lab.node.query('SELECT 1');
      // R8, R14: an idle session reconnects with its next statement, silently.
      expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
      expect(client.processID).not.toBe(processID);
      expect(trace).toEqual([]);
      return;
    }
    await waitFor(() => trace.includes('end'));
    expect(trace).toEqual(['error', 'error', 'end']);
    expect(errorsOf(client).map((error: any) => error.code ?? error.message)).toEqual([
      '57P01',
      'Connection terminated unexpectedly',
    ]);
  });

  it('by idle_in_transaction_session_timeout: 25P03', async () => {
    const client: any = await lab.connect(driver, { idle_in_transaction_session_timeout: 50 });
    const trace = record(client, ['error', 'end']);
    await client.query('BEGIN');
    await waitFor(() => trace.includes('end'));
    expect(errorsOf(client).map((error: any) => error.code ?? error.message)).toEqual([
      '25P03',
      'Connection terminated unexpectedly',
    ]);
  });
});
