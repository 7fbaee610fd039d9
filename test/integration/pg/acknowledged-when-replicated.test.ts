import type { Duplex } from 'node:stream';
import { finished as finishedStream } from 'node:stream/promises';
import type { Connection } from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import { describe, expect, it } from 'vitest';
import type { LostCommit, NotReplicated } from '../../../src/events.ts';
import type { FailoverOptions } from '../../../src/options.ts';
import { Pool, type Client } from '../../../src/pg.ts';
import { FailoverLab, type WatchedClient } from '../../support/failover-lab.ts';
import { loseAnswers, onMessage } from '../../support/on-message.ts';
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

/** Swallows the end of the next answer with a tag, and nothing of what comes in front of it. */
function loseEnd(lab: FailoverLab): Promise<void> {
  return new Promise((resolve) => {
    let hasTag = false;
    lab.proxy.onBackendMessage = (type, body) => {
      hasTag ||= type === 'C' && /^(?:COMMIT|INSERT)/.test(body.toString('latin1'));
      if (!hasTag || type !== 'Z') return undefined;
      resolve();
      return 'drop';
    };
  });
}

/** Writes a Query at once, whatever is under way. */
function pipelined(client: Client, text: string): Promise<void> {
  const { connection } = client as unknown as { connection: Connection & { stream: Duplex } };
  return new Promise((resolve) => {
    waiting.push(resolve);
    connection.query(text);
    if (waiting.length > 1) return;
    const onReady = (): void => {
      waiting.shift()?.();
      if (waiting.length === 0) connection.off('readyForQuery', onReady);
    };
    connection.on('readyForQuery', onReady);
  });
}

const waiting: (() => void)[] = [];

it('is refused where there is only one host', () => {
  const failover = { acknowledge: 'replicated' } as const;
  expect(() => new Pool({ host: 'a', failover })).toThrow(/name the standbys/);
  expect(() => new Pool({ host: 'a,b', failover })).not.toThrow();
});

describe('with acknowledge: replicated', () => {
  const lab = FailoverLab.forThisSuite({
    tokens: true,
    standbys: 1,
    settings: { max_prepared_transactions: 5 },
  });

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

  it('COMMIT PREPARED is answered when the standby has replayed it', async () => {
    const client = await connect(LONG);
    await write(client, 'a');
    await client.query(`PREPARE TRANSACTION 'held'`);
    await paused(async () => {
      const call = await held(lab, client, 'a', `COMMIT PREPARED 'held'`);
      await lab.primary.query('SELECT pg_sleep(0.2)');
      expect(call.isOver()).toBe(false);
      await resume();
      expect((await call.outcome).error).toBeUndefined();
    });
  });

  it('COPY outside of a transaction is answered when the standby has replayed it', async () => {
    const client = await connect(LONG);
    await paused(async () => {
      const copy = client.query(copyFrom('COPY note FROM STDIN'));
      let isOver = false;
      const finished = finishedStream(copy).finally(() => {
        isOver = true;
      });
      copy.end('a\n');
      await waitFor(async () => (await lab.notes()).includes('a'), { message: 'the rows to be there' });
      await lab.primary.query('SELECT pg_sleep(0.2)');
      expect(isOver).toBe(false);
      await resume();
      await finished;
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

  it('is answered by the standby alone, if the connection is lost and the same server goes on meanwhile', async () => {
    const client = await connect(LONG);
    await paused(async () => {
      await write(client, 'a');
      const call = await held(lab, client, 'a');
      lab.proxy.cut();
      await lab.primary.query('SELECT pg_sleep(0.2)');
      expect(call.isOver()).toBe(false);
      await resume();
      expect((await call.outcome).error).toBeUndefined();
    });
    expect(await lab.notes()).toEqual(['a']);
  });

  it.each([
    { what: 'a COMMIT', begin: true, sql: 'COMMIT', lose: 'all' },
    { what: 'a COMMIT', begin: true, sql: 'COMMIT', lose: 'end' },
    {
      what: 'a write outside of a transaction',
      begin: false,
      sql: `INSERT INTO note VALUES ('a')`,
      lose: 'end',
    },
  ] as const)(
    '$what whose answer is lost ($lose of it), and which is found committed on the same server, is held as well',
    async ({ begin, sql, lose }) => {
      const client = await connect(LONG);
      await paused(async () => {
        if (begin) await write(client, 'a');
        const lost =
          lose === 'all'
            ? onMessage(lab.proxy, { from: 'server', type: 'C' }, (from) => loseAnswers(lab.proxy, from))
            : loseEnd(lab);
        const call = await held(lab, client, 'a', sql);
        await lost;
        lab.proxy.onBackendMessage = undefined;
        const { failovers } = client.failover!.snapshot();
        lab.proxy.cut();
        await waitFor(() => client.failover!.snapshot().failovers > failovers, { message: 'the failover' });
        await waitFor(() => client.failover!.snapshot().waitingSessions === 0, { message: 'its end' });
        await lab.primary.query('SELECT pg_sleep(0.2)');
        expect(call.isOver()).toBe(false);
        await resume();
        expect((await call.outcome).error).toBeUndefined();
      });
      expect(await lab.notes()).toEqual(['a']);
    },
  );

  it('gives the error behind the time also for what is found committed on the same server', async () => {
    const client = await connect(SHORT);
    await paused(async () => {
      await write(client, 'a');
      const lost = onMessage(lab.proxy, { from: 'server', type: 'C' }, (from) =>
        loseAnswers(lab.proxy, from),
      );
      const call = await held(lab, client, 'a');
      await lost;
      lab.proxy.onBackendMessage = undefined;
      lab.proxy.cut();
      expect((await call.outcome).error).toMatchObject({ kind: 'not-replicated', outcome: 'committed' });
      expect((await client.query('SELECT text FROM note')).rows).toEqual([{ text: 'a' }]);
    });
  });

  it('is not held if it is found committed on what was a standby', async () => {
    const client = await connect(LONG);
    await write(client, 'a');
    const lost = onMessage(lab.proxy, { from: 'server', type: 'C' }, (from) => loseAnswers(lab.proxy, from));
    const call = await held(lab, client, 'a');
    await lost;
    await lab.replacePrimary();
    // There is no standby any more.
    expect((await call.outcome).error).toBeUndefined();
    expect(await lab.notes()).toEqual(['a']);
  });

  it('goes on being held if the same server comes back', async () => {
    const client = await connect(LONG);
    await paused(async () => {
      await write(client, 'a');
      const call = await held(lab, client, 'a');
      await lab.primary.kill();
      await lab.primary.start();
      await waitFor(
        () => client.failover!.snapshot().waitingSessions === 0 && lab.proxy.connections.length > 0,
        {
          message: 'the session to be there again',
        },
      );
      await lab.primary.query('SELECT pg_sleep(0.2)');
      expect(call.isOver()).toBe(false);
      await resume();
      expect((await call.outcome).error).toBeUndefined();
    });
    expect(await lab.notes()).toEqual(['a']);
  });

  it('is run again if it is lost, and held again', async () => {
    const client = await connect({ ...LONG, lostCommits: 'reapply', acknowledgeTimeoutMillis: 1_500 });
    const lost: LostCommit[] = [];
    client.failover!.on('lostCommit', (event) => lost.push(event));
    await lab.shipAll();
    await lab.primary.freezeWalSender();
    await write(client, 'a');
    const call = await held(lab, client, 'a');
    await lab.primary.kill();
    await lab.cluster.failover();
    // It is there, and no standby is left that could have it.
    expect((await call.outcome).error).toMatchObject({ kind: 'not-replicated', outcome: 'committed' });
    expect((await client.query('SELECT text FROM note')).rows).toEqual([{ text: 'a' }]);
    expect(lost.map(({ outcome }) => outcome)).toEqual(['reapplied']);
  });

  it('answers what was pipelined in order, with two of them held', async () => {
    const client = await connect(LONG);
    const order: string[] = [];
    await paused(async () => {
      const calls = [
        `BEGIN; INSERT INTO note VALUES ('a'); COMMIT`,
        'SELECT 1 AS one',
        `BEGIN; INSERT INTO note VALUES ('b'); COMMIT`,
        'SELECT 2 AS two',
      ].map(async (text) => {
        await pipelined(client, text);
        order.push(text);
      });
      await waitFor(async () => (await lab.notes()).length === 2, { message: 'both to be there' });
      expect(order).toEqual([]);
      await resume();
      await Promise.all(calls);
    });
    expect(order.map((text) => text.slice(0, 8))).toEqual(['BEGIN; I', 'SELECT 1', 'BEGIN; I', 'SELECT 2']);
  });

  it('holds those of two sessions, each for itself', async () => {
    const [one, other] = [await connect(LONG), await connect(SHORT)];
    await paused(async () => {
      await write(one, 'one');
      await write(other, 'other');
      const first = await held(lab, one, 'one');
      const second = await held(lab, other, 'other');
      expect((await second.outcome).error).toMatchObject({ kind: 'not-replicated' });
      expect(first.isOver()).toBe(false);
      await resume();
      expect((await first.outcome).error).toBeUndefined();
    });
  });

  it('holds behind ROLLBACK TO what had asked for it, and not what had not', async () => {
    const client = await connect({ ...SHORT, acknowledge: 'local' });
    const ask = `SET LOCAL holdfast.acknowledge = 'replicated'`;
    await paused(async () => {
      await write(client, 'a');
      await client.query('SAVEPOINT s');
      await client.query(ask);
      await client.query('ROLLBACK TO s');
      await expect(client.query('COMMIT')).rejects.toMatchObject({ kind: 'not-replicated' });
      await write(client, 'b');
      await client.query('SAVEPOINT s');
      await client.query('ROLLBACK TO s');
      await client.query('COMMIT');
    });
  });

  it('lets a pool end when the answer has come', async () => {
    const pool = lab.pool({ max: 1, failover: LONG });
    await paused(async () => {
      const call = pool.query(`INSERT INTO note VALUES ('a')`);
      await waitFor(async () => (await lab.notes()).length === 1, { message: 'the write to be there' });
      let isOver = false;
      const end = pool.end().then(() => {
        isOver = true;
      });
      await lab.primary.query('SELECT pg_sleep(0.1)');
      expect(isOver).toBe(false);
      await resume();
      expect((await call).rowCount).toBe(1);
      await end;
    });
  });

  it('lets nobody wait for longer where there is no standby', async () => {
    for (const node of lab.cluster.standbys) await node.kill();
    const client = await connect(SHORT);
    await expect(client.query(`INSERT INTO note VALUES ('a')`)).rejects.toMatchObject({
      kind: 'not-replicated',
      outcome: 'committed',
    });
    expect(await lab.notes()).toEqual(['a']);
  });

  it('lets nobody wait for longer where the standby says nothing any more, and goes on when it does', async () => {
    const [short, long] = [await connect(SHORT), await connect(LONG)];
    const [standby] = lab.cluster.standbys;
    standby!.freeze();
    try {
      await expect(short.query(`INSERT INTO note VALUES ('a')`)).rejects.toMatchObject({
        outcome: 'committed',
      });
      const call = await held(lab, long, 'b', `INSERT INTO note VALUES ('b')`);
      expect(call.isOver()).toBe(false);
      standby!.thaw();
      expect((await call.outcome).error).toBeUndefined();
    } finally {
      standby!.thaw();
    }
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
