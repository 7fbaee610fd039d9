import { rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { ClientConfig } from '../../../src/pg.ts';
import { FailoverLab, type WatchedClient } from '../../support/failover-lab.ts';
import { Middleman } from '../../support/middleman.ts';
import { APPLICATION } from '../../support/postgres-template.ts';
import { selfSignedCertificate } from '../../support/self-signed-certificate.ts';
import { rejectionOf, settle } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

const SERVER = selfSignedCertificate('localhost', '127.0.0.1');
const STRANGER = selfSignedCertificate('stranger', '127.0.0.1');
const CLIENT = selfSignedCertificate(APPLICATION.user, '127.0.0.1');

/** Without TLS nobody but the superuser gets in. */
const hba = (method: string): string =>
  [
    'local all postgres trust',
    'host replication all 127.0.0.1/32 trust',
    `hostssl all all 127.0.0.1/32 ${method}`,
    '',
  ].join('\n');

describe('TLS is on the next connection what it was on the lost one', () => {
  const lab = FailoverLab.forThisSuite({ standbys: 0 });
  const open: Middleman[] = [];

  async function admit(method: string): Promise<void> {
    await lab.primary.writeDataFile('pg_hba.conf', hba(method));
    await lab.primary.query('SELECT pg_reload_conf()');
    await waitFor(async () => {
      const { rows } = await lab.primary.query<{ rule: string | null }>(
        `SELECT string_agg(auth_method || coalesce(options::text, ''), ' ') AS rule FROM pg_hba_file_rules
         WHERE type = 'hostssl'`,
      );
      return rows[0]!.rule?.startsWith(method.split(' ')[0]!) === true;
    });
  }

  beforeAll(async () => {
    await lab.primary.writeDataFile('server.key', SERVER.key);
    await lab.primary.writeDataFile('server.crt', SERVER.cert);
    await lab.primary.writeDataFile('clients.crt', CLIENT.cert);
    await lab.primary.configure({ ssl: true, ssl_ca_file: 'clients.crt' });
    await waitFor(async () => (await lab.primary.query('SHOW ssl')).rows[0].ssl === 'on');
  });
  beforeEach(async () => {
    await admit('scram-sha-256');
  });
  afterEach(async () => {
    await lab.hangUp();
    for (const middleman of open.splice(0)) middleman.stop();
    await lab.primary.query(`ALTER ROLE ${APPLICATION.user} PASSWORD '${APPLICATION.password}'`);
  });

  async function middleman(...args: Parameters<typeof Middleman.start>): Promise<Middleman> {
    const made = await Middleman.start(...args);
    open.push(made);
    return made;
  }

  const config = (extra: ClientConfig = {}): ClientConfig => ({
    connectionString: undefined,
    ...APPLICATION,
    host: lab.proxy.host,
    port: lab.proxy.port,
    ssl: { ca: SERVER.cert },
    ...extra,
  });

  async function inUse(client: WatchedClient): Promise<unknown> {
    const { rows } = await client.query(
      `SELECT ssl, client_dn AS name FROM pg_stat_ssl WHERE pid = pg_backend_pid()`,
    );
    return rows[0];
  }

  /** A transaction around a loss of the connection. */
  async function survive(
    client: WatchedClient,
    cut = (): void => {
      lab.proxy.cut();
    },
  ): Promise<unknown> {
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    const before = await inUse(client);
    const { rows: old } = await client.query('SELECT pg_backend_pid() AS pid');
    await client.query('COMMIT');
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('b')`);
    cut();
    const after = await inUse(client);
    expect(after).toEqual(before);
    await client.query('COMMIT');
    const { rows } = await client.query('SELECT pg_backend_pid() AS pid');
    expect(rows).not.toEqual(old);
    expect(await lab.notes()).toEqual(['a', 'b']);
    expect(client.seen.isQuiet).toBe(true);
    return after;
  }

  it('is demanded: without it the server lets nobody in', async () => {
    expect(await rejectionOf(lab.connect(config({ ssl: false })))).toMatchObject({ code: '28000' });
  });

  it('checks the certificate of the server', async () => {
    const client = await lab.connect(config());
    expect(await survive(client)).toMatchObject({ ssl: true });
    expect(await rejectionOf(lab.connect(config({ ssl: { ca: STRANGER.cert } })))).toMatchObject({
      code: expect.stringMatching(/SELF_SIGNED|UNABLE_TO_VERIFY|CERT_SIGNATURE/) as string,
    });
  });

  it('binds SCRAM to the channel: nobody can stand between, neither at first nor at a failover', async () => {
    const between = await middleman(lab.proxy, STRANGER);
    const trusting = { ssl: { ca: [SERVER.cert, STRANGER.cert] } };
    const toMiddle = { ...trusting, port: between.port };
    // Whom the client trusts is not the server that it talks to; only channel binding tells.
    const deceived = await lab.connect(config(toMiddle));
    expect(await inUse(deceived)).toMatchObject({ ssl: true });
    const error = await rejectionOf(lab.connect(config({ ...toMiddle, enableChannelBinding: true })));
    expect(error.message).toContain('channel binding');

    const client = await lab.connect(config({ ...trusting, enableChannelBinding: true }));
    expect(await survive(client)).toMatchObject({ ssl: true });
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('c')`);
    // From now on the way leads through somebody else.
    const direct = await middleman({ host: lab.primary.host, port: lab.primary.port }, STRANGER);
    lab.proxy.target = direct;
    lab.proxy.cut();
    const pending = settle(client.query(`INSERT INTO note VALUES ('d')`));
    await waitFor(() => direct.firstBytes.length >= 2);
    expect(await lab.notes()).toEqual(['a', 'b']);
    lab.proxy.target = lab.primary;
    expect((await pending).error).toBeUndefined();
    await client.query('COMMIT');
    expect(await lab.notes()).toEqual(['a', 'b', 'c', 'd']);
    expect(client.seen.isQuiet).toBe(true);
  });

  it('does not go on with a server whose certificate nobody vouches for', async () => {
    const client = await lab.connect(config({ failover: { timeoutMillis: 1_500 } }));
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    const between = await middleman({ host: lab.primary.host, port: lab.primary.port }, STRANGER);
    lab.proxy.target = between;
    try {
      lab.proxy.cut();
      const error = await rejectionOf(client.query(`INSERT INTO note VALUES ('b')`));
      expect(error).toMatchObject({ code: '08006', kind: 'failover-failed' });
      expect(between.firstBytes.length).toBeGreaterThan(0);
    } finally {
      lab.proxy.target = lab.primary;
    }
    expect(await lab.notes()).toEqual([]);
  });

  it('shows the certificate of the client', async () => {
    await admit('cert');
    const ssl = { ca: SERVER.cert, key: CLIENT.key, cert: CLIENT.cert };
    const client = await lab.connect(config({ ssl, password: undefined }));
    expect(await survive(client)).toEqual({ ssl: true, name: `/CN=${APPLICATION.user}` });
    expect(await rejectionOf(lab.connect(config()))).toMatchObject({ code: '28000' });
  });

  it('begins at once with sslnegotiation=direct, and with a question without it', async () => {
    const seen = await middleman(lab.proxy);
    const client = await lab.connect(config({ port: seen.port, sslnegotiation: 'direct' }));
    expect(
      await survive(client, () => {
        seen.cut();
      }),
    ).toMatchObject({ ssl: true });
    expect(new Set(seen.firstBytes)).toEqual(new Set([0x16]));
    const asking = await middleman(lab.proxy);
    await lab.connect(config({ port: asking.port }));
    expect(asking.firstBytes).toEqual([0]);
  });

  it('is read from a URL with several hosts', async () => {
    const file = join(tmpdir(), `holdfast-ca-${process.pid}.crt`);
    writeFileSync(file, SERVER.cert);
    try {
      const url = (name: string): string =>
        `postgres://app:app@${lab.proxy.host}:1,${lab.proxy.host}:${lab.proxy.port}/app?sslmode=verify-full&sslrootcert=${name}`;
      const client = await lab.connect({ connectionString: url(file) });
      expect(await survive(client)).toMatchObject({ ssl: true });
      writeFileSync(file, STRANGER.cert);
      const error = await rejectionOf(lab.connect({ connectionString: url(file) }));
      expect(error).toMatchObject({
        code: expect.stringMatching(/SELF_SIGNED|UNABLE_TO_VERIFY|CERT_SIGNATURE/) as string,
      });
    } finally {
      rmSync(file);
    }
  });

  it('asks for the password anew at each dial: one that was changed meanwhile is used', async () => {
    let current: string = APPLICATION.password;
    const password = vi.fn(() => Promise.resolve(current));
    const client = await lab.connect(config({ password, enableChannelBinding: true }));
    expect(password).toHaveBeenCalledTimes(1);
    await lab.primary.query(`ALTER ROLE ${APPLICATION.user} PASSWORD 'another'`);
    current = 'another';
    await survive(client);
    expect(password.mock.calls.length).toBeGreaterThan(1);
    // The old one would have been refused.
    expect(await rejectionOf(lab.connect(config()))).toMatchObject({ code: '28P01' });
  });
});
