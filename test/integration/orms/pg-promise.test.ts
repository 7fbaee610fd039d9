import { Writable } from 'node:stream';
import pgPromise from 'pg-promise';
import QueryStream from 'pg-query-stream';
import { afterEach, describe, expect, it } from 'vitest';
import pg from '../../../src/pg.ts';
import { FailoverLab } from '../../support/failover-lab.ts';
import { losePrimaryAfterRows, losePrimaryBehind } from '../../support/lose-primary.ts';
import { rejectionOf } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';
import { unpinnableKey } from '../../support/unpinnable-key.ts';

interface Account {
  readonly key: string;
  readonly balance: number;
}

/** Transfers of this amount fail: an error that the application itself has made. */
class NotEnoughMoney extends Error {}

describe('pg-promise', () => {
  const lab = FailoverLab.forThisSuite({
    setUp: `
      CREATE TABLE account (key text PRIMARY KEY, balance int NOT NULL);
      CREATE TABLE numbered (id serial PRIMARY KEY, text text);
      ${unpinnableKey('numbered')}`,
  });
  const closing: (() => Promise<unknown>)[] = [];
  /** What its `error` hook is told: everything that goes wrong, lost connections too. */
  const told: Error[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0)) await close();
  });

  async function open() {
    told.length = 0;
    const connectionString = lab.connectionString();
    const pgp = pgPromise({
      noWarnings: true,
      error: (error) => {
        told.push(error as Error);
      },
    });
    Object.assign(pgp, { pg });
    const db = pgp({ connectionString, max: 4 });
    closing.push(async () => {
      await db.$pool.end();
    });
    await db.none('TRUNCATE account, numbered');
    await db.none(`INSERT INTO account VALUES ('a', 100), ('b', 0)`);
    return db;
  }
  type Database = Awaited<ReturnType<typeof open>>;

  async function balances(db: Database): Promise<Record<string, number>> {
    const rows = await db.any<Account>('SELECT * FROM account ORDER BY key');
    return Object.fromEntries(rows.map(({ key, balance }) => [key, balance]));
  }

  /** Moves money in a transaction, writes about it in a nested one, and lets `meanwhile` happen in between. */
  async function transfer(db: Database, amount: number, meanwhile: () => Promise<void>): Promise<string> {
    return await db.tx(async (t) => {
      const from = await t.one<Account>('SELECT * FROM account WHERE key = $1 FOR UPDATE', 'a');
      await t.none('UPDATE account SET balance = balance - $1 WHERE key = $2', [amount, 'a']);
      await t.tx(async (nested) => {
        await nested.none('INSERT INTO note VALUES ($1)', `moved ${amount}`);
      });
      await meanwhile();
      if (from.balance < amount) throw new NotEnoughMoney();
      await t
        .tx(async (nested) => {
          await nested.none('INSERT INTO note VALUES ($1)', 'undone');
          throw new NotEnoughMoney();
        })
        .catch(() => undefined);
      await t.none('UPDATE account SET balance = balance + $1 WHERE key = $2', [amount, 'b']);
      return 'moved';
    });
  }

  it('has pools of this package', async () => {
    expect((await open()).$pool).toBeInstanceOf(pg.Pool);
  });

  it('creates, reads, changes and deletes, before and behind a failover', async () => {
    const db = await open();
    await db.none('INSERT INTO account VALUES ($<key>, $<balance>)', { key: 'c', balance: 1 });
    expect((await db.result('UPDATE account SET balance = 2 WHERE key = $1', 'c')).rowCount).toBe(1);
    await lab.replacePrimary();
    expect(await db.one<Account>('SELECT * FROM account WHERE key = $1', 'c')).toEqual({
      key: 'c',
      balance: 2,
    });
    expect((await db.result('UPDATE account SET balance = 3 WHERE key = $1', 'c')).rowCount).toBe(1);
    const insert = new pgPromise.PreparedStatement({
      name: 'insert-account',
      text: 'INSERT INTO account VALUES ($1, $2)',
    });
    await db.none(insert, ['d', 4]);
    expect(await db.one<Account>(`DELETE FROM account WHERE key = 'c' RETURNING *`)).toEqual({
      key: 'c',
      balance: 3,
    });
    expect(await balances(db)).toEqual({ a: 100, b: 0, d: 4 });
    expect(told).toEqual([]);
  });

  it('commits a transaction with nested ones through the loss of its primary', async () => {
    const db = await open();
    expect(await transfer(db, 40, lab.replacePrimary.bind(lab))).toBe('moved');
    expect(await balances(db)).toEqual({ a: 60, b: 40 });
    expect(await lab.notes()).toEqual(['moved 40']);
    expect(told.filter((error) => !(error instanceof NotEnoughMoney))).toEqual([]);
  });

  it('commits once when the answer to the COMMIT is lost with the primary', async () => {
    const db = await open();
    let replaced: Promise<void> | undefined;
    await transfer(db, 40, async () => {
      replaced = losePrimaryBehind(lab, 'COMMIT');
      await Promise.resolve();
    });
    await replaced;
    expect(await balances(db)).toEqual({ a: 60, b: 40 });
    expect(await lab.notes()).toEqual(['moved 40']);
    expect(told.filter((error) => !(error instanceof NotEnoughMoney))).toEqual([]);
  });

  it('rolls back what the application rolls back, on the new primary too', async () => {
    const db = await open();
    expect(await rejectionOf(transfer(db, 400, lab.replacePrimary.bind(lab)))).toBeInstanceOf(NotEnoughMoney);
    expect(await balances(db)).toEqual({ a: 100, b: 0 });
    expect(await lab.notes()).toEqual([]);
    expect(told.filter((error) => !(error instanceof NotEnoughMoney))).toEqual([]);
  });

  it('streams each row once, in order', async () => {
    const db = await open();
    await lab.primary.query(`INSERT INTO note SELECT 'line ' || n FROM generate_series(1, 20000) AS n`);
    const seen: string[] = [];
    const sink = new Writable({
      objectMode: true,
      write: ({ text }: { text: string }, _encoding, done) => {
        seen.push(text);
        done();
      },
    });
    const replaced = losePrimaryAfterRows(lab, 5_000);
    await db.tx(async (t) => {
      await t.none(`INSERT INTO account VALUES ('c', 0)`);
      const query = new QueryStream('SELECT text FROM note ORDER BY length(text), text', [], {
        batchSize: 500,
      });
      await t.stream(query, (rows) => {
        rows.pipe(sink);
      });
    });
    await replaced;
    expect(seen).toEqual(Array.from({ length: 20_000 }, (_, index) => `line ${index + 1}`));
    expect(await balances(db)).toEqual({ a: 100, b: 0, c: 0 });
    expect(told).toEqual([]);
  });

  it('goes on listening on a connection of its own, and is not told of any loss', async () => {
    const db = await open();
    const lost: unknown[] = [];
    const connection = await db.connect({ direct: true, onLost: (error) => lost.push(error) });
    closing.push(async () => {
      await connection.done();
    });
    const received: unknown[] = [];
    connection.client.on('notification', ({ payload }: { payload: string }) => received.push(payload));
    await connection.none('LISTEN $1:name', 'news');
    await lab.replacePrimary();
    await waitFor(async () => {
      // It listens again by itself, at a moment of its own.
      await lab.primary.query(`NOTIFY news, 'behind the failover'`);
      return received.length > 0;
    });
    expect(received[0]).toBe('behind the failover');
    expect(lost).toEqual([]);
    expect(told).toEqual([]);
  });

  it('rejects with 40001 where a key that a function made differs; the next attempt writes it once', async () => {
    const db = await open();
    let attempts = 0;
    const work = async () =>
      await db.tx(async (t) => {
        attempts++;
        const { id } = await t.one<{ id: number }>(`INSERT INTO numbered (text) VALUES ('a') RETURNING id`);
        // In a nested transaction, whose ROLLBACK TO is refused as well: the reason must come through all the same.
        await t.tx(async (nested) => {
          if (attempts === 1) await lab.replacePrimary();
          await nested.none('INSERT INTO note VALUES ($1)', `wrote ${id}`);
        });
        return id;
      });
    expect(await rejectionOf(work())).toMatchObject({ code: '40001', kind: 'replay-diverged' });
    expect(await db.any('SELECT FROM numbered')).toEqual([]);
    const id = await work();
    expect(await db.any('SELECT * FROM numbered')).toEqual([{ id, text: 'a' }]);
    expect(await lab.notes()).toEqual([`wrote ${id}`]);
  });
});
