import pg from 'pg';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { Client } from '../../../src/pg.ts';
import { FailoverLab } from '../../support/failover-lab.ts';
import { APPLICATION, SUPERUSER } from '../../support/postgres-template.ts';
import { onMessage } from '../../support/on-message.ts';
import { selfSignedCertificate } from '../../support/self-signed-certificate.ts';
import { settle } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

describe('what lies under the connection is there again on the next one', () => {
  const lab = FailoverLab.forThisSuite({ standbys: 0 });
  const { key, cert } = selfSignedCertificate('localhost', '127.0.0.1');
  beforeAll(async () => {
    await lab.primary.writeDataFile('server.key', key);
    await lab.primary.writeDataFile('server.crt', cert);
    await lab.primary.query('ALTER SYSTEM SET ssl = on');
    await lab.primary.query('SELECT pg_reload_conf()');
    await waitFor(async () => (await lab.primary.query('SHOW ssl')).rows[0].ssl === 'on');
  });

  it('TLS, channel binding and the password from a function', async () => {
    const password = vi.fn(() => Promise.resolve('app'));
    const client = await lab.connect({
      connectionString: undefined,
      ...APPLICATION,
      host: lab.proxy.host,
      port: lab.proxy.port,
      ssl: { ca: cert },
      enableChannelBinding: true,
      password,
    });
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    expect(password).toHaveBeenCalledTimes(1);
    lab.proxy.cut();
    const inUse = await client.query('SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()');
    expect(inUse.rows).toEqual([{ ssl: true }]);
    await client.query('COMMIT');
    expect(password.mock.calls.length).toBeGreaterThan(1);
    expect(await lab.notes()).toEqual(['a']);
    expect(client.seen.isQuiet).toBe(true);
  });

  it('the way to the backend: a CancelRequest reaches the new one (T10)', async () => {
    const client = await lab.connect();
    const { processID: before } = client as unknown as { processID: number };
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    lab.proxy.cut();
    await client.query('SELECT 1');
    const { processID: after } = client as unknown as { processID: number };
    expect(after).not.toBe(before);
    const query = new pg.Query('SELECT pg_sleep(60)');
    const cancelled = new Promise((resolve) => {
      query.once('error', resolve);
    });
    client.query(query);
    await waitFor(async () => {
      const { rowCount } = await lab.primary.query(
        `SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'`,
      );
      return rowCount === 1;
    });
    const canceller = new Client({ connectionString: lab.connectionString() });
    canceller.on('error', () => undefined);
    (canceller as unknown as { cancel(client: unknown, query: unknown): void }).cancel(client, query);
    expect(await cancelled).toMatchObject({ code: '57014' });
    await client.query('ROLLBACK');
    expect(client.seen.isQuiet).toBe(true);
  });

  it("the driver's own way to connect, whoever changes pg's classes (T11)", async () => {
    const seen: unknown[] = [];
    const { prototype } = pg.Client as unknown as {
      prototype: Record<string, (...args: unknown[]) => unknown>;
    };
    const { connect, query } = prototype;
    prototype['connect'] = function (this: unknown, ...args: unknown[]): unknown {
      seen.push(this);
      return connect!.apply(this, args);
    };
    prototype['query'] = function (this: unknown, ...args: unknown[]): unknown {
      seen.push(this);
      return query!.apply(this, args);
    };
    try {
      const client = await lab.connect();
      await client.query('BEGIN');
      await client.query(`INSERT INTO note VALUES ('a')`);
      lab.proxy.cut();
      await client.query('COMMIT');
      // A tracing tool sees its application's calls, and none of the driver's.
      expect(new Set(seen)).toEqual(new Set([client]));
      expect(seen).toHaveLength(4);
    } finally {
      Object.assign(prototype, { connect, query });
    }
    expect(await lab.notes()).toEqual(['a']);
  });

  it('named statements, each prepared where it is first used (D4)', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query('CREATE TABLE fresh (id int)');
    await client.query({ name: 'fill', text: 'INSERT INTO fresh VALUES ($1)', values: [1] });
    lab.proxy.cut();
    await client.query({ name: 'fill', text: 'INSERT INTO fresh VALUES ($1)', values: [2] });
    const { rows } = await client.query('SELECT id FROM fresh ORDER BY id');
    expect(rows).toEqual([{ id: 1 }, { id: 2 }]);
    await client.query('ROLLBACK');
    expect(client.seen.isQuiet).toBe(true);
  });

  it('what DISCARD ALL left: nothing of what had been set before', async () => {
    const client = await lab.connect();
    await client.query(`SET application_name = 'before'`);
    await client.query(`SET TimeZone = 'Asia/Kathmandu'`);
    await client.query('DISCARD ALL');
    await client.query(`SET statement_timeout = '45s'`);
    await client.query('SELECT 1'); // Behind this the driver has read the state back.
    const { accepted } = lab.proxy;
    lab.proxy.cut();
    const { rows } = await client.query(
      `SELECT current_setting('TimeZone') AS zone, current_setting('statement_timeout') AS timeout`,
    );
    expect(lab.proxy.accepted).toBeGreaterThan(accepted);
    const [fresh] = (
      await (await lab.stock()).query(`SELECT current_setting('TimeZone') AS zone, '45s' AS timeout`)
    ).rows;
    expect(rows).toEqual([fresh]);
  });

  it('not what LOAD has brought: that session is refused', async () => {
    const { user, password } = SUPERUSER; // Others may load little.
    const client = await lab.connect({
      connectionString: lab.connectionString().replace('app:app@', `${user}:${password}@`),
    });
    await client.query(`LOAD 'plpgsql'`);
    await client.query('SELECT 1');
    lab.proxy.cut();
    const { error } = await settle(client.query('SELECT 1'));
    expect(error).toBeDefined();
    await waitFor(() => client.seen.ends === 1);
    expect([error, ...client.seen.errors].map((one) => one?.message).join()).toMatch(/LOAD|librar/);
  });

  it('not a state that nobody has read back: lost while unchecked, the session is closed (A8)', async () => {
    await lab.primary.query(`CREATE OR REPLACE FUNCTION enter(tenant text) RETURNS void LANGUAGE plpgsql AS
      $$BEGIN PERFORM set_config('app.tenant', tenant, false); END$$`);
    const client = await lab.connect({ failover: { stateCheckMillis: 60_000 } });
    for (const tenant of ['a', 'b']) await client.query('SELECT enter($1)', [tenant]);
    await client.query('SELECT 1');
    // At once, so that there is no idle moment to read the state back in.
    await client.query('SELECT enter($1)', ['c']);
    const pending = settle(client.query(`INSERT INTO note SELECT 'a' FROM pg_sleep(0.3)`));
    await waitFor(async () => {
      const { rowCount } = await lab.primary.query(
        `SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'`,
      );
      return rowCount === 1;
    });
    lab.proxy.cut();
    expect((await pending).error).toBeDefined();
    await waitFor(() => client.seen.ends === 1);
    expect(client.seen.errors.map(({ message }) => message).join()).toContain('had not been read back');
  });

  it('does with less where marks are forbidden: said once, and a COMMIT in doubt stays unknown (D1)', async () => {
    const emit = 'pg_logical_emit_message(boolean, text, text, boolean)';
    await lab.primary.query(`REVOKE EXECUTE ON FUNCTION ${emit} FROM PUBLIC`);
    try {
      const unavailable: unknown[] = [];
      const client = new Client({ connectionString: lab.connectionString() });
      client.failover!.on('featureUnavailable', (event) => unavailable.push(event));
      await client.connect();
      await client.query('BEGIN');
      await client.query(`INSERT INTO note VALUES ('a')`);
      await client.query('COMMIT');
      expect(unavailable).toHaveLength(1);
      await client.query('BEGIN');
      await client.query(`INSERT INTO note VALUES ('b')`);
      const lost = onMessage(lab.proxy, { from: 'server', type: 'C', text: 'COMMIT' }, 'cut-before');
      const pending = settle(client.query('COMMIT'));
      await lost;
      expect((await pending).error).toMatchObject({ code: '08007', kind: 'outcome-unknown' });
      expect(await lab.notes()).toEqual(['a', 'b']);
      await client.end();
    } finally {
      await lab.primary.query(`GRANT EXECUTE ON FUNCTION ${emit} TO PUBLIC`);
    }
  });
});
