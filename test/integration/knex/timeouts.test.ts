import { beforeEach, describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { onMessage } from '../../support/on-message.ts';
import { openKnex, type OpenKnex } from '../../support/open-knex.ts';
import { rejectionOf, settle } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

describe("Knex's .timeout() around a failover", () => {
  const lab = FailoverLab.forThisSuite();
  /** Texts that reached a standby, of which one is the next primary. */
  let sent: string[];
  beforeEach(() => {
    sent = [];
    for (const proxy of lab.standbyProxies) {
      proxy.onFrontendMessage = (type, body) => {
        if (type === 'Q' || type === 'P') sent.push(body.toString());
        return undefined;
      };
    }
  });

  function open(max = 1): OpenKnex {
    return openKnex({ connection: lab.connectionString(), pool: { min: 0, max } });
  }

  async function sleepers(): Promise<number> {
    const { rowCount } = await lab.primary.query(`SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'`);
    return rowCount ?? 0;
  }

  /** The backend behind the pool's only connection. */
  async function processOf(db: OpenKnex): Promise<number> {
    const { rows } = await db.raw<{ rows: { pid: number }[] }>('SELECT pg_backend_pid() AS pid');
    return rows[0]!.pid;
  }

  it('cancels on the server that the session has moved to, and goes on with the same connection', async () => {
    const db = open();
    const before = await processOf(db);
    await lab.replacePrimary();
    const after = await processOf(db);
    expect(after).not.toBe(before);
    const error = await rejectionOf(db.raw('SELECT pg_sleep(60)').timeout(500, { cancel: true }));
    expect(error).toMatchObject({
      name: 'KnexTimeoutError',
      message: 'Defined query timeout of 500ms exceeded when running query.',
    });
    expect(await processOf(db)).toBe(after);
    expect(await sleepers()).toBe(0);
    expect(db.logged).toEqual([]);
  });

  it('cancels though its request overtakes the statement, which the server then forgets', async () => {
    const db = open();
    await db.raw('SELECT 1');
    const held = onMessage(lab.proxy, { from: 'client', type: 'Q', text: 'pg_sleep' }, 'hold');
    const { accepted } = lab.proxy;
    const pending = settle(Promise.resolve(db.raw('SELECT pg_sleep(60)').timeout(200, { cancel: true })));
    await held;
    await waitFor(() => lab.proxy.accepted > accepted && lab.proxy.connections.length === 1);
    lab.proxy.release();
    expect((await pending).error?.name).toBe('KnexTimeoutError');
    expect(await sleepers()).toBe(0);
    await db('note').insert({ text: 'later' });
    expect(await lab.notes()).toEqual(['later']);
    expect(db.logged).toEqual([]);
  });

  it('cancels nobody else who has the number of the backend that was lost (T10)', async () => {
    const db = open();
    const trx = await db.transaction();
    await trx('note').insert({ text: 'a' });
    const bystander = await lab.connect();
    await lab.killPrimary();
    // Waits for a server, so that nothing is to be cancelled anywhere; its process number may be anybody's there.
    const error = await rejectionOf(trx('note').insert({ text: 'given up' }).timeout(200, { cancel: true }));
    expect(error.name).toBe('KnexTimeoutError');
    await lab.cluster.failover();
    await bystander.query('SELECT 1');
    expect(await rejectionOf(Promise.resolve(trx('note').insert({ text: 'b' })))).toMatchObject({
      code: /^(40001|25P02)$/,
    });
    await trx.rollback();
    await db('note').insert({ text: 'later' });
    expect(await lab.notes()).toEqual(['later']);
    expect(sent.join()).not.toContain('given up');
    expect(sent.join()).not.toContain('pg_cancel_backend');
  });

  it('cancels inside a transaction that was replayed, which can then be rolled back', async () => {
    const db = open();
    const work = db.transaction(async (trx) => {
      await trx('note').insert({ text: 'a' });
      await lab.replacePrimary();
      await trx.raw('SELECT pg_sleep(60)').timeout(500, { cancel: true });
    });
    expect((await rejectionOf(work)).name).toBe('KnexTimeoutError');
    await db('note').insert({ text: 'later' });
    expect(await lab.notes()).toEqual(['later']);
    expect(await sleepers()).toBe(0);
    expect(db.logged).toEqual([]);
  });

  it('never sends what was given up while there was no server, without cancel either (R15)', async () => {
    const db = open(2);
    await db.raw('SELECT 1');
    await lab.killPrimary();
    const insert = db('note').insert({ text: 'given up' }).timeout(200);
    expect((await rejectionOf(Promise.resolve(insert))).name).toBe('KnexTimeoutError');
    const next = settle(Promise.resolve(db('note').insert({ text: 'next' })));
    await lab.cluster.failover();
    expect((await next).error).toBeUndefined();
    // Another session has seen the failover through by now, and its own one is over as well.
    await waitFor(() => db.failover.snapshot().waitingSessions === 0);
    await db('note').insert({ text: 'later' });
    expect(await lab.notes()).toEqual(['later', 'next']);
    expect(sent.filter((text) => text.includes('insert')).length).toBeGreaterThan(0);
    expect(sent.join()).not.toContain('given up');
  });
});
