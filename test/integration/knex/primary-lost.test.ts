import { setTimeout as sleep } from 'node:timers/promises';
import type { Knex } from 'knex';
import { describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { loseAnswers, onMessage } from '../../support/on-message.ts';
import { openKnex, type OpenKnex } from '../../support/open-knex.ts';
import { rejectionOf, settle } from '../../support/settle.ts';
import { unpinnableKey } from '../../support/unpinnable-key.ts';
import { waitFor } from '../../support/wait-for.ts';

describe('an application on Knex whose primary is lost', () => {
  const lab = FailoverLab.forThisSuite({
    setUp: `CREATE TABLE account (id text PRIMARY KEY, balance int NOT NULL);
      CREATE TABLE ticket (id serial PRIMARY KEY, text text NOT NULL, at timestamptz DEFAULT now(), token uuid DEFAULT gen_random_uuid());
      CREATE TABLE numbered (id serial PRIMARY KEY, text text NOT NULL);
      ${unpinnableKey('numbered')}`,
  });

  function open(config: Knex.Config = {}): OpenKnex {
    return openKnex({ connection: lab.connectionString(), ...config });
  }

  /** `true` once a statement of the application sleeps on the server. */
  async function isAsleep(): Promise<boolean> {
    const { rowCount } = await lab.primary.query(`SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'`);
    return rowCount === 1;
  }

  it('goes on in the middle of a transaction, which commits: each row is there once', async () => {
    const db = open();
    await lab.primary.query(`TRUNCATE account; INSERT INTO account VALUES ('a', 100), ('b', 0)`);
    const result = await db.transaction(async (trx) => {
      const from = await trx('account').where({ id: 'a' }).forUpdate().first<{ balance: number }>();
      await trx('account').where({ id: 'a' }).decrement('balance', 30);
      await lab.replacePrimary();
      await trx('account').where({ id: 'b' }).increment('balance', 30);
      await trx('note').insert({ text: 'moved' });
      return from.balance;
    });
    expect(result).toBe(100);
    expect(await db('account').select().orderBy('id')).toEqual([
      { id: 'a', balance: 70 },
      { id: 'b', balance: 30 },
    ]);
    expect(await lab.notes()).toEqual(['moved']);
    expect(db.logged).toEqual([]);
  });

  it('goes on when it is lost with a statement at work', async () => {
    const db = open();
    const work = db.transaction(async (trx) => {
      await trx('note').insert({ text: 'a' });
      await trx.raw(`INSERT INTO note SELECT ? FROM pg_sleep(0.5)`, ['b']);
    });
    await waitFor(isAsleep);
    await lab.replacePrimary();
    await work;
    expect(await lab.notes()).toEqual(['a', 'b']);
    expect(db.logged).toEqual([]);
  });

  it('goes on inside a nested transaction, and in the outer one after the inner was rolled back', async () => {
    const db = open();
    await db.transaction(async (outer) => {
      await outer('note').insert({ text: 'outer' });
      await outer.transaction(async (inner) => {
        await inner('note').insert({ text: 'inner' });
        await lab.replacePrimary();
        await inner('note').insert({ text: 'inner, on the new primary' });
      });
      const undone = outer.transaction(async (inner) => {
        await inner('note').insert({ text: 'undone' });
        throw new Error('not this one');
      });
      expect((await rejectionOf(undone)).message).toBe('not this one');
      await outer('note').insert({ text: 'after' });
    });
    expect(await lab.notes()).toEqual(['after', 'inner', 'inner, on the new primary', 'outer']);
    expect(db.logged).toEqual([]);
  });

  it('rolls back what the application rolls back', async () => {
    const db = open();
    const work = db.transaction(async (trx) => {
      await trx('note').insert({ text: 'undone' });
      await lab.replacePrimary();
      throw new Error('changed my mind');
    });
    expect((await rejectionOf(work)).message).toBe('changed my mind');
    await db('note').insert({ text: 'later' });
    expect(await lab.notes()).toEqual(['later']);
    expect(db.logged).toEqual([]);
  });

  it('keeps isolation level and read only', async () => {
    const db = open();
    const work = db.transaction(
      async (trx) => {
        await trx('note').select();
        await lab.replacePrimary();
        const shown = await trx.raw<{ rows: unknown[] }>(
          `SELECT current_setting('transaction_isolation') AS level, current_setting('transaction_read_only') AS only`,
        );
        expect(shown.rows).toEqual([{ level: 'repeatable read', only: 'on' }]);
        await trx('note').insert({ text: 'refused' });
      },
      { isolationLevel: 'repeatable read', readOnly: true },
    );
    expect(await rejectionOf(work)).toMatchObject({ code: '25006' });
    expect(await lab.notes()).toEqual([]);
  });

  it.each([
    ['reached the server', 'committed'],
    ['never reached it', 'replayed'],
  ])('commits once when it is lost with a COMMIT in flight that %s', async (_what, fate) => {
    const db = open();
    const trx = await db.transaction();
    await trx('note').insert({ text: 'once' });
    const lost =
      fate === 'committed'
        ? onMessage(lab.proxy, { from: 'server', type: 'C', text: 'COMMIT' }, (from) =>
            loseAnswers(lab.proxy, from),
          )
        : onMessage(lab.proxy, { from: 'client', type: 'Q', text: 'COMMIT' }, 'drop');
    const commit = settle(Promise.resolve(trx.commit()));
    await lost;
    await lab.replacePrimary();
    expect((await commit).error).toBeUndefined();
    expect(trx.isCompleted()).toBe(true);
    expect(await lab.notes()).toEqual(['once']);
    expect(db.logged).toEqual([]);
  });

  it('keeps all connections of its pool, idle ones and those in use', async () => {
    const db = open({ pool: { min: 0, max: 6 } });
    await Promise.all(Array.from({ length: 4 }, async () => await db.raw('SELECT pg_sleep(0.1)')));
    const pool = (db.client as { pool: { numFree(): number; numUsed(): number } }).pool;
    expect(pool.numFree()).toBe(4);
    const transactions = await Promise.all(['a', 'b'].map(async () => await db.transaction()));
    await Promise.all(transactions.map(async (trx, i) => await trx('note').insert({ text: `open ${i}` })));
    await lab.replacePrimary();
    await Promise.all(
      Array.from({ length: 8 }, async (_, i) => {
        await db.transaction(async (trx) => {
          await trx('note').insert({ text: `new ${i}` });
        });
      }),
    );
    await Promise.all(transactions.map(async (trx) => await trx.commit()));
    expect(await lab.notes()).toEqual([
      ...Array.from({ length: 8 }, (_, i) => `new ${i}`),
      'open 0',
      'open 1',
    ]);
    expect(pool.numUsed()).toBe(0);
    expect(pool.numFree()).toBeLessThanOrEqual(6);
    expect(db.logged).toEqual([]);
  });

  it('streams on at the right row', async () => {
    const db = open();
    const seen: number[] = [];
    const stream = db
      .select<{ n: number }>('n')
      .from(db.raw('generate_series(1, 20000) AS n'))
      .stream({ highWaterMark: 50, batchSize: 50 });
    for await (const { n } of stream as AsyncIterable<{ n: number }>) {
      seen.push(n);
      if (n === 1_000) await lab.replacePrimary();
    }
    expect(seen).toEqual(Array.from({ length: 20_000 }, (_, i) => i + 1));
    expect(db.logged).toEqual([]);
    expect(await db('note').select()).toEqual([]);
  });

  it('streams on inside a transaction, in front of what it wrote itself', async () => {
    const db = open();
    const seen: string[] = [];
    await db.transaction(async (trx) => {
      await trx.batchInsert(
        'note',
        Array.from({ length: 400 }, (_, i) => ({ text: `n${String(i).padStart(3, '0')}` })),
        100,
      );
      const stream = trx('note').orderBy('text').stream({ highWaterMark: 20, batchSize: 20 });
      for await (const { text } of stream as AsyncIterable<{ text: string }>) {
        seen.push(text);
        if (seen.length === 100) await lab.replacePrimary();
      }
      await trx('note').where('text', '>', 'n001').delete();
    });
    expect(seen).toEqual(Array.from({ length: 400 }, (_, i) => `n${String(i).padStart(3, '0')}`));
    expect(await lab.notes()).toEqual(['n000', 'n001']);
  });

  it('keeps what searchPath and afterCreate have set, and asks neither again', async () => {
    await lab.primary
      .query(`DROP SCHEMA IF EXISTS other CASCADE; CREATE SCHEMA other; GRANT ALL ON SCHEMA other TO PUBLIC;
      CREATE TABLE other.inside (text text); GRANT ALL ON other.inside TO PUBLIC`);
    let created = 0;
    const db = open({
      searchPath: ['other', 'public'],
      pool: {
        min: 1,
        max: 1,
        afterCreate: (
          connection: { query(text: string, done: (error: Error | null) => void): void },
          done: (error: Error | null, connection: unknown) => void,
        ) => {
          created++;
          connection.query(`SET TIME ZONE 'Asia/Kathmandu'`, (error) => {
            done(error, connection);
          });
        },
      },
    });
    await db('inside').insert({ text: 'before' });
    await lab.replacePrimary();
    await db('inside').insert({ text: 'after' });
    expect(await db('inside').pluck('text')).toEqual(['before', 'after']);
    const { rows } = await db.raw<{ rows: unknown[] }>(`SELECT current_setting('TimeZone') AS zone`);
    expect(rows).toEqual([{ zone: 'Asia/Kathmandu' }]);
    expect(created).toBe(1);
    expect(db.logged).toEqual([]);
  });

  it('goes on with the keys, defaults and times that the server has made', async () => {
    const db = open();
    const made = await db.transaction(async (trx) => {
      const rows = await trx('ticket')
        .insert([{ text: 'a' }, { text: 'b' }])
        .returning('*');
      await trx('ticket').insert({ text: 'c' });
      const [changed] = await trx('ticket').where({ text: 'a' }).update({ at: trx.fn.now() }).returning('*');
      await lab.replacePrimary();
      await trx('note').insert({ text: `ticket ${(rows[1] as { id: number }).id}` });
      return [changed, rows[1], ...(await trx('ticket').insert({ text: 'd' }).returning('*'))] as unknown[];
    });
    expect(await db('ticket').whereIn('text', ['a', 'b', 'd']).orderBy('id')).toEqual(made);
    expect(db.logged).toEqual([]);
  });

  it('gets 40001 when a function gives another number on replay; the retry that 40001 asks for writes one row', async () => {
    const db = open();
    await lab.primary.query('TRUNCATE numbered');
    const errors: unknown[] = [];
    const insertOnce = async (): Promise<number> =>
      await db.transaction(async (trx) => {
        const [row] = await trx('numbered').insert({ text: 'numbered' }).returning<{ id: number }[]>('id');
        if (errors.length === 0) await lab.replacePrimary();
        await trx('note').insert({ text: `row ${row!.id}` });
        return row!.id;
      });
    let id: number | undefined;
    for (let attempt = 0; attempt < 3 && id === undefined; attempt++) {
      try {
        id = await insertOnce();
      } catch (error) {
        errors.push(error);
        if ((error as { code?: string }).code !== '40001') throw error;
      }
    }
    expect(errors).toHaveLength(1);
    expect(errors[0]).toMatchObject({
      name: 'ReplayDivergedError',
      code: '40001',
      kind: 'replay-diverged',
      outcome: 'rolled-back',
    });
    expect((await lab.primary.query('SELECT * FROM numbered')).rows).toEqual([{ id, text: 'numbered' }]);
    expect(await lab.notes()).toEqual([`row ${id!}`]);
    expect(db.logged).toEqual([]);
  });

  it('gives a connection back inside a transaction that is gone: nobody gets it (A13)', async () => {
    const db = open({ pool: { min: 0, max: 1 } });
    await lab.primary.query('TRUNCATE numbered');
    // As a helper does that forgets the end of what it has begun.
    const client = db.client as {
      acquireConnection(): Promise<object>;
      releaseConnection(connection: object): Promise<void>;
    };
    const connection = await client.acquireConnection();
    await db.raw('BEGIN').connection(connection);
    await db('numbered').insert({ text: 'lost' }).returning('id').connection(connection);
    await lab.replacePrimary();
    expect(await rejectionOf(db.raw('SELECT 1').connection(connection))).toMatchObject({ code: '40001' });
    await client.releaseConnection(connection);
    await db('note').insert({ text: 'of its own' });
    expect(await lab.notes()).toEqual(['of its own']);
    const next = await client.acquireConnection();
    await client.releaseConnection(next);
    expect(next).not.toBe(connection);
  });

  it('lets the application roll back while there is no server for longer than Knex waits for a ROLLBACK', async () => {
    const db = open({ pool: { min: 0, max: 1 } });
    const trx = await db.transaction();
    await trx('note').insert({ text: 'undone' });
    await lab.killPrimary();
    const rolledBack = settle(Promise.resolve(trx.rollback(new Error('enough'))));
    const next = settle(Promise.resolve(db('note').insert({ text: 'next' })));
    await sleep(5_200); // Knex gives a ROLLBACK five seconds.
    await lab.cluster.failover();
    await rolledBack;
    expect((await next).error).toBeUndefined();
    expect((await settle(trx.executionPromise)).error?.message).toBe('enough');
    expect(await lab.notes()).toEqual(['next']);
  });
});
