import { randomUUID } from 'node:crypto';
import PgBoss from 'pg-boss';
import { afterEach, describe, expect, it } from 'vitest';
import { Pool } from '../../../src/pg.ts';
import { FailoverLab } from '../../support/failover-lab.ts';
import { losePrimaryBefore, losePrimaryBehind } from '../../support/lose-primary.ts';
import { rejectionOf } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

interface Payload {
  readonly number: number;
}

describe('pg-boss', () => {
  const lab = FailoverLab.forThisSuite();
  const closing: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
    await lab.primary.query('DROP SCHEMA pgboss CASCADE');
  });

  interface Started {
    readonly boss: PgBoss;
    readonly pool: Pool;
    /** What it and its pool have emitted as 'error'. */
    readonly errors: unknown[];
  }

  /** `inTransactions`: each of its statements in a transaction of its own, whose outcome can be found out. */
  async function start(
    options: PgBoss.ConstructorOptions = {},
    { inTransactions = false } = {},
  ): Promise<Started> {
    const errors: unknown[] = [];
    const connectionString = lab.connectionString();
    const pool = new Pool({ connectionString });
    pool.on('error', (error) => errors.push(error));
    closing.push(async () => {
      await pool.end();
    });
    let db: PgBoss.Db = { executeSql: (text, values) => pool.query(text, values) };
    if (inTransactions) {
      db = {
        async executeSql(text, values) {
          if (/^\s*BEGIN/i.test(text)) return await pool.query(text, values); // It is one already.
          const client = await pool.connect();
          try {
            await client.query('BEGIN');
            const result = await client.query(text, values);
            await client.query('COMMIT');
            client.release();
            return result;
          } catch (error) {
            client.release(true); // Closes the connection, which rolls back.
            throw error;
          }
        },
      };
    }
    const boss = new PgBoss({ db, schedule: false, supervise: false, ...options });
    boss.on('error', (error) => errors.push(error));
    await boss.start();
    closing.push(async () => {
      await boss.stop({ timeout: 1_000 });
    });
    await boss.createQueue('work');
    return { boss, pool, errors };
  }

  async function jobs(): Promise<Record<string, number>> {
    const { rows } = await lab.primary.query<{ state: string; count: number }>(
      'SELECT state, count(*)::int AS count FROM pgboss.job GROUP BY state ORDER BY state',
    );
    return Object.fromEntries(rows.map(({ state, count }) => [state, count]));
  }

  it('works each job once, before, during and behind a failover', async () => {
    const { boss, errors } = await start();
    const worked: number[] = [];
    let letGo: (() => void) | undefined;
    const replaced = new Promise<void>((resolve) => (letGo = resolve));
    await boss.send('work', { number: 1 });
    await boss.send('work', { number: 2 });
    await boss.work<Payload>('work', { pollingIntervalSeconds: 0.5 }, async ([job]) => {
      worked.push(job!.data.number);
      if (job!.data.number === 2) await replaced;
    });
    await waitFor(() => worked.length === 2);
    await lab.replacePrimary();
    letGo!();
    for (let number = 3; number <= 6; number++) await boss.send('work', { number });
    await waitFor(async () => (await jobs())['completed'] === 6, { timeoutMillis: 20_000 });
    expect(worked).toEqual([1, 2, 3, 4, 5, 6]);
    expect(errors).toEqual([]);
  });

  it('sends a job in a transaction of the application: both are there once', async () => {
    const { boss, pool } = await start();
    const client = await pool.connect();
    const db: PgBoss.Db = { executeSql: (text, values) => client.query(text, values) };
    const id = randomUUID();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('with its job')`);
    expect(await boss.send('work', { number: 1 }, { id, db })).toBe(id);
    await lab.replacePrimary();
    await client.query('COMMIT');
    client.release();
    expect(await lab.notes()).toEqual(['with its job']);
    expect(await boss.fetch<Payload>('work')).toMatchObject([{ id, data: { number: 1 } }]);
    expect(await boss.fetch('work')).toEqual([]);
  });

  it('rejects such a transaction with 40001 if it has left the making of the key to the server', async () => {
    const { boss, pool } = await start();
    const client = await pool.connect();
    const db: PgBoss.Db = { executeSql: (text, values) => client.query(text, values) };
    await client.query('BEGIN');
    await boss.send('work', { number: 1 }, { db });
    await lab.replacePrimary();
    expect(await rejectionOf(client.query('COMMIT'))).toMatchObject({
      code: '40001',
      kind: 'replay-diverged',
    });
    client.release();
    expect(await jobs()).toEqual({});
  });

  it('goes on with its maintenance and its monitoring', async () => {
    const { boss, errors } = await start({
      supervise: true,
      maintenanceIntervalSeconds: 2,
      monitorStateIntervalSeconds: 2,
    });
    const seen = { maintenance: 0, monitoring: 0 };
    boss.on('maintenance', () => seen.maintenance++);
    boss.on('monitor-states', () => seen.monitoring++);
    await boss.send('work', { number: 1 });
    await waitFor(() => seen.maintenance > 0 && seen.monitoring > 0);
    const { maintenance, monitoring } = seen;
    await lab.replacePrimary();
    await waitFor(() => seen.maintenance > maintenance && seen.monitoring > monitoring);
    expect(errors).toEqual([]);
  });

  it('adds a job once whose answer was lost, and says that it is not known', async () => {
    const { boss } = await start();
    const replaced = losePrimaryBehind(lab, 'INSERT');
    const sent = rejectionOf(boss.send('work', { number: 1 }));
    expect(await sent).toMatchObject({ code: '08007', outcome: 'unknown' });
    await replaced;
    expect(await jobs()).toEqual({ created: 1 });
  });

  it('loses no job whose fetching was in flight: it is worked when it has expired, as pg-boss promises', async () => {
    const { boss, errors } = await start();
    await boss.send('work', { number: 1 }, { expireInSeconds: 1, retryLimit: 1 });
    const replaced = losePrimaryBehind(lab, 'UPDATE');
    // It takes an error for: nothing to do.
    expect(await boss.fetch('work')).toEqual([]);
    await replaced;
    expect(await jobs()).toEqual({ active: 1 });
    const [job] = await waitFor(async () => {
      await boss.maintain();
      const fetched = await boss.fetch<Payload>('work');
      return fetched.length > 0 ? fetched : null;
    });
    expect(job!.data).toEqual({ number: 1 });
    await boss.complete('work', job!.id);
    expect(await jobs()).toEqual({ completed: 1 });
    expect(errors).toEqual([]);
  });

  describe('with each of its statements in a transaction, whose outcome can be found out', () => {
    it.each([
      ['fetching', 'done', losePrimaryBehind, ['COMMIT']],
      ['fetching', 'never sent', losePrimaryBefore, ['Q', 'COMMIT']],
    ] as const)(
      'notices nothing when the primary is lost while %s, %s',
      async (_what, _when, lose, where) => {
        const { boss, errors } = await start({}, { inTransactions: true });
        await boss.send('work', { number: 1 });
        const replaced = (lose as (...from: unknown[]) => Promise<void>)(lab, ...where);
        const [job] = await boss.fetch<Payload>('work');
        await replaced;
        expect(job?.data).toEqual({ number: 1 });
        await boss.complete('work', job!.id);
        expect(await jobs()).toEqual({ completed: 1 });
        expect(errors).toEqual([]);
      },
    );

    it('notices nothing when the primary is lost while completing a job', async () => {
      const { boss, errors } = await start({}, { inTransactions: true });
      await boss.send('work', { number: 1 });
      const [job] = await boss.fetch<Payload>('work');
      const replaced = losePrimaryBehind(lab, 'COMMIT');
      await boss.complete('work', job!.id);
      await replaced;
      expect(await jobs()).toEqual({ completed: 1 });
      expect(errors).toEqual([]);
    });
  });
});
