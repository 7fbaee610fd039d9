import { TLSSocket } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { ConformanceLab, DRIVERS, errorOf } from '../support/drivers.ts';
import { selfSignedCertificate } from '../support/self-signed-certificate.ts';

const { key, cert } = selfSignedCertificate('localhost', '127.0.0.1');
const lab = ConformanceLab.forThisFile({
  settings: { ssl: true },
  setUp: async (node) => {
    await node.writeDataFile('server.key', key);
    await node.writeDataFile('server.crt', cert);
  },
});
const plain = ConformanceLab.forThisFile();
const IN_USE = 'SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()';

describe.each(DRIVERS)('TLS with $name', (driver) => {
  it('is used, and the certificate checked, with ssl: { ca }', async () => {
    const client: any = await lab.connect(driver, { ssl: { ca: cert } });
    expect((await client.query(IN_USE)).rows).toEqual([{ ssl: true, version: 'TLSv1.3' }]);
    expect(client.ssl).toMatchObject({ ca: cert });
    expect(client.connectionParameters.ssl).toMatchObject({ ca: cert });
  });

  it('is used without a check with rejectUnauthorized: false', async () => {
    const client: any = await lab.connect(driver, { ssl: { rejectUnauthorized: false } });
    expect((await client.query(IN_USE)).rows[0].ssl).toBe(true);
  });

  it('is not used without ssl', async () => {
    const client: any = await lab.connect(driver);
    expect(client.ssl).toBe(false);
    expect((await client.query(IN_USE)).rows[0].ssl).toBe(false);
  });

  it('is refused if nobody vouches for the certificate', async () => {
    const client: any = lab.client(driver, { ssl: true });
    expect(client.ssl).toBe(true);
    expect(await errorOf(client.connect())).toMatchObject({ code: 'DEPTH_ZERO_SELF_SIGNED_CERT' });
  });

  it('is refused if the certificate is for another host', async () => {
    const { cert: own } = selfSignedCertificate('elsewhere', '10.0.0.1');
    const error = await errorOf(
      lab.client(driver, { ssl: { ca: [cert, own], servername: 'elsewhere' } }).connect(),
    );
    expect(error).toMatchObject({ code: 'ERR_TLS_CERT_ALTNAME_INVALID' });
  });

  it('is refused by a server that has none', async () => {
    const error = await errorOf(plain.client(driver, { ssl: { rejectUnauthorized: false } }).connect());
    expect(error.message).toBe('The server does not support SSL connections');
    expect((await (await plain.connect(driver)).query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  it('is read from a URL', async () => {
    const { host, port } = lab.node;
    const connectionString = `postgres://app:app@${host}:${port}/app?sslmode=no-verify`;
    const client = lab.keep(new driver.pg.Client({ ...driver.extra, connectionString }));
    await client.connect();
    expect((await client.query(IN_USE)).rows[0].ssl).toBe(true);
  });

  it('binds SCRAM to its channel with enableChannelBinding', async () => {
    const config = { ssl: { ca: cert }, enableChannelBinding: true };
    const client: any = await lab.connect(driver, config);
    expect(client.enableChannelBinding).toBe(true);
    expect((await client.query(IN_USE)).rows[0].ssl).toBe(true);
    expect(await errorOf(lab.client(driver, { ...config, password: 'wrong' }).connect())).toMatchObject({
      code: '28P01',
    });
  });

  it('can be begun at once with sslnegotiation: direct', async () => {
    const client: any = await lab.connect(driver, { ssl: { ca: cert }, sslnegotiation: 'direct' });
    expect((await client.query(IN_USE)).rows[0].ssl).toBe(true);
  });

  it('carries pools and large results', async () => {
    const pool = lab.pool(driver, { ssl: { ca: cert } });
    const { rows } = await pool.query("SELECT repeat('x', 3000000) AS large");
    expect(rows[0].large).toHaveLength(3_000_000);
  });

  it('shows on the stream of the connection', async () => {
    const client: any = await lab.connect(driver, { ssl: { ca: cert } });
    const { stream } = client.connection;
    expect(stream.encrypted).toBe(true);
    expect(stream.authorized).toBe(true);
    expect(stream.getPeerCertificate().subject.CN).toBe('localhost');
    if (driver.name === 'pg') expect(stream).toBeInstanceOf(TLSSocket);
  });
});
