import { describe, expect, it } from 'vitest';
import type { LostCommit, NotReplicated } from '../../../src/events.ts';
import type { FailoverOptions } from '../../../src/options.ts';
import { Pool, type Client } from '../../../src/pg.ts';
import { FailoverLab, type WatchedClient } from '../../support/failover-lab.ts';
import { settle } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

const LONG = { acknowledge: 'replicated', acknowledgeTimeoutMillis: 30_000 } as const;
const SHORT = { acknowledge: 'replicated', acknowledgeTimeoutMillis: 200 } as const;

async function write(client: Client, text: string): Promise<void> {
  await client.query('BEGIN');
  await client.query('INSERT INTO note VALUES ($1)', [text]);
}

/** Starts it, and waits until the server has answered it but the application has not heard. */
async function held(lab: FailoverLab, client: Client, text: string, sql = 'COMMIT'): Promise<HeldCall> {
  let isOver = false;
  const outcome = settle(client.query(sql)).finally(() => {
    isOver = true;
  });
  await waitFor(async () => (await lab.notes()).includes(text), { message: 'the COMMIT to be there' });
  return { outcome, isOver: () => isOver };
}

interface HeldCall {
  readonly outcome: ReturnType<typeof settle>;
  readonly isOver: () => boolean;
}

it('is refused where there is only one host', () => {
  const failover = { acknowledge: 'replicated' } as const;
  expect(() => new Pool({ host: 'a', failover })).toThrow(/name the standbys/);
  expect(() => new Pool({ host: 'a,b', failover })).not.toThrow();
});

describe('with acknowledge: replicated', () => {
  const lab = FailoverLab.forThisSuite({ tokens: true, standbys: 1 });

  async function pause(): Promise<void> {
    await lab.shipAll();
    for (const node of lab.cluster.standbys) await node.query('SELECT pg_wal_replay_pause()');
  }

  async function resume(): Promise<void> {
    for (const node of lab.cluster.standbys) await node.query('SELECT pg_wal_replay_resume()');
  }

  async function paused(work: () => Promise<void>): Promise<void> {
    await pause();
    try {
      await work();
    } finally {
      await resume();
    }
  }

  async function connect(failover: FailoverOptions): Promise<WatchedClient> {
    return await lab.connect({ failover });
  }

  it.each([
    { what: 'a COMMIT', begin: true, sql: 'COMMIT' },
    { what: 'a write outside of a transaction', begin: false, sql: `INSERT INTO note VALUES ('a')` },
    {
      what: 'a string that commits',
      begin: false,
      sql: `BEGIN; INSERT INTO note VALUES ('a'); COMMIT`,
    },
  ])('$what is answered when the standby has replayed it', async ({ begin, sql }) => {
    const client = await connect(LONG);
    await paused(async () => {
      if (begin) await write(client, 'a');
      const call = await held(lab, client, 'a', sql);
      // The standby is asked all the while, and has it not.
      await lab.primary.query('SELECT pg_sleep(0.2)');
      expect(call.isOver()).toBe(false);
      await resume();
      expect((await call.outcome).error).toBeUndefined();
    });
    expect(await lab.notes()).toEqual(['a']);
  });

  it('is not held up by reads, nor are transactions that only read', async () => {
    const client = await connect(LONG);
    await client.query('SELECT text FROM note');
    await paused(async () => {
      await client.query('BEGIN');
      await client.query('SELECT text FROM note');
      await client.query('COMMIT');
      await client.query('SELECT text FROM note');
    });
  });

  it('gives an error behind the time that says that it is committed, and the session goes on', async () => {
    const client = await connect(SHORT);
    await paused(async () => {
      await write(client, 'a');
      await expect(client.query('COMMIT')).rejects.toMatchObject({
        name: 'NotReplicatedError',
        kind: 'not-replicated',
        code: '08007',
        outcome: 'committed',
      });
      // Repeated, as some do, it is not answered with success.
      await expect(client.query('COMMIT')).rejects.toMatchObject({ kind: 'not-replicated' });
      expect((await client.query('SELECT text FROM note')).rows).toEqual([{ text: 'a' }]);
    });
  });

  it('gives the answer and an event behind the time if so wanted', async () => {
    const client = await connect({ ...SHORT, onAcknowledgeTimeout: 'event' });
    const events: NotReplicated[] = [];
    client.failover!.on('notReplicated', (event) => events.push(event));
    await paused(async () => {
      await write(client, 'a');
      const { command } = await client.query('COMMIT');
      expect(command).toBe('COMMIT');
      expect(events).toHaveLength(1);
      expect(events[0]!.durationMillis).toBeGreaterThanOrEqual(195);
    });
  });

  it('is chosen by a transaction itself, for itself alone', async () => {
    const client = await connect({ ...SHORT, acknowledge: 'local' });
    await paused(async () => {
      await write(client, 'local');
      await client.query('COMMIT');
      await write(client, 'replicated');
      await client.query(`SET LOCAL holdfast.acknowledge = 'replicated'`);
      await expect(client.query('COMMIT')).rejects.toMatchObject({ kind: 'not-replicated' });
      await write(client, 'local again');
      await client.query('COMMIT');
    });
  });

  it('is renounced by a transaction itself', async () => {
    const client = await connect(LONG);
    await paused(async () => {
      await write(client, 'a');
      await client.query(`set local "holdfast"."acknowledge" to local`);
      await client.query('COMMIT');
    });
  });

  it('says success if the primary dies meanwhile and the standby had received it', async () => {
    const client = await connect(LONG);
    await pause();
    await write(client, 'a');
    const call = await held(lab, client, 'a');
    // Promotion ends the pause, and all that was received is replayed.
    await waitFor(async () => {
      const { rows } = await lab.primary.query<{ has: boolean }>(
        'SELECT flush_lsn >= pg_current_wal_insert_lsn() AS has FROM pg_stat_replication',
      );
      return rows[0]?.has === true;
    });
    await lab.primary.kill();
    await resume();
    await lab.cluster.failover();
    expect((await call.outcome).error).toBeUndefined();
    expect(await lab.notes()).toEqual(['a']);
  });

  it('takes the answer back that was never given, if the transaction is lost', async () => {
    const client = await connect(LONG);
    const lost: LostCommit[] = [];
    client.failover!.on('lostCommit', (event) => lost.push(event));
    await lab.shipAll();
    await lab.primary.freezeWalSender();
    await write(client, 'a');
    const call = await held(lab, client, 'a');
    await lab.primary.kill();
    await lab.cluster.failover();
    expect((await call.outcome).error).toMatchObject({ code: '40001', outcome: 'rolled-back' });
    expect(lost).toEqual([]);
    expect(lost).toEqual([]);
    expect((await client.query('SELECT text FROM note')).rows).toEqual([]);
  });

  it('lets a client end that waits for it', async () => {
    const client = await connect(LONG);
    await paused(async () => {
      await write(client, 'a');
      const call = await held(lab, client, 'a');
      await client.end();
      expect((await call.outcome).error).toBeInstanceOf(Error);
    });
  });

  it('gives the session up within its deadline if no server comes back, and says that nobody knows', async () => {
    const client = await connect({ ...LONG, timeoutMillis: 600 });
    client.on('error', () => undefined);
    await paused(async () => {
      await write(client, 'a');
      const call = await held(lab, client, 'a');
      await lab.primary.kill();
      expect((await call.outcome).error).toMatchObject({ kind: 'outcome-unknown', code: '08007' });
    });
  });

  it('lets a client go on that has given up on it', async () => {
    const client = await lab.connect({ failover: LONG, query_timeout: 300 });
    await paused(async () => {
      await write(client, 'a');
      await expect(client.query('COMMIT')).rejects.toMatchObject({ outcome: 'committed' });
      expect((await client.query('SELECT text FROM note')).rows).toEqual([{ text: 'a' }]);
    });
  });
});
