import { EventEmitter } from 'node:events';
import {
  Logger,
  makeWorkerUtils,
  run,
  type Runner,
  type RunnerOptions,
  type TaskList,
  type WorkerEvents,
} from 'graphile-worker';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { Pool } from '../../../src/pg.ts';
import { FailoverLab } from '../../support/failover-lab.ts';
import { losePrimaryBehind } from '../../support/lose-primary.ts';
import { rejectionOf } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

const logger = new Logger(() => () => undefined);

/** Longer than any test: a job is picked up by its notification or not at all. */
const NO_POLLING_MILLIS = 600_000;

describe('graphile-worker', () => {
  const lab = FailoverLab.forThisSuite();
  const closing: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });

  interface Worker {
    readonly runner: Runner;
    readonly pool: Pool;
    /** Of its pool and of its listening client. */
    readonly errors: unknown[];
    /** Names of the events that tell of trouble. */
    readonly troubles: string[];
    /** How often a worker has looked for a job and found none. */
    readonly emptyLooks: () => number;
    /** How often its listening client has heard something. */
    readonly heard: () => number;
  }

  function makePool(): Pick<Worker, 'pool' | 'errors'> {
    const connectionString = lab.connectionString();
    const pool = new Pool({ connectionString });
    const errors: unknown[] = [];
    pool.on('error', (error) => errors.push(error));
    pool.on('connect', (client) => client.on('error', (error) => errors.push(error)));
    closing.push(async () => {
      await pool.end();
    });
    return { pool, errors };
  }

  /** Returns when it listens, and has looked for work and found none. */
  async function start(taskList: TaskList, options: Partial<RunnerOptions> = {}): Promise<Worker> {
    const { pool, errors } = makePool();
    const events = new EventEmitter() as WorkerEvents;
    let idle = 0;
    let heard = 0;
    events.on('pool:listen:notification', () => heard++);
    events.on('worker:getJob:empty', () => idle++);
    const runner = await run({
      pgPool: pool,
      taskList,
      events,
      logger,
      noHandleSignals: true,
      pollInterval: NO_POLLING_MILLIS,
      ...options,
    });
    closing.push(async () => {
      await runner.stop();
    });
    const troubles: string[] = [];
    for (const event of [
      'pool:listen:error',
      'worker:fatalError',
      'worker:getJob:error',
      'job:error',
    ] as const)
      events.on(event, () => troubles.push(event));
    await waitFor(async () => idle > 0 && (await isListening()));
    return {
      runner,
      pool,
      errors,
      troubles,
      emptyLooks: () => idle,
      heard: () => heard,
    };
  }

  async function isListening(): Promise<boolean> {
    const { rowCount } = await lab.primary.query(
      // Idle: before it has ended, LISTEN hears nothing.
      `SELECT FROM pg_stat_activity WHERE state = 'idle' AND (query LIKE 'LISTEN%' OR query LIKE '%pg_listening_channels%')`,
    );
    return rowCount! > 0;
  }

  async function jobsLeft(): Promise<number> {
    const { rows } = await lab.primary.query<{ count: number }>(
      'SELECT count(*)::int AS count FROM graphile_worker._private_jobs',
    );
    return rows[0]!.count;
  }

  it('goes on listening behind a failover: what is added afterwards is worked at once', async () => {
    const worked: unknown[] = [];
    const { runner, errors, troubles, emptyLooks, heard } = await start({
      work: (payload) => {
        worked.push(payload);
      },
    });
    const before = emptyLooks();
    await runner.addJob('work', { number: 1 });
    await waitFor(() => worked.length === 1 && emptyLooks() > before, { message: 'the worker to be idle' });
    const heardBefore = heard();
    await lab.replacePrimary();
    await waitFor(
      async () => {
        // Means nothing to the worker, but that its client listens again, at a moment of its own.
        await lab.primary.query(`NOTIFY "worker:migrate"`);
        return heard() > heardBefore;
      },
      { message: 'the client to listen again' },
    );
    await runner.addJob('work', { number: 2 });
    await waitFor(() => worked.length === 2, { message: 'the notification' });
    // By another session, which knows nothing of this worker.
    await lab.primary.query(`SELECT graphile_worker.add_job('work', '{"number": 3}')`);
    await waitFor(() => worked.length === 3, { message: 'the notification' });
    expect(worked).toEqual([{ number: 1 }, { number: 2 }, { number: 3 }]);
    await waitFor(async () => (await jobsLeft()) === 0);
    expect(errors).toEqual([]);
    expect(troubles).toEqual([]);
  });

  it('finishes the jobs that are being worked on while the primary dies, each of them once', async () => {
    const worked: unknown[] = [];
    let letGo: (() => void) | undefined;
    const replaced = new Promise<void>((resolve) => (letGo = resolve));
    const { runner, errors, troubles } = await start(
      {
        work: async ({ number }: any, helpers) => {
          worked.push(number);
          await replaced;
          await helpers.query('INSERT INTO note VALUES ($1)', [`job ${number}`]);
        },
      },
      { concurrency: 4 },
    );
    for (let number = 1; number <= 8; number++) await runner.addJob('work', { number });
    await waitFor(() => worked.length === 4);
    await lab.replacePrimary();
    letGo!();
    await waitFor(async () => (await jobsLeft()) === 0, { timeoutMillis: 20_000 });
    expect(worked.toSorted()).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(await lab.notes()).toEqual(worked.toSorted().map((number) => `job ${String(number)}`));
    expect(errors).toEqual([]);
    expect(troubles).toEqual([]);
  });

  it('keeps a transaction of a job through the loss of the primary', async () => {
    let attempts = 0;
    const { runner, troubles } = await start({
      work: async (_payload, helpers) => {
        attempts++;
        await helpers.withPgClient(async (client) => {
          await client.query('BEGIN');
          await client.query('INSERT INTO note VALUES ($1)', ['a']);
          await lab.replacePrimary();
          await client.query('INSERT INTO note VALUES ($1)', ['b']);
          await client.query('COMMIT');
        });
      },
    });
    await runner.addJob('work', {});
    await waitFor(async () => attempts > 0 && (await jobsLeft()) === 0);
    expect(attempts).toBe(1);
    expect(await lab.notes()).toEqual(['a', 'b']);
    expect(troubles).toEqual([]);
  });

  it('tries a job again whose transaction was rolled back (40001), and its row is there once', async () => {
    let attempts = 0;
    const { runner, troubles } = await start(
      {
        work: async (_payload, helpers) => {
          attempts++;
          await helpers.withPgClient(async (client) => {
            try {
              await client.query('BEGIN');
              await client.query('INSERT INTO note VALUES (gen_random_uuid())');
              // Of what differs from row to row a replay can't give the same again.
              await client.query('SELECT random() FROM generate_series(1, 2)');
              if (attempts === 1) await lab.replacePrimary();
              await client.query('COMMIT');
            } catch (error) {
              await client.query('ROLLBACK');
              throw error;
            }
          });
        },
      },
      { pollInterval: 100 },
    );
    await runner.addJob('work', {});
    await waitFor(async () => attempts === 2 && (await jobsLeft()) === 0, { timeoutMillis: 20_000 });
    expect(await lab.notes()).toHaveLength(1);
    expect(troubles).toEqual(['job:error']);
  });

  it('works no job twice whose completion was in flight; that worker stops, as on pg, the others go on', async () => {
    // It writes there, past its logger.
    const trace = vi.spyOn(console, 'trace').mockReturnValue();
    closing.push(async () => {
      trace.mockRestore();
      await Promise.resolve();
    });
    const worked: unknown[] = [];
    const { runner, troubles } = await start(
      {
        work: ({ number }: any) => {
          worked.push(number);
        },
      },
      { concurrency: 2 },
    );
    const replaced = losePrimaryBehind(lab, 'DELETE');
    await runner.addJob('work', { number: 1 });
    await replaced;
    await waitFor(() => troubles.includes('worker:fatalError'));
    expect(await jobsLeft()).toBe(0);
    await runner.addJob('work', { number: 2 });
    await waitFor(() => worked.length === 2);
    expect(worked).toEqual([1, 2]);
    expect(troubles).toEqual(['worker:fatalError']);
  });

  it('adds a job once whose answer was lost, and says that it is not known', async () => {
    const { pool } = makePool();
    const utils = await makeWorkerUtils({ pgPool: pool, logger });
    closing.push(async () => {
      await utils.release();
    });
    await utils.migrate();
    const replaced = losePrimaryBehind(lab, 'SELECT 1');
    expect(await rejectionOf(utils.addJob('work', {}))).toMatchObject({ code: '08007', outcome: 'unknown' });
    await replaced;
    expect(await jobsLeft()).toBe(1);
    let worked = 0;
    await start({
      work: () => {
        worked++;
      },
    });
    await waitFor(async () => (await jobsLeft()) === 0);
    expect(worked).toBe(1);
  });
});
