import { connect as connectTo, Socket } from 'node:net';
import { Duplex } from 'node:stream';
import pg from 'pg';
import { beforeAll, describe, expect, it } from 'vitest';
import { ConfigurationError } from '../../../src/errors.ts';
import { Client } from '../../../src/pg.ts';
import { FailoverLab } from '../../support/failover-lab.ts';
import { APPLICATION } from '../../support/postgres-template.ts';
import { selfSignedCertificate } from '../../support/self-signed-certificate.ts';
import { waitFor } from '../../support/wait-for.ts';

type Setting = NonNullable<pg.ClientConfig['stream']>;

/** A tunnel such as ssh2 makes: no socket, with little of what a socket has. */
class Tunnel extends Duplex {
  #wire: Socket | null = null;

  connect(port: number, host: string): this {
    this.#wire = connectTo({ port, host }, () => this.emit('connect'));
    this.#wire.on('data', (chunk) => this.push(chunk) || this.#wire?.pause());
    this.#wire.on('end', () => this.push(null));
    this.#wire.on('close', () => this.destroy());
    this.#wire.on('error', (error) => this.destroy(error));
    return this;
  }

  setNoDelay(): this {
    return this;
  }

  override _read(): void {
    this.#wire?.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#wire?.write(chunk, done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#wire?.destroy();
    done(error);
  }
}

const KINDS = [
  { name: 'a socket', make: (): Duplex => new Socket() },
  { name: 'a stream that is no socket', make: (): Duplex => new Tunnel() },
];

const made = <S extends Duplex>(make: () => S): { stream: Setting; streams: S[]; asked: unknown[] } => {
  const streams: S[] = [];
  const asked: unknown[] = [];
  const stream = (...values: unknown[]): S => {
    asked.push(values[0]);
    const one = make();
    streams.push(one);
    return one;
  };
  return { stream, streams, asked };
};

describe("a 'stream' function of the application's own is called for each server connection", () => {
  const lab = FailoverLab.forThisSuite({ standbys: 1 });

  it.each(KINDS)(
    'a transaction goes on over a new one after the primary is replaced: $name',
    async ({ make }) => {
      const { stream, streams, asked } = made(make);
      const client = await lab.connect({ stream });
      await client.query('BEGIN');
      await client.query(`INSERT INTO note VALUES ('a')`);
      const before = streams.length;
      expect(before).toBeGreaterThan(0);
      await lab.replacePrimary();
      for (const text of ['b', 'c']) await client.query('INSERT INTO note VALUES ($1)', [text]);
      await client.query('COMMIT');
      expect(await lab.notes()).toEqual(['a', 'b', 'c']);
      expect(streams.length).toBeGreaterThan(before);
      expect(new Set(streams).size).toBe(streams.length);
      expect(asked[0]).toMatchObject({ stream, ssl: false });
      expect(client.seen.isQuiet).toBe(true);
      await client.end();
      await waitFor(() => streams.every((one) => one.destroyed), { message: 'all streams to be closed' });
    },
  );

  it('its own listeners hear all bytes', async () => {
    let bytes = 0;
    const stream = (() => new Socket().on('data', (chunk) => (bytes += chunk.length))) as Setting;
    const client = await lab.connect({ stream });
    const before = bytes;
    expect(before).toBeGreaterThan(0);
    await client.query(`SELECT repeat('x', 10000)`);
    expect(bytes - before).toBeGreaterThan(10_000);
  });

  it('a CancelRequest goes over it as well', async () => {
    const { stream, streams } = made(() => new Tunnel());
    const client = await lab.connect({ stream });
    const query = new pg.Query('SELECT pg_sleep(60)');
    const cancelled = new Promise((resolve) => query.once('error', resolve));
    client.query(query);
    await waitFor(async () => {
      const { rowCount } = await lab.primary.query(
        `SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'`,
      );
      return rowCount === 1;
    });
    const before = streams.length;
    const canceller = new Client({ connectionString: lab.connectionString(), stream });
    canceller.on('error', () => undefined);
    (canceller as unknown as { cancel(client: unknown, query: unknown): void }).cancel(client, query);
    expect(await cancelled).toMatchObject({ code: '57014' });
    expect(streams.length).toBe(before + 1);
  });

  it('clients with other functions know nothing of each other, as the same address may be another server', async () => {
    const [one, other] = [await lab.connect(made(() => new Socket())), await lab.connect()];
    const clusterOf = (client: Client): unknown => client.failover?.snapshot();
    expect(clusterOf(one)).toMatchObject({ sessions: 1 });
    expect(clusterOf(other)).toMatchObject({ sessions: 1 });
  });

  it.each([
    { name: 'the same stream twice', stream: () => same, message: /same stream twice.*new one each time/ },
    { name: 'nothing', stream: () => undefined, message: /must return a stream.*connect\(\)/ },
    {
      name: 'a stream that can not connect',
      stream: () => new Duplex(),
      message: /must return a stream.*connect\(\)/,
    },
  ])('what can not be used is refused: $name', async ({ stream, message }) => {
    if (stream() === same) await lab.connect({ stream }).then((client) => client.end());
    const client = new Client({ connectionString: lab.connectionString(), stream });
    const error: unknown = await client.connect().catch((reason: unknown) => reason);
    expect((error as Error).cause ?? error).toBeInstanceOf(ConfigurationError);
    expect((error as Error).message).toMatch(message);
  });
  const same = new Socket();
});

describe("TLS over the streams of the application's own", () => {
  const lab = FailoverLab.forThisSuite({ standbys: 0 });
  const { key, cert } = selfSignedCertificate('localhost', '127.0.0.1');
  beforeAll(async () => {
    await lab.primary.writeDataFile('server.key', key);
    await lab.primary.writeDataFile('server.crt', cert);
    await lab.primary.query('ALTER SYSTEM SET ssl = on');
    await lab.primary.query('SELECT pg_reload_conf()');
    await waitFor(async () => (await lab.primary.query('SHOW ssl')).rows[0].ssl === 'on');
  });

  it.each(KINDS)("is pg's own business, with channel binding: $name", async ({ make }) => {
    const { stream, streams } = made(make);
    const client = await lab.connect({
      connectionString: undefined,
      ...APPLICATION,
      host: lab.proxy.host,
      port: lab.proxy.port,
      ssl: { ca: cert },
      enableChannelBinding: true,
      stream,
    });
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    const before = streams.length;
    lab.proxy.cut();
    const inUse = await client.query('SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()');
    expect(inUse.rows).toEqual([{ ssl: true }]);
    await client.query('COMMIT');
    expect(streams.length).toBeGreaterThan(before);
    expect(await lab.notes()).toEqual(['a']);
  });
});
