import type pg from 'pg';
import { beforeEach, describe, expect, it } from 'vitest';
import type { FailoverOptions } from '../../../src/options.ts';
import { FailoverLab, type WatchedClient } from '../../support/failover-lab.ts';
import { loseAnswers, onMessage } from '../../support/on-message.ts';
import { rejectionOf, settle, type Settled } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';
import type { WatchedEvents } from '../../support/watched-events.ts';

type AnyClient = pg.Client & { readonly seen: WatchedEvents };

const DATABASE = 'project';
/** Takes the name of the dropped one, as a restore does. */
const RESTORED = 'project_restored';
const DROP = `DROP DATABASE ${DATABASE} WITH (FORCE)`;
const WRITER = ['BEGIN', `INSERT INTO record VALUES ('a')`];
const READER = ['BEGIN', 'SELECT text FROM record'];

/** What ends within the second has not been left to the first. */
const TIMEOUT_MILLIS = 20_000;
const PROMPT_MILLIS = 5_000;
/** Of sessions that have nothing to wait for but the deadline. */
const SHORT_TIMEOUT_MILLIS = 1_500;
/** On a busy machine the look at the host takes longer than the default of 250 ms. */
const PROBE_MILLIS = 1_000;

/** Rule R14: the primary ends its sessions with 57P01, a standby that learns of it with 57P04. */
describe('the database of a session is dropped under it', () => {
  const lab = FailoverLab.forThisSuite();
  beforeEach(async () => {
    for (const name of [DATABASE, RESTORED])
      await lab.primary.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
    await createDatabase(DATABASE);
  });

  async function createDatabase(name: string): Promise<void> {
    await lab.primary.query(`CREATE DATABASE ${name}`);
    const owner = await lab.stock({ user: 'postgres', host: lab.primary.socketDirectory, database: name });
    await owner.query('CREATE TABLE record (text text); GRANT ALL ON record TO PUBLIC');
    await owner.end();
    await lab.cluster.waitForReplay();
  }

  async function connect(failover: FailoverOptions = {}): Promise<WatchedClient> {
    return await lab.connect({
      connectionString: lab.cluster.connectionString({ hosts: lab.proxies, database: DATABASE }),
      failover: { timeoutMillis: TIMEOUT_MILLIS, terminationProbeMillis: PROBE_MILLIS, ...failover },
    });
  }

  async function connectToStandby(failover: FailoverOptions = {}): Promise<WatchedClient> {
    return await lab.connect({
      connectionString: lab.cluster.connectionString({
        hosts: lab.standbyProxies,
        database: DATABASE,
        parameters: { target_session_attrs: 'standby' },
      }),
      failover: { timeoutMillis: TIMEOUT_MILLIS, terminationProbeMillis: PROBE_MILLIS, ...failover },
    });
  }

  async function stock(): Promise<AnyClient> {
    return await lab.stock({ database: DATABASE });
  }

  async function stockOnStandby(): Promise<AnyClient> {
    return await lab.stock({ port: lab.cluster.standbys[0]!.port, database: DATABASE });
  }

  async function records(database = DATABASE): Promise<string[]> {
    const client = await lab.stock({ database });
    const { rows } = await client.query<{ text: string }>('SELECT text FROM record ORDER BY text');
    await client.end();
    return rows.map(({ text }) => text);
  }

  function brief({ error, value }: Settled<unknown>): unknown {
    if (error === undefined) return value;
    const { code, message, severity } = error as { code?: string; message: string; severity?: string };
    return { code, message, severity };
  }

  /** Everything an application can see of it. */
  async function dropUnder(client: AnyClient, work: readonly string[], running?: string): Promise<unknown> {
    for (const sql of work) await client.query(sql);
    const pending = running === undefined ? [] : [settle(client.query(running))];
    if (running !== undefined) await waitForSleep();
    await lab.primary.query(DROP);
    await waitFor(() => client.seen.ends > 0, {
      timeoutMillis: PROMPT_MILLIS,
      message: 'the client to end',
    });
    const answers = await Promise.all(pending.map(async (one) => brief(await one)));
    const later = brief(await settle(client.query('SELECT 1')));
    const { errors, ends, notices } = client.seen;
    return { answers, later, errors: errors.map((error) => brief({ error })), ends, notices };
  }

  async function waitForSleep(): Promise<void> {
    await waitFor(async () => {
      const activity = `SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'`;
      const sleeping = await Promise.all(lab.cluster.nodes.map(async (node) => await node.query(activity)));
      return sleeping.some(({ rowCount }) => rowCount === 1);
    });
  }

  it.each([
    ['between two statements of a transaction', WRITER, undefined],
    ['during a statement of a transaction', WRITER, 'SELECT pg_sleep(60)'],
    ['during a statement outside of a transaction', [], 'SELECT pg_sleep(60)'],
  ])('gives errors and events as stock pg does, and at once: %s', async (_when, work, running) => {
    const expected = await dropUnder(await stock(), work, running);
    await createDatabase(DATABASE);
    expect(await dropUnder(await connect(), work, running)).toEqual(expected);
  });

  it.each([
    ['between two statements of a transaction', READER, undefined],
    ['during a statement of a transaction', READER, 'SELECT pg_sleep(60)'],
    ['during a statement outside of a transaction', [], 'SELECT pg_sleep(60)'],
  ])('gives errors and events as stock pg does on a standby (57P04): %s', async (_when, work, running) => {
    const expected = await dropUnder(await stockOnStandby(), work, running);
    expect(JSON.stringify(expected)).toContain('57P04');
    await createDatabase(DATABASE);
    expect(await dropUnder(await connectToStandby(), work, running)).toEqual(expected);
  });

  it.each([
    ['that was idle', [], {}],
    [`with an open transaction and onTerminated: 'replay'`, WRITER, { onTerminated: 'replay' }],
  ] as const)('ends a session %s with the reason', async (_which, work, options) => {
    const client = await connect({ timeoutMillis: SHORT_TIMEOUT_MILLIS, ...options });
    for (const sql of work) await client.query(sql);
    await lab.primary.query(DROP);
    const error = await rejectionOf(client.query(`INSERT INTO record VALUES ('b')`));
    expect(error).toMatchObject({ code: '08006', kind: 'failover-failed' });
    expect(error.message).toContain('3D000');
    expect((error as { cause?: unknown }).cause).toMatchObject({ code: '57P01' });
    await waitFor(() => client.seen.ends === 1);
    expect(client.failover!.snapshot()).toMatchObject({ waitingSessions: 0 });
  });

  it.each([
    ['that was idle', [], {}],
    [`with an open transaction and onTerminated: 'replay'`, READER, { onTerminated: 'replay' }],
  ] as const)('ends a session on a standby %s with the reason', async (_which, work, options) => {
    const client = await connectToStandby({ timeoutMillis: SHORT_TIMEOUT_MILLIS, ...options });
    for (const sql of work) await client.query(sql);
    await lab.primary.query(DROP);
    await lab.cluster.waitForReplay();
    const error = await rejectionOf(client.query('SELECT text FROM record'));
    expect(error).toMatchObject({ code: '08006', kind: 'failover-failed' });
    expect((error as { cause?: unknown }).cause).toMatchObject({ code: '57P04' });
    await waitFor(() => client.seen.ends === 1);
  });

  it('lets the sessions of other databases go on where they are', async () => {
    const [victim, other] = [await connect(), await lab.connect()];
    for (const sql of WRITER) await victim.query(sql);
    await other.query('BEGIN');
    const before = (await other.query('SELECT pg_backend_pid() AS pid')).rows;
    await lab.primary.query(DROP);
    await other.query(`INSERT INTO note VALUES ('other')`);
    expect((await other.query('SELECT pg_backend_pid() AS pid')).rows).toEqual(before);
    await other.query('COMMIT');
    expect(await lab.notes()).toEqual(['other']);
  });

  it(`replays into the database that took its name, with onTerminated: 'replay'`, async () => {
    await createDatabase(RESTORED);
    const client = await connect({ onTerminated: 'replay' });
    for (const sql of WRITER) await client.query(sql);
    await lab.primary.query(DROP);
    const pending = client.query('COMMIT');
    await lab.primary.query(`ALTER DATABASE ${RESTORED} RENAME TO ${DATABASE}`);
    expect((await pending).command).toBe('COMMIT');
    expect(await records()).toEqual(['a']);
    expect(client.seen.isQuiet).toBe(true);
  });

  it.each(['error', 'replay'] as const)(
    `does not call a COMMIT done that never arrived, with onTerminated: '%s'`,
    async (onTerminated) => {
      const client = await connect({ timeoutMillis: SHORT_TIMEOUT_MILLIS, onTerminated });
      for (const sql of WRITER) await client.query(sql);
      const lost = onMessage(lab.proxy, { from: 'client', type: 'Q', text: 'COMMIT' }, 'drop');
      const pending = settle(client.query('COMMIT'));
      await lost;
      await lab.primary.query(DROP);
      // There is no server left that could be asked what became of it.
      expect((await pending).error).toMatchObject({ code: '08007', outcome: 'unknown' });
      await waitFor(() => client.seen.ends === 1);
    },
  );

  it.each(['error', 'replay'] as const)(
    `does not call a COMMIT rolled back that arrived, with onTerminated: '%s'`,
    async (onTerminated) => {
      const client = await connect({ timeoutMillis: SHORT_TIMEOUT_MILLIS, onTerminated });
      for (const sql of WRITER) await client.query(sql);
      const lost = onMessage(lab.proxy, { from: 'server', type: 'C', text: 'COMMIT' }, (from) =>
        loseAnswers(lab.proxy, from),
      );
      const pending = settle(client.query('COMMIT'));
      await lost;
      expect(await records()).toEqual(['a']);
      await lab.primary.query(DROP);
      expect((await pending).error).toMatchObject({ code: '08007', outcome: 'unknown' });
      await waitFor(() => client.seen.ends === 1);
    },
  );

  it.each(['error', 'replay'] as const)(
    `commits at most once where another database takes the name, with onTerminated: '%s'`,
    async (onTerminated) => {
      await createDatabase(RESTORED);
      const client = await connect({ onTerminated });
      for (const sql of WRITER) await client.query(sql);
      const lost = onMessage(lab.proxy, { from: 'client', type: 'Q', text: 'COMMIT' }, 'drop');
      const pending = settle(client.query('COMMIT'));
      await lost;
      await lab.primary.query(DROP);
      await lab.primary.query(`ALTER DATABASE ${RESTORED} RENAME TO ${DATABASE}`);
      const { error } = await pending;
      if (onTerminated === 'replay') expect(error).toBeUndefined();
      expect(await records()).toEqual(error === undefined ? ['a'] : []);
    },
  );
});
