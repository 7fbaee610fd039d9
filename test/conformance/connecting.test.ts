import { createServer, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { ConformanceLab, DRIVERS, errorOf, errorsOf, fieldsOf, record } from '../support/drivers.ts';
import { freePort } from '../support/free-port.ts';

const lab = ConformanceLab.forThisFile();

/** Takes connections and says nothing. */
async function silentServer(work: (port: number) => Promise<void>): Promise<void> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    await work((server.address() as AddressInfo).port);
  } finally {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  }
}

describe.each(DRIVERS)('connecting with $name', (driver) => {
  const { pg } = driver;

  it('resolves with the client', async () => {
    const client = lab.client(driver);
    expect(await client.connect()).toBe(client);
    const { processID, secretKey } = client as any;
    expect(processID).toBeTypeOf('number');
    expect(secretKey).toBeTypeOf('number');
    const { rows } = await client.query('SELECT pg_backend_pid() AS pid');
    expect(rows).toEqual([{ pid: processID }]);
  });

  it('calls back with the client, and returns undefined', async () => {
    const client = lab.client(driver);
    const values = await new Promise<unknown[]>((resolve) => {
      const connect = client.connect.bind(client) as (callback: (...passed: unknown[]) => void) => unknown;
      const returned = connect((...passed) => {
        resolve([returned, ...passed]);
      });
    });
    expect(values).toEqual([undefined, null, client]);
  });

  it("calls back before 'connect' is emitted, and 'connect' comes before 'drain'", async () => {
    const client = lab.client(driver);
    const trace = record(client, ['connect', 'drain', 'end', 'error']);
    const drained = new Promise((resolve) => client.once('drain', resolve as () => void));
    client.connect(() => {
      trace.push('callback');
    });
    await client.query('SELECT 1');
    await drained;
    expect(trace).toEqual(['callback', 'connect', 'drain']);
  });

  it('runs what was queried before it was connected', async () => {
    const client = lab.client(driver);
    const early = client.query('SELECT 1 AS early');
    await client.connect();
    expect((await early).rows).toEqual([{ early: 1 }]);
  });

  it('refuses to connect twice', async () => {
    const message = 'Client has already been connected. You cannot reuse a client.';
    const client = lab.client(driver);
    await client.connect();
    expect((await errorOf(client.connect())).message).toBe(message);
    const viaCallback = await new Promise<Error>((resolve) => {
      client.connect(resolve);
    });
    expect(viaCallback.message).toBe(message);
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  it('is told of a wrong password with 28P01', async () => {
    const client = lab.client(driver, { password: 'wrong' });
    const error = await errorOf(client.connect());
    expect(error).toBeInstanceOf(pg.DatabaseError);
    const fields = fieldsOf(error);
    expect(fields).toMatchObject({
      name: 'error',
      message: 'password authentication failed for user "app"',
      severity: 'FATAL',
      code: '28P01',
      routine: 'auth_failed',
    });
    expect(Object.keys(fields).sort()).toEqual(
      [
        'code', 'column', 'constraint', 'dataType', 'detail', 'file', 'hint', 'internalPosition', 'internalQuery',
        'length', 'line', 'message', 'name', 'position', 'routine', 'schema', 'severity', 'table', 'where',
      ], // prettier-ignore
    );
    expect(fields['length']).toBeTypeOf('number');
    expect(error.cause).toBeUndefined();
    await sleep(20);
    expect(errorsOf(client)).toEqual([]);
  });

  it('is told of a missing database with 3D000', async () => {
    const error = await errorOf(lab.client(driver, { database: 'nowhere' }).connect());
    expect(error).toBeInstanceOf(pg.DatabaseError);
    expect(fieldsOf(error)).toMatchObject({ code: '3D000', message: 'database "nowhere" does not exist' });
  });

  it('is told of a refused port with ECONNREFUSED', async () => {
    const port = await freePort();
    const client = lab.client(driver, { port });
    const trace = record(client, ['connect', 'error', 'end']);
    const error = await errorOf(client.connect());
    expect(fieldsOf(error)).toEqual({
      message: `connect ECONNREFUSED 127.0.0.1:${port}`,
      errno: -111,
      code: 'ECONNREFUSED',
      syscall: 'connect',
      address: '127.0.0.1',
      port,
    });
    await sleep(20);
    expect(trace).toEqual(['end']);
  });

  it('is told of a host that does not exist with ENOTFOUND', async () => {
    const error = await errorOf(lab.client(driver, { host: 'no-such-host.invalid' }).connect());
    expect(['ENOTFOUND', 'EAI_AGAIN']).toContain(error['code']);
    expect(error['hostname']).toBe('no-such-host.invalid');
  });

  it("gives up after connectionTimeoutMillis with 'timeout expired'", async () => {
    await silentServer(async (port) => {
      const before = performance.now();
      const client = lab.client(driver, { port, connectionTimeoutMillis: 150 });
      const error = await errorOf(client.connect());
      expect(error.message).toBe('timeout expired');
      expect(error['code']).toBeUndefined();
      expect(performance.now() - before).toBeGreaterThan(140);
      expect(performance.now() - before).toBeLessThan(1_500);
    });
  });

  it('connectionTimeoutMillis does not end a connection that was made in time', async () => {
    const client = await lab.connect(driver, { connectionTimeoutMillis: 400 });
    expect((await client.query("SELECT pg_sleep(0.6), 'late' AS what")).rows[0].what).toBe('late');
  });

  it("is told 'Connection terminated unexpectedly' if the server hangs up during the handshake", async () => {
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', () => socket.end());
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    try {
      const error = await errorOf(lab.client(driver, { port }).connect());
      expect(error.message).toBe('Connection terminated unexpectedly');
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
  });

  it('asks a password function, with the connection parameters, once', async () => {
    const seen: any[] = [];
    const client = lab.client(driver, {
      password: (parameters: unknown) => {
        seen.push(parameters);
        return 'app';
      },
    });
    await client.connect();
    expect(seen).toHaveLength(1);
    expect(seen[0]).toMatchObject({ user: 'app', database: 'app', host: lab.node.host, port: lab.node.port });
  });

  it('waits for a password function that returns a promise', async () => {
    const client = await lab.connect(driver, {
      password: async () => {
        await sleep(20);
        return 'app';
      },
    });
    expect((await client.query('SELECT current_user AS me')).rows).toEqual([{ me: 'app' }]);
  });

  it('is rejected with what a password function throws or rejects with', async () => {
    const failure = new Error('no password today');
    expect(
      await errorOf(lab.client(driver, { password: async () => await Promise.reject(failure) }).connect()),
    ).toBe(failure);
    const thrown = await errorOf(
      lab
        .client(driver, {
          password: () => {
            throw failure;
          },
        })
        .connect(),
    );
    expect(thrown).toBe(failure);
    const wrong = await errorOf(lab.client(driver, { password: () => 42 }).connect());
    expect(wrong).toBeInstanceOf(TypeError);
    expect(wrong.message).toBe('Password must be a string');
  });

  it('is rejected without a password, as SCRAM needs one', async () => {
    const error = await errorOf(lab.client(driver, { password: () => undefined }).connect());
    expect(error.message).toBe('SASL: SCRAM-SERVER-FIRST-MESSAGE: client password must be a string');
  });

  it('connects through a unix socket', async () => {
    const client = await lab.connect(driver, { host: lab.node.socketDirectory });
    expect(client.host).toBe(lab.node.socketDirectory);
    expect((await client.query('SELECT inet_client_addr() AS address')).rows).toEqual([{ address: null }]);
  });

  it('connects with keepAlive and its delay', async () => {
    const client = await lab.connect(driver, { keepAlive: true, keepAliveInitialDelayMillis: 1_000 });
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  it('can be a replication connection', async () => {
    const client = await lab.connect(driver, {
      user: 'postgres',
      password: 'secret',
      host: lab.node.socketDirectory,
      replication: 'database',
    });
    const { rows } = await client.query('IDENTIFY_SYSTEM');
    expect(rows[0]).toMatchObject({ timeline: '1', dbname: 'app' });
  });

  it('is a client of its own for each of many at once', async () => {
    const clients = await Promise.all(Array.from({ length: 20 }, async () => await lab.connect(driver)));
    const pids = await Promise.all(
      clients.map(
        async (client) => (await client.query('SELECT pg_backend_pid() AS pid')).rows[0].pid as number,
      ),
    );
    expect(new Set(pids).size).toBe(20);
    expect(pids).toEqual(clients.map((client: any) => client.processID as number));
  });
});
