import { describe, expect, it, vi } from 'vitest';
import type { LostState, OnReconnect } from '../../../src/options.ts';
import { FailoverLab, type WatchedClient } from '../../support/failover-lab.ts';
import { rejectionOf, settle } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

const LOCK = 'SELECT pg_try_advisory_lock(424242) AS got';

const backendOf = (client: WatchedClient): number =>
  (client as unknown as { readonly processID: number }).processID;

/** R8: what no new server has, the application may make again. */
describe('a session that holds what dies with its server, and an application that rebuilds it', () => {
  const lab = FailoverLab.forThisSuite({ standbys: 1 });

  /** The client's reason for having ended. */
  async function endOf(client: WatchedClient): Promise<string> {
    await settle(client.query('SELECT 1'));
    await waitFor(() => client.seen.errors.length > 0, { message: 'the client to end' });
    return client.seen.errors[0]!.message;
  }

  /** Loses the connection as soon as the session's state has been read back: before that it is refused (A8). */
  async function cut(client: WatchedClient): Promise<void> {
    await readBack(client);
    lab.proxy.cut();
  }

  /** The same, and waits until the session is back, so that nothing is in flight at the loss. */
  async function cutAndBack(client: WatchedClient): Promise<void> {
    await readBack(client);
    await back(client, () => {
      lab.proxy.cut();
    });
  }

  async function back(client: WatchedClient, lose: () => unknown): Promise<void> {
    const lost = backendOf(client);
    await lose();
    await waitFor(() => backendOf(client) !== lost, { message: 'the session to be back' });
  }

  async function readBack(client: WatchedClient): Promise<void> {
    await waitFor(
      async () => {
        const { rows } = await lab.primary.query<{ query: string; state: string }>(
          `SELECT query, state FROM pg_stat_activity WHERE pid = ${backendOf(client)}`,
        );
        return rows[0]?.state === 'idle' && rows[0].query.includes('before.effective_user');
      },
      { message: 'the state to be read back' },
    );
  }

  async function withTemporaryTable(onReconnect: OnReconnect): Promise<WatchedClient> {
    const client = await lab.connect({ failover: { onReconnect } });
    await client.query('CREATE TEMP TABLE kept (id int)');
    await client.query('INSERT INTO kept VALUES (1)');
    return client;
  }

  const makeTable: OnReconnect = async (session) => {
    await session.query('CREATE TEMP TABLE kept (id int)');
    await session.query('INSERT INTO kept VALUES ($1)', [1]);
  };

  it('has its temporary table again, with what the application put into it', async () => {
    const client = await withTemporaryTable(makeTable);
    await readBack(client);
    await back(client, () => lab.replacePrimary());
    expect((await client.query('SELECT id FROM kept')).rows).toEqual([{ id: 1 }]);
    expect(client.seen.isQuiet).toBe(true);
  });

  it('has it for the next loss as well', async () => {
    const hook = vi.fn(makeTable);
    const client = await withTemporaryTable(hook);
    for (const times of [1, 2, 3]) {
      await cutAndBack(client);
      expect((await client.query('SELECT id FROM kept')).rows).toEqual([{ id: 1 }]);
      expect(hook).toHaveBeenCalledTimes(times);
    }
  });

  it('replays its open transaction on what was rebuilt', async () => {
    const client = await withTemporaryTable(makeTable);
    await readBack(client);
    await client.query('BEGIN');
    await client.query(`INSERT INTO note SELECT 'note ' || id FROM kept`);
    await client.query('UPDATE kept SET id = id + 1');
    await lab.replacePrimary();
    expect((await client.query('SELECT id FROM kept')).rows).toEqual([{ id: 2 }]);
    await client.query('COMMIT');
    expect(await lab.notes()).toEqual(['note 1']);
  });

  it('never goes on with a transaction that saw other rows there (R5)', async () => {
    const client = await withTemporaryTable(async (session) => {
      await session.query('CREATE TEMP TABLE kept AS SELECT 2 AS id');
    });
    await readBack(client);
    await client.query('BEGIN');
    expect((await client.query('SELECT id FROM kept')).rows).toEqual([{ id: 1 }]);
    await client.query(`INSERT INTO note VALUES ('x')`);
    await lab.replacePrimary();
    expect(await rejectionOf(client.query('COMMIT'))).toMatchObject({ kind: 'replay-diverged' });
    expect(await lab.notes()).toEqual([]);
  });

  it('has its advisory lock at once, not only with its next statement', async () => {
    const client = await lab.connect({
      failover: {
        onReconnect: async (session) => {
          const { rows } = await session.query(LOCK);
          if (!(rows[0] as { got: boolean }).got) throw new Error('somebody else has it');
        },
      },
    });
    await client.query(LOCK);
    await readBack(client);
    await lab.replacePrimary();
    // Only looked at: who took the lock to see whether it is free would be in the way of the hook.
    await waitFor(
      async () => {
        const { rows } = await lab.primary.query<{ pid: number }>(
          `SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = 424242 AND granted`,
        );
        return rows[0]?.pid === backendOf(client);
      },
      { message: 'the lock to be taken again' },
    );
    expect(client.seen.isQuiet).toBe(true);
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  it('is refused without its lock, and the reason holds no key of a lock', async () => {
    const client = await lab.connect({ failover: { onReconnect: () => undefined } });
    await client.query(LOCK);
    await cut(client);
    const reason = await endOf(client);
    expect(reason).toContain('onReconnect has not rebuilt every advisory-lock');
    expect(reason).not.toContain('424242');
  });

  it('is refused if the hook rebuilt another table, by the name of what is missing', async () => {
    const client = await withTemporaryTable(async (session) => {
      await session.query('CREATE TEMP TABLE other (id int)');
    });
    await cut(client);
    expect(await endOf(client)).toMatch(/has not rebuilt every temporary-object .*kept/);
  });

  it('is refused if the hook throws, and what it says is not in the reason', async () => {
    const client = await withTemporaryTable(async (session) => {
      await session.query(`SELECT 'secret'::int`);
    });
    await cut(client);
    const reason = await endOf(client);
    expect(reason).toContain('onReconnect failed (22P02)');
    expect(reason).not.toContain('secret');
  });

  it.each([
    ['changed a setting', `SET app.tenant = 'other'`, 'onReconnect has changed setting "app.tenant"'],
    ['left a transaction open', 'BEGIN', 'onReconnect has left a transaction open'],
    ['listens', 'LISTEN news', 'onReconnect has changed LISTEN "news"'],
  ])('is refused if the hook %s', async (_what, sql, reason) => {
    const client = await lab.connect({
      failover: {
        onReconnect: async (session, lost) => {
          await makeTable(session, lost);
          await session.query(sql);
        },
      },
    });
    await client.query(`SET app.tenant = 'mine'`);
    await client.query('CREATE TEMP TABLE kept (id int)');
    await cut(client);
    expect(await endOf(client)).toContain(reason);
  });

  it('finds its settings and role restored when the hook runs', async () => {
    let found: unknown;
    const client = await lab.connect({
      failover: {
        onReconnect: async (session, lost) => {
          found = (await session.query(`SELECT current_setting('app.tenant') AS tenant, 7 AS seven`)).rows[0];
          await makeTable(session, lost);
        },
      },
    });
    await client.query(`SET app.tenant = 'mine'`);
    await client.query('CREATE TEMP TABLE kept (id int)');
    await cutAndBack(client);
    expect(found).toEqual({ tenant: 'mine', seven: 7 });
  });

  it('is told what there was', async () => {
    let told: readonly LostState[] = [];
    const client = await lab.connect({
      failover: {
        onReconnect: async (session, lost) => {
          told = lost;
          await session.query('CREATE TEMP TABLE kept (id int)');
          await session.query('DECLARE held CURSOR WITH HOLD FOR SELECT 1');
          await session.query(LOCK);
          await session.query('SELECT setseed(0.5)');
        },
      },
    });
    await client.query('CREATE TEMP TABLE kept (id int)');
    await client.query('DECLARE held CURSOR WITH HOLD FOR SELECT 1');
    await client.query(LOCK);
    await client.query('SELECT setseed(0.5)');
    await client.query('SELECT 1');
    for (let losses = 0; losses < 2; losses++) {
      told = [];
      await back(client, () => {
        lab.proxy.cut();
      });
      expect(new Map(told.map(({ kind, names }) => [kind, names.join(' ')]))).toEqual(
        new Map([
          ['temporary-object', expect.stringContaining('kept')],
          ['hold-cursor', 'held'],
          ['advisory-lock', ''],
          ['random-seed', ''],
        ]),
      );
    }
  });

  it('runs its hook again on the next connection if that one breaks', async () => {
    let calls = 0;
    const client = await withTemporaryTable(async (session, lost) => {
      if (++calls === 1) lab.proxy.cut();
      await makeTable(session, lost);
    });
    await cutAndBack(client);
    expect((await client.query('SELECT id FROM kept')).rows).toEqual([{ id: 1 }]);
    expect(calls).toBe(2);
    expect(client.seen.isQuiet).toBe(true);
  });

  it('is given up at the deadline of the failover if the hook does not end', async () => {
    const client = await lab.connect({
      failover: { timeoutMillis: 500, onReconnect: () => new Promise(() => undefined) },
    });
    await client.query('CREATE TEMP TABLE kept (id int)');
    await cut(client);
    expect(await endOf(client)).toContain('failover.timeoutMillis');
  });

  it('takes the connection away from a hook that has ended', async () => {
    let kept: Parameters<OnReconnect>[0] | undefined;
    const client = await withTemporaryTable(async (session, lost) => {
      kept = session;
      await makeTable(session, lost);
    });
    await cutAndBack(client);
    await expect(kept!.query('SELECT 1')).rejects.toThrow('not queryable');
  });

  it('is not asked of sessions that have lost nothing', async () => {
    const hook = vi.fn();
    const client = await lab.connect({ failover: { onReconnect: hook } });
    await client.query(`SET app.tenant = 'mine'`);
    await cut(client);
    await client.query('SELECT 1');
    expect(hook).not.toHaveBeenCalled();
  });
});

describe('a session whose state nobody has read back', () => {
  const lab = FailoverLab.forThisSuite({ standbys: 0 });

  it('is refused, although it has a hook: nobody knows what was lost (A8)', async () => {
    const hook = vi.fn();
    const client = await lab.connect({ failover: { onReconnect: hook } });
    // The check is asked for and never answered.
    lab.proxy.onFrontendMessage = (_type, body) => {
      if (!body.includes('pg_listening_channels')) return undefined;
      lab.proxy.cut();
      return 'drop';
    };
    await client.query('CREATE TEMP TABLE kept (id int)');
    await waitFor(() => client.seen.errors.length > 0, { message: 'the client to end' });
    expect(client.seen.errors[0]!.message).toContain('session state unknown');
    expect(hook).not.toHaveBeenCalled();
  });
});
