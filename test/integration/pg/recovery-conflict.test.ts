import type pg from 'pg';
import { beforeEach, describe, expect, it } from 'vitest';
import type { FailoverOptions } from '../../../src/options.ts';
import { FailoverLab, type WatchedClient } from '../../support/failover-lab.ts';
import type { PostgresNode } from '../../support/postgres-node.ts';
import { settle, type Settled } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';
import type { WatchedEvents } from '../../support/watched-events.ts';

type AnyClient = pg.Client & { readonly seen: WatchedEvents };

/** Holds a lock on the table, which the standby must take away from it when the primary locks the table. */
const READER = ['BEGIN', 'SELECT text FROM note'];

/** Rule R14: who stands in the way of the standby's recovery is thrown out (FATAL 40001), and the standby goes on. */
describe('a session on a standby is thrown out by a conflict with recovery', () => {
  const lab = FailoverLab.forThisSuite({ standbys: 2, settings: { max_standby_streaming_delay: 0 } });
  beforeEach(async () => {
    await lab.primary.query(`INSERT INTO note VALUES ('seen')`);
    await lab.cluster.waitForReplay();
  });

  const firstStandby = (): PostgresNode => lab.cluster.standbys[0]!;

  async function connect(
    attributes: string,
    failover: FailoverOptions = {},
    standbys = lab.standbyProxies,
  ): Promise<WatchedClient> {
    const client = await lab.connect({
      connectionString: lab.cluster.connectionString({
        hosts: [...standbys, lab.proxy],
        parameters: { target_session_attrs: attributes },
      }),
      // On a busy machine the look at the host takes longer than the default of 250 ms.
      failover: { timeoutMillis: 20_000, terminationProbeMillis: 2_000, ...failover },
    });
    const { rows } = await client.query('SELECT pg_is_in_recovery() AS standby');
    expect(rows).toEqual([{ standby: true }]);
    return client;
  }

  /** Takes away all locks on the table, on every server of the cluster. */
  async function lockTable(): Promise<void> {
    await lab.primary.query('BEGIN; LOCK TABLE note IN ACCESS EXCLUSIVE MODE; COMMIT');
    await lab.cluster.waitForReplay();
  }

  function brief({ error, value }: Settled<unknown>): unknown {
    if (error === undefined) return value;
    const { code, message, severity } = error as { code?: string; message: string; severity?: string };
    return { code, message, severity };
  }

  /** Everything an application can see of it. */
  async function throwOut(client: AnyClient): Promise<unknown> {
    for (const sql of READER) await client.query(sql);
    await lockTable();
    await waitFor(() => client.seen.ends > 0, { timeoutMillis: 5_000, message: 'the client to end' });
    const later = brief(await settle(client.query('SELECT 1')));
    const { errors, ends, notices } = client.seen;
    return { later, errors: errors.map((error) => brief({ error })), ends, notices };
  }

  async function throwOutStock(): Promise<unknown> {
    const seen = await throwOut(await lab.stock({ port: firstStandby().port }));
    expect(seen).toMatchObject({ errors: [{ code: '40001', severity: 'FATAL' }, {}] });
    return seen;
  }

  it.each(['standby', 'prefer-standby', 'any'])(
    'gives errors and events as stock pg does, with target_session_attrs %s',
    async (attributes) => {
      const expected = await throwOutStock();
      expect(await throwOut(await connect(attributes))).toEqual(expected);
    },
  );

  it('gives errors and events as stock pg does where it was on the second standby of the list', async () => {
    const expected = await throwOutStock();
    const [first, second] = lab.standbyProxies;
    await first!.refuse();
    const client = await connect('standby');
    await first!.pass();
    expect(second!.connections.length).toBeGreaterThan(0);
    expect(await throwOut(client)).toEqual(expected);
  });

  it('leaves the other sessions of that standby where they are', async () => {
    const [victim, other] = [await connect('standby'), await connect('standby')];
    await other.query('BEGIN');
    const before = (await other.query('SELECT pg_backend_pid() AS pid')).rows;
    await throwOut(victim);
    expect((await other.query('SELECT pg_backend_pid() AS pid')).rows).toEqual(before);
    await other.query('COMMIT');
    expect(other.seen.isQuiet).toBe(true);
  });

  it('leaves an idle session alone, which stands in nobody’s way', async () => {
    const client = await connect('standby');
    await client.query('SELECT text FROM note');
    await lockTable();
    expect((await client.query('SELECT text FROM note')).rows).toEqual([{ text: 'seen' }]);
    expect(client.seen.isQuiet).toBe(true);
  });

  it('passes on a mere ERROR, after which the session goes on', async () => {
    const client = await connect('standby');
    await client.query('BEGIN');
    const pending = settle(client.query('SELECT text FROM note, pg_sleep(60)'));
    await waitFor(async () => {
      const { rowCount } = await firstStandby().query(
        `SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'`,
      );
      return rowCount === 1;
    });
    await lockTable();
    expect(brief(await pending)).toEqual({
      code: '40001',
      message: 'canceling statement due to conflict with recovery',
      severity: 'ERROR',
    });
    expect(brief(await settle(client.query('SELECT 1')))).toMatchObject({ code: '25P02' });
    await client.query('ROLLBACK');
    expect((await client.query('SELECT text FROM note')).rows).toEqual([{ text: 'seen' }]);
    expect(client.seen.isQuiet).toBe(true);
  });

  describe(`with onTerminated: 'replay'`, () => {
    /** Another session locks the table, does something under that lock, and ends when the reader was thrown out. */
    async function throwOutBy(client: WatchedClient, work: string): Promise<void> {
      const { processID } = client as unknown as { processID: number };
      const locker = await lab.stock();
      await locker.query(`BEGIN; LOCK TABLE note IN ACCESS EXCLUSIVE MODE; ${work}`);
      await lab.shipAll();
      await waitFor(async () => {
        const { rowCount } = await firstStandby().query('SELECT FROM pg_stat_activity WHERE pid = $1', [
          processID,
        ]);
        return rowCount === 0;
      });
      await locker.query('COMMIT');
      await lab.cluster.waitForReplay();
    }

    it.each(['standby', 'any'])('replays and goes on, with target_session_attrs %s', async (attributes) => {
      const client = await connect(attributes, { onTerminated: 'replay' });
      for (const sql of READER) await client.query(sql);
      await throwOutBy(client, '');
      const { rows } = await client.query('SELECT text, pg_is_in_recovery() AS standby FROM note');
      expect(rows).toEqual([{ text: 'seen', standby: true }]);
      await client.query('COMMIT');
      expect(client.failover!.snapshot()).toMatchObject({ replaysDiverged: 0 });
      expect(client.failover!.snapshot().replays).toBeGreaterThan(0);
      expect(client.seen.isQuiet).toBe(true);
    });

    it('does not go on if what it had read is different now', async () => {
      const client = await connect('standby', { onTerminated: 'replay' });
      for (const sql of READER) await client.query(sql);
      await throwOutBy(client, 'DELETE FROM note');
      const { error } = await settle(client.query('SELECT text FROM note'));
      expect(error).toMatchObject({ code: '40001', kind: 'replay-diverged' });
      await client.query('ROLLBACK');
      expect((await client.query('SELECT text FROM note')).rows).toEqual([]);
      expect(client.seen.isQuiet).toBe(true);
    });
  });
});
