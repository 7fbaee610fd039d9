import { beforeEach, describe, expect, it } from 'vitest';
import type { WatchedPool } from '../../support/failover-lab.ts';
import { FailoverLab } from '../../support/failover-lab.ts';
import { onMessage } from '../../support/on-message.ts';
import { settle } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

describe('a pool is in use when the primary is lost', () => {
  const lab = FailoverLab.forThisSuite({
    setUp: 'CREATE TABLE account (id int PRIMARY KEY, amount int NOT NULL)',
  });
  beforeEach(async () => {
    await lab.primary.query(
      'TRUNCATE account; INSERT INTO account SELECT n, 100 FROM generate_series(1, 50) AS n',
    );
  });

  async function transfer(
    pool: WatchedPool,
    from: number,
    to: number,
    between: () => Promise<void>,
  ): Promise<void> {
    const client = await pool.connect();
    try {
      await client.query('BEGIN');
      await client.query('SELECT amount FROM account WHERE id IN ($1, $2) ORDER BY id FOR UPDATE', [
        from,
        to,
      ]);
      await client.query('UPDATE account SET amount = amount - 10 WHERE id = $1', [from]);
      await between();
      await client.query('UPDATE account SET amount = amount + 10 WHERE id = $1', [to]);
      await client.query('INSERT INTO note VALUES ($1)', [`${from} to ${to}`]);
      await client.query('COMMIT');
    } catch (error) {
      await client.query('ROLLBACK').catch(() => undefined);
      throw error;
    } finally {
      client.release();
    }
  }

  it('carries every client over, those that wait for one too', async () => {
    const pool = lab.pool({ max: 8 });
    let inside = 0;
    let lost: () => void = () => undefined;
    const loss = new Promise<void>((resolve) => (lost = resolve));
    const between = async (): Promise<void> => {
      inside++;
      await loss;
    };
    const transfers = Array.from({ length: 24 }, (_, i) => settle(transfer(pool, 1 + i, 26 + i, between)));
    await waitFor(() => inside === 8 && pool.waitingCount === 16);
    const errors: string[] = [];
    const gone = lab.replacePrimary();
    await waitFor(() => !lab.cluster.nodes.every((node) => node.isRunning));
    lost();
    await gone;
    for (const { error } of await Promise.all(transfers)) if (error !== undefined) errors.push(error.message);
    expect(errors).toEqual([]);
    const { rows } = await lab.primary.query(
      'SELECT sum(amount)::int AS sum, count(*) FILTER (WHERE amount = 90)::int AS less FROM account',
    );
    expect(rows).toEqual([{ sum: 5000, less: 24 }]);
    expect(await lab.notes()).toEqual(Array.from({ length: 24 }, (_, i) => `${1 + i} to ${26 + i}`).sort());
    expect(pool.seen.errors).toEqual([]);
    expect(pool.totalCount).toBe(8);
  });

  it('keeps its idle clients, and emits nothing', async () => {
    const pool = lab.pool({ max: 5 });
    let removed = 0;
    pool.on('remove', () => removed++);
    await Promise.all(Array.from({ length: 5 }, async () => await pool.query('SELECT pg_sleep(0.05)')));
    expect(pool.idleCount).toBe(5);
    await lab.replacePrimary();
    await Promise.all(
      ['a', 'b', 'c', 'd', 'e'].map(async (text) => await pool.query('INSERT INTO note VALUES ($1)', [text])),
    );
    expect(await lab.notes()).toEqual(['a', 'b', 'c', 'd', 'e']);
    expect(pool.seen.errors).toEqual([]);
    expect([pool.totalCount, removed]).toEqual([5, 0]);
  });

  it('opens new clients during the failover, which wait for the new primary', async () => {
    const pool = lab.pool({ max: 10 });
    await pool.query('SELECT 1');
    await lab.killPrimary();
    const pending = Array.from({ length: 10 }, (_, i) =>
      pool.query('INSERT INTO note VALUES ($1)', [`n${i}`]),
    );
    await waitFor(() => pool.failover!.snapshot().waitingSessions === 10);
    await lab.cluster.failover();
    await Promise.all(pending);
    expect(await lab.notes()).toEqual(Array.from({ length: 10 }, (_, i) => `n${i}`));
    expect(pool.seen.errors).toEqual([]);
  });

  it('respects connectionTimeoutMillis while it is full, as pg does', async () => {
    const pool = lab.pool({ max: 1, connectionTimeoutMillis: 300 });
    const client = await pool.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    await lab.killPrimary();
    const { error } = await settle(pool.query(`INSERT INTO note VALUES ('too late')`));
    expect(error?.message).toBe('timeout exceeded when trying to connect');
    await lab.cluster.failover();
    await client.query('COMMIT');
    client.release();
    await pool.query(`INSERT INTO note VALUES ('b')`);
    expect(await lab.notes()).toEqual(['a', 'b']);
  });

  it('cancels on the new server: processID is the new one', async () => {
    const client = await lab.connect();
    const idOf = (): number => (client as unknown as { processID: number }).processID;
    const before = idOf();
    await client.query('BEGIN');
    await lab.replacePrimary();
    const { rows } = await client.query('SELECT pg_backend_pid() AS pid');
    expect(idOf()).toBe(rows[0].pid);
    expect(idOf()).not.toBe(before);
    const pending = settle(client.query('SELECT pg_sleep(60)'));
    await waitFor(async () => {
      const found = await lab.primary.query(`SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'`);
      return found.rowCount === 1;
    });
    const canceller = await lab.stock();
    await canceller.query('SELECT pg_cancel_backend($1)', [idOf()]);
    expect((await pending).error).toMatchObject({ code: '57014' });
    await client.query('ROLLBACK');
  });

  it('tells the whole story in events, with one id', async () => {
    const pool = lab.pool({ max: 2 });
    const story: string[] = [];
    const ids = new Set<number>();
    const events = pool.failover!;
    for (const name of [
      'failoverStarted',
      'failoverSucceeded',
      'replayStarted',
      'replaySucceeded',
    ] as const) {
      events.on(name, ({ id }: { id: number }) => {
        story.push(name);
        ids.add(id);
      });
    }
    events.on('hostChanged', ({ to }) => story.push(`hostChanged ${to}`));
    events.on('failoverStarted', () => {
      throw new Error('a listener that fails');
    });
    const warnings: string[] = [];
    const onWarning = ({ message }: Error): number => warnings.push(message);
    process.on('warning', onWarning);
    const client = await pool.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    await lab.replacePrimary();
    await client.query('COMMIT');
    client.release();
    await waitFor(() => story.includes('failoverSucceeded') && warnings.length > 0);
    process.off('warning', onWarning);
    const { host, port } = lab.proxy;
    expect(story).toEqual([
      'failoverStarted',
      `hostChanged ${host}:${port}`,
      'replayStarted',
      'replaySucceeded',
      'failoverSucceeded',
    ]);
    expect(ids.size).toBe(1);
    expect(warnings.join()).toContain('a listener that fails');
    expect(await lab.notes()).toEqual(['a']);
    expect(events.snapshot()).toMatchObject({ primary: `${host}:${port}`, waitingSessions: 0 });
  });

  it('shows no notice of the replay', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`DO $$ BEGIN RAISE NOTICE 'only once'; END $$`);
    await client.query(`INSERT INTO note VALUES ('a')`);
    await lab.replacePrimary();
    await client.query(`DO $$ BEGIN RAISE NOTICE 'after'; END $$`);
    await client.query('COMMIT');
    expect(client.seen.notices).toEqual(['only once', 'after']);
  });

  it('tells what the new server reports otherwise', async () => {
    const client = await lab.connect();
    const told: string[] = [];
    (client as unknown as { connection: NodeJS.EventEmitter }).connection.on(
      'parameterStatus',
      ({ parameterName, parameterValue }: { parameterName: string; parameterValue: string }) =>
        told.push(`${parameterName}=${parameterValue}`),
    );
    await client.query('BEGIN');
    await lab.cluster.standbys[0]!.configure({ IntervalStyle: 'sql_standard' });
    await lab.replacePrimary();
    await client.query('COMMIT');
    await lab.primary.configure({ IntervalStyle: 'postgres' });
    expect(told).toContain('IntervalStyle=sql_standard');
  });

  it('survives that the acknowledgement of a connect is cut', async () => {
    const pool = lab.pool({ max: 2 });
    await pool.query('SELECT 1');
    const cut = onMessage(lab.proxy, { from: 'server', type: 'Z' }, 'cut-before');
    const [one, two] = await Promise.all([
      settle(pool.query('SELECT 1 AS one')),
      settle(pool.query('SELECT 1 AS one')),
    ]);
    await cut;
    for (const { value, error } of [one, two]) {
      expect(error).toBeUndefined();
      expect(value?.rows).toEqual([{ one: 1 }]);
    }
  });
});
