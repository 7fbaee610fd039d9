import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { FailoverLab, type WatchedClient } from '../../support/failover-lab.ts';
import { rejectionOf, settle } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

const SET_UP = `
  CREATE ROLE reader; GRANT reader TO app;
  CREATE SEQUENCE numbers; GRANT USAGE ON SEQUENCE numbers TO app;
  CREATE FUNCTION login(who text) RETURNS void LANGUAGE plpgsql AS
    $$ BEGIN PERFORM set_config('app.tenant', who, false); END $$;
  CREATE FUNCTION lock_seven() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_lock(7); END $$`;

/** R8: the state of a session, as the application sees it through a client whose server was replaced. */
describe('the primary is lost under a session that has a state of its own', () => {
  const lab = FailoverLab.forThisSuite({ standbys: 1 });
  let client: WatchedClient;
  beforeAll(async () => {
    await lab.primary.withClient(async (superuser) => {
      await superuser.query(SET_UP);
    });
  });
  beforeEach(async () => {
    client = await lab.connect();
  });

  async function valueOf(sql: string): Promise<unknown> {
    const { rows } = await client.query<unknown[]>({ text: sql, rowMode: 'array' });
    return rows[0]?.[0];
  }

  it('has its settings again, and what was rolled back is not among them', async () => {
    await client.query(`SET TIME ZONE 'Asia/Tokyo'`);
    await client.query(`SET search_path TO pg_catalog, public`);
    await client.query(`SELECT set_config('app.tenant', 'a''b', false)`);
    await client.query(`BEGIN; SET statement_timeout = '7s'; ROLLBACK`);
    await client.query(`BEGIN; SET LOCAL lock_timeout = '7s'; COMMIT`);
    await lab.replacePrimary();
    expect(await valueOf('SHOW timezone')).toBe('Asia/Tokyo');
    expect(await valueOf('SHOW search_path')).toBe('pg_catalog, public');
    expect(await valueOf(`SELECT current_setting('app.tenant')`)).toBe(`a'b`);
    expect(await valueOf('SHOW statement_timeout')).toBe('0');
    expect(await valueOf('SHOW lock_timeout')).toBe('0');
    expect(client.seen.isQuiet).toBe(true);
  });

  it('has the role again', async () => {
    await client.query('SET ROLE reader');
    await lab.replacePrimary();
    expect(await valueOf('SELECT current_user::text')).toBe('reader');
  });

  it('has what a function has set (A8)', async () => {
    await client.query(`SELECT login('a')`);
    await client.query('SELECT 1');
    await lab.replacePrimary();
    expect(await valueOf(`SELECT current_setting('app.tenant')`)).toBe('a');
  });

  it('has its settings when the open transaction is replayed, those of the transaction too', async () => {
    await client.query(`SET TIME ZONE 'Asia/Tokyo'`);
    await client.query('BEGIN');
    await client.query(`SET LOCAL app.tenant = 'a'`);
    await client.query(`INSERT INTO note VALUES ('x')`);
    await lab.replacePrimary();
    expect(await valueOf(`SELECT current_setting('app.tenant') || current_setting('timezone')`)).toBe(
      'aAsia/Tokyo',
    );
    await client.query('COMMIT');
    expect(await valueOf(`SELECT current_setting('app.tenant')`)).toBe('');
    expect(await lab.notes()).toEqual(['x']);
  });

  it('has its prepared statements, of SQL and of the wire', async () => {
    await client.query('PREPARE twice (int) AS SELECT $1 * 2');
    await client.query({ name: 'thrice', text: 'SELECT $1::int * 3 AS n', values: [1] });
    await lab.replacePrimary();
    expect(await valueOf('EXECUTE twice (21)')).toBe(42);
    const { rows } = await client.query({ name: 'thrice', text: 'SELECT $1::int * 3 AS n', values: [2] });
    expect(rows).toEqual([{ n: 6 }]);
  });

  it('listens again without being asked, and says that something may have been missed', async () => {
    const heard: string[] = [];
    const gaps: (readonly string[])[] = [];
    client.on('notification', ({ payload }) => heard.push(payload ?? ''));
    client.failover!.on('notificationGap', ({ channels }) => gaps.push(channels));
    await client.query('LISTEN news');
    await lab.replacePrimary();
    await waitFor(() => gaps.length > 0, { message: 'the event' });
    expect(gaps).toEqual([['news']]);
    await waitFor(
      async () => {
        await lab.primary.query(`NOTIFY news, 'hello'`);
        return heard.includes('hello');
      },
      { message: 'a notification', intervalMillis: 50 },
    );
    expect(client.seen.isQuiet).toBe(true);
  });

  it('has no currval any more, and says so', async () => {
    await client.query(`SELECT nextval('numbers')`);
    await lab.replacePrimary();
    expect(await rejectionOf(client.query(`SELECT currval('numbers')`))).toMatchObject({ code: '55000' });
    expect(await valueOf('SELECT 1')).toBe(1);
  });

  it.each([
    ['temporary objects', 'CREATE TEMP TABLE t (i int)'],
    ['session-level advisory locks', 'SELECT pg_advisory_lock(7)'],
    ['session-level advisory locks', 'SELECT lock_seven()'],
    ['WITH HOLD cursors', 'BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 1; COMMIT'],
    ['setseed', 'SELECT setseed(0.5)'],
  ])('ends with the reason because of %s: %s', async (reason, sql) => {
    await client.query(sql);
    await client.query('SELECT 1');
    await lab.replacePrimary();
    await waitFor(() => client.seen.ends > 0, { message: 'the end' });
    expect(client.seen.errors[0]).toMatchObject({ kind: 'session-closed', code: '08003' });
    expect(client.seen.errors[0]!.message).toContain(reason);
  });

  it('tells an open transaction why it can not be replayed, and then ends', async () => {
    await client.query('CREATE TEMP TABLE t (i int)');
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('x')`);
    await lab.primary.kill();
    await waitFor(() => lab.proxy.connections.length === 0, { message: 'the client to notice' });
    const insert = settle(client.query(`INSERT INTO note VALUES ('y')`));
    await lab.cluster.failover();
    const error = (await insert).error!;
    expect(error).toMatchObject({
      kind: 'transaction-not-replayable',
      code: '40001',
      outcome: 'rolled-back',
    });
    expect(error.message).toContain('temporary objects');
    await waitFor(() => client.seen.ends > 0, { message: 'the end' });
    expect(await lab.notes()).toEqual([]);
  });
});
