import { describe, expect, it } from 'vitest';
import type { WatchedClient } from '../../support/failover-lab.ts';
import { FailoverLab } from '../../support/failover-lab.ts';
import { onMessage } from '../../support/on-message.ts';
import { rejectionOf, settle } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

describe('one connection is cut and its server is fine', () => {
  const lab = FailoverLab.forThisSuite({
    standbys: 0,
    setUp: 'CREATE TABLE stock (id int PRIMARY KEY, amount int); INSERT INTO stock VALUES (1, 10)',
  });

  /** Backends of the application, which plain pg would have left behind with their locks. */
  async function backends(): Promise<number> {
    const { rows } = await lab.primary.query<{ count: number }>(
      `SELECT count(*)::int AS count FROM pg_stat_activity WHERE usename = 'app' AND state <> 'idle'`,
    );
    return rows[0]!.count;
  }

  it.each([
    [
      'a reset',
      (): void => {
        lab.proxy.cut();
      },
    ],
    [
      'an orderly end',
      (): void => {
        lab.proxy.fin();
      },
    ],
    [
      'a reset that the server does not see',
      (): void => {
        lab.proxy.cutClientSideOnly();
      },
    ],
  ])('reconnects an idle session after %s', async (_name, cut) => {
    const client = await lab.connect();
    await client.query(`SET application_name TO 'kept'`);
    // The driver reads the state back as soon as nobody needs the session; lost before that it would be refused.
    await waitFor(async () => {
      const { rowCount } = await lab.primary.query(
        `SELECT FROM pg_stat_activity WHERE application_name = 'kept' AND state = 'idle' AND query LIKE '%pg_settings%'`,
      );
      return rowCount === 1;
    });
    cut();
    const { rows } = await client.query(`SELECT current_setting('application_name') AS name`);
    expect(rows).toEqual([{ name: 'kept' }]);
    expect(client.seen.isQuiet).toBe(true);
  });

  it('runs a read again', async () => {
    const client = await lab.connect();
    const cut = onMessage(lab.proxy, { from: 'server', type: 'C', text: 'SELECT' }, 'cut-before');
    const pending = client.query('SELECT amount FROM stock');
    await cut;
    expect((await pending).rows).toEqual([{ amount: 10 }]);
    expect(client.seen.isQuiet).toBe(true);
  });

  it('says that the outcome of a write is unknown if it never reached the server, and does not run it', async () => {
    const client = await lab.connect();
    const cut = onMessage(lab.proxy, { from: 'client', type: 'Q', text: 'INSERT' }, 'cut-before');
    const pending = settle(client.query(`INSERT INTO note VALUES ('a')`));
    await cut;
    const { error } = await pending;
    expect(error).toMatchObject({ code: '08007', kind: 'outcome-unknown', outcome: 'unknown' });
    await client.query(`INSERT INTO note VALUES ('later')`);
    expect(await lab.notes()).toEqual(['later']);
    expect(client.seen.isQuiet).toBe(true);
  });

  it('says that the outcome of a write is unknown if it took effect, and does not run it again', async () => {
    const client = await lab.connect();
    const cut = onMessage(lab.proxy, { from: 'server', type: 'C', text: 'INSERT' }, 'cut-before');
    const pending = settle(client.query(`INSERT INTO note VALUES ('a')`));
    await cut;
    const { error } = await pending;
    expect(error).toMatchObject({ code: '08007', kind: 'outcome-unknown', outcome: 'unknown' });
    expect((error as { cause?: unknown }).cause).toMatchObject({ code: 'ECONNRESET' });
    await client.query(`INSERT INTO note VALUES ('later')`);
    expect(await lab.notes()).toEqual(['a', 'later']);
  });

  it('never reports class 40 for a write in doubt, also when many wait in line', async () => {
    const client = await lab.connect();
    const cut = onMessage(lab.proxy, { from: 'server', type: 'C', text: 'INSERT', after: 1 }, 'cut-before');
    const pending = ['a', 'b', 'c', 'd'].map((text) =>
      settle(client.query('INSERT INTO note VALUES ($1)', [text])),
    );
    await cut;
    const results = await Promise.all(pending);
    // The first had its answer, the second is in doubt, the others had not been sent yet.
    expect(results.map(({ error }) => error?.code)).toEqual([undefined, '08007', undefined, undefined]);
    expect(await lab.notes()).toEqual(['a', 'b', 'c', 'd']);
  });

  it('believes a CommandComplete of a simple query that came before the cut', async () => {
    const client = await lab.connect();
    const cut = onMessage(lab.proxy, { from: 'server', type: 'Z' }, 'cut-before');
    const pending = client.query(`INSERT INTO note VALUES ('a')`);
    await cut;
    expect((await pending).rowCount).toBe(1);
    expect(await lab.notes()).toEqual(['a']);
  });

  describe('with an open transaction', () => {
    async function begin(): Promise<WatchedClient> {
      const client = await lab.connect();
      await client.query('BEGIN');
      await client.query('UPDATE stock SET amount = amount - 1 WHERE id = 1 RETURNING amount');
      await client.query(`INSERT INTO note VALUES ('a')`);
      return client;
    }

    async function finish(client: WatchedClient): Promise<void> {
      await client.query(`INSERT INTO note VALUES ('b')`);
      await client.query('COMMIT');
      expect(await lab.notes()).toEqual(['a', 'b']);
      const { rows } = await lab.primary.query('SELECT amount FROM stock');
      await lab.primary.query('UPDATE stock SET amount = 10');
      expect(rows).toEqual([{ amount: 9 }]);
      expect(client.seen.isQuiet).toBe(true);
      expect(await backends()).toBe(0);
    }

    it('replays it after a reset', async () => {
      const client = await begin();
      lab.proxy.cut();
      await finish(client);
    });

    it('ends the old backend first, which still holds the row locks and has not noticed anything (A16)', async () => {
      const client = await begin();
      lab.proxy.cutClientSideOnly();
      await finish(client);
    });

    it('ends the old backend first also if that is at work', async () => {
      const client = await begin();
      const pending = client.query(`INSERT INTO note SELECT 'slow' FROM pg_sleep(0.4)`);
      await waitFor(async () => {
        const { rowCount } = await lab.primary.query(
          `SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'`,
        );
        return rowCount === 1;
      });
      lab.proxy.cutClientSideOnly();
      await pending;
      await lab.primary.query(`DELETE FROM note`);
      await client.query(`DELETE FROM note WHERE text = 'slow'`);
      await finish(client);
    });

    it('commits once if COMMIT never reached the server', async () => {
      const client = await begin();
      await client.query(`INSERT INTO note VALUES ('b')`);
      const cut = onMessage(lab.proxy, { from: 'client', type: 'Q', text: 'COMMIT' }, 'cut-before');
      const commit = client.query('COMMIT');
      await cut;
      expect((await commit).command).toBe('COMMIT');
      expect(await lab.notes()).toEqual(['a', 'b']);
      await lab.primary.query('UPDATE stock SET amount = 10');
    });

    it('commits once if COMMIT was dropped and the backend still waits in its transaction', async () => {
      const client = await begin();
      const dropped = onMessage(lab.proxy, { from: 'client', type: 'Q', text: 'COMMIT' }, 'drop');
      const commit = client.query('COMMIT');
      await dropped;
      lab.proxy.cutClientSideOnly();
      expect((await commit).command).toBe('COMMIT');
      expect(await lab.notes()).toEqual(['a']);
      await lab.primary.query('UPDATE stock SET amount = 10');
    });

    it.each([
      ['before CommandComplete', 'C', 'COMMIT', 'cut-before'],
      ['between CommandComplete and ReadyForQuery', 'C', 'COMMIT', 'cut-after'],
    ] as const)(
      'commits once if it was committed and the connection is cut %s',
      async (_name, type, text, verdict) => {
        const client = await begin();
        const cut = onMessage(lab.proxy, { from: 'server', type, text }, verdict);
        const commit = client.query('COMMIT');
        await cut;
        expect((await commit).command).toBe('COMMIT');
        expect(await lab.notes()).toEqual(['a']);
        await lab.primary.query('UPDATE stock SET amount = 10');
        expect(client.seen.isQuiet).toBe(true);
      },
    );

    it('leaves a transaction failed that had failed', async () => {
      const client = await begin();
      expect(await rejectionOf(client.query('SELECT 1 / 0'))).toMatchObject({ code: '22012' });
      lab.proxy.cut();
      expect(await rejectionOf(client.query('SELECT 1'))).toMatchObject({ code: '25P02' });
      await client.query('ROLLBACK');
      expect(await lab.notes()).toEqual([]);
    });
  });

  it('leaves all other sessions of the process alone', async () => {
    const [victim, other] = [await lab.connect(), await lab.connect()];
    await victim.query('BEGIN');
    await other.query('BEGIN');
    const pid = async (): Promise<unknown> =>
      (await other.query('SELECT pg_backend_pid() AS pid')).rows[0].pid;
    const before = await pid();
    lab.proxy.connections[0]!.cut();
    await victim.query(`INSERT INTO note VALUES ('a')`);
    await victim.query('COMMIT');
    expect(await pid()).toBe(before);
    await other.query('ROLLBACK');
    expect(other.failover!.snapshot().replaysDiverged).toBe(0);
  });
});
