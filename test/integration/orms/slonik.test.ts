import { createPool, sql, type ClientConfigurationInput, type DatabasePool } from 'slonik';
import stock from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Client, type ClientConfig } from '../../../src/pg.ts';
import { FailoverLab } from '../../support/failover-lab.ts';
import { losePrimaryAfterRows, losePrimaryBefore, losePrimaryBehind } from '../../support/lose-primary.ts';
import { loseAnswers, onMessage } from '../../support/on-message.ts';
import { rejectionOf } from '../../support/settle.ts';
import { unpinnableKey } from '../../support/unpinnable-key.ts';

const insert = (text: string) => sql.unsafe`INSERT INTO note VALUES (${text})`;

/** The application has changed its mind. */
class ChangedMind extends Error {}

describe('Slonik', () => {
  const lab = FailoverLab.forThisSuite({
    setUp: `CREATE TABLE numbered (id serial PRIMARY KEY, text text); ${unpinnableKey('numbered')}`,
  });

  /** Of the clients that Slonik makes. */
  let failover: ClientConfig['failover'];
  const { PGPORT } = process.env;
  const { Client: StockClient } = stock;
  beforeAll(() => {
    // As a preload or an npm override does it, but for Slonik alone: the lab itself stays on pg.
    const construct: ProxyHandler<typeof StockClient>['construct'] = (target, [config], newTarget) => {
      const { application_name } = (config ?? {}) as ClientConfig;
      if (application_name !== 'slonik') return Reflect.construct(target, [config], newTarget) as object;
      return new Client({ ...(config as ClientConfig), ...(failover === undefined ? {} : { failover }) });
    };
    Object.assign(stock, { Client: new Proxy(StockClient, { construct }) });
  });
  afterAll(() => {
    Object.assign(stock, { Client: StockClient });
  });

  let pools: DatabasePool[] = [];
  beforeEach(async () => {
    failover = undefined;
    await lab.primary.query('TRUNCATE numbered');
  });
  afterEach(async () => {
    const ending = pools;
    pools = [];
    if (PGPORT === undefined) delete process.env['PGPORT'];
    else process.env['PGPORT'] = PGPORT;
    for (const pool of ending) await pool.end();
  });

  async function open(configuration: ClientConfigurationInput = {}): Promise<DatabasePool> {
    // Slonik reads the hosts as one, and leaves it to the client to see several in it; it has no room for several ports.
    const url = new URL(lab.connectionString().replace(/@[^/]*/, '@one'));
    const hosts = lab.proxies.map(({ host }) => host).join(',');
    process.env['PGPORT'] = lab.proxies.map(({ port }) => port).join(',');
    const uri = `postgres://${url.username}:${url.password}@${hosts}${url.pathname}?application_name=slonik`;
    const pool = await createPool(uri, configuration);
    pools.push(pool);
    return pool;
  }

  /** How often the application would have been given the same work again. */
  interface Attempts {
    count: number;
  }

  describe('with nothing in its way', () => {
    it('creates, reads, changes and deletes, before and behind a failover', async () => {
      const pool = await open();
      await pool.query(insert('a'));
      expect(await pool.oneFirst(sql.unsafe`SELECT text FROM note`)).toBe('a');
      await lab.replacePrimary();
      expect(await pool.oneFirst(sql.unsafe`SELECT text FROM note`)).toBe('a');
      const { rowCount } = await pool.query(sql.unsafe`UPDATE note SET text = 'b'`);
      expect(rowCount).toBe(1);
      expect(await pool.many(sql.unsafe`DELETE FROM note RETURNING text`)).toEqual([{ text: 'b' }]);
      expect(await pool.exists(sql.unsafe`SELECT FROM note`)).toBe(false);
    });
  });

  describe('in a transaction whose primary is lost', () => {
    it('commits once, nested transactions too', async () => {
      const pool = await open();
      const attempts: Attempts = { count: 0 };
      await pool.transaction(async (transaction) => {
        attempts.count++;
        await transaction.query(insert('a'));
        await transaction.transaction(async (nested) => {
          await nested.query(insert('b'));
        });
        await lab.replacePrimary();
        const undone = transaction.transaction(async (nested) => {
          await nested.query(insert('undone'));
          throw new ChangedMind();
        });
        expect(await rejectionOf(undone)).toBeInstanceOf(ChangedMind);
        await transaction.query(insert('c'));
      });
      expect(await lab.notes()).toEqual(['a', 'b', 'c']);
      expect(attempts.count).toBe(1);
    });

    it('rolls back what the application rolls back', async () => {
      const pool = await open();
      const work = pool.transaction(async (transaction) => {
        await transaction.query(insert('a'));
        await lab.replacePrimary();
        await transaction.query(insert('b'));
        throw new ChangedMind();
      });
      expect(await rejectionOf(work)).toBeInstanceOf(ChangedMind);
      expect(await lab.notes()).toEqual([]);
    });

    it('streams each row once, in order', async () => {
      const pool = await open();
      await lab.primary.query(`INSERT INTO note SELECT 'line ' || n FROM generate_series(1, 20000) AS n`);
      const replaced = losePrimaryAfterRows(lab, 5_000);
      const seen: string[] = [];
      await pool.stream(sql.unsafe`SELECT text FROM note ORDER BY length(text), text`, (stream) => {
        stream.on('data', ({ data }: { data: { text: string } }) => seen.push(data.text));
      });
      await replaced;
      expect(seen).toEqual(Array.from({ length: 20_000 }, (_, index) => `line ${index + 1}`));
    });

    it('commits once when the answer to the COMMIT is lost with the primary', async () => {
      const pool = await open();
      const attempts: Attempts = { count: 0 };
      const replaced = losePrimaryBehind(lab, 'COMMIT');
      await pool.transaction(async (transaction) => {
        attempts.count++;
        await transaction.query(insert('a'));
      });
      await replaced;
      expect(await lab.notes()).toEqual(['a']);
      expect(attempts.count).toBe(1);
    });

    it('commits once when the COMMIT never arrives', async () => {
      const pool = await open();
      const replaced = losePrimaryBefore(lab, 'Q', 'COMMIT');
      await pool.transaction(async (transaction) => {
        await transaction.query(insert('a'));
      });
      await replaced;
      expect(await lab.notes()).toEqual(['a']);
    });
  });

  describe('repeats a transaction that is rolled back (40001), and writes once', () => {
    it('when the replay diverges', async () => {
      const pool = await open();
      const attempts: Attempts = { count: 0 };
      const id = await pool.transaction(async (transaction) => {
        attempts.count++;
        const made = await transaction.oneFirst(
          sql.unsafe`INSERT INTO numbered (text) VALUES ('a') RETURNING id`,
        );
        if (attempts.count === 1) await lab.replacePrimary();
        await transaction.query(insert(`made ${String(made)}`));
        return made as number;
      });
      expect(attempts.count).toBe(2);
      expect(await lab.notes()).toEqual([`made ${id}`]);
      expect((await lab.primary.query('SELECT * FROM numbered')).rows).toEqual([{ id, text: 'a' }]);
    });

    it('when the COMMIT is what is told of it', async () => {
      const pool = await open();
      const attempts: Attempts = { count: 0 };
      await pool.transaction(async (transaction) => {
        attempts.count++;
        const made = await transaction.oneFirst(
          sql.unsafe`INSERT INTO numbered (text) VALUES ('a') RETURNING id`,
        );
        await transaction.query(insert(`made ${String(made)}`));
        if (attempts.count === 1) await lab.replacePrimary();
      });
      expect(attempts.count).toBe(2);
      expect((await lab.primary.query('SELECT FROM numbered')).rowCount).toBe(1);
      expect(await lab.notes()).toHaveLength(1);
    });

    it('when a nested transaction is told of it', async () => {
      const pool = await open();
      const attempts: Attempts = { count: 0 };
      await pool.transaction(async (transaction) => {
        attempts.count++;
        await transaction.oneFirst(sql.unsafe`INSERT INTO numbered (text) VALUES ('a') RETURNING id`);
        await transaction.transaction(async (nested) => {
          await nested.query(insert('a'));
          if (attempts.count === 1) await lab.replacePrimary();
          await nested.query(insert('b'));
        });
      });
      expect(attempts.count).toBe(2);
      expect((await lab.primary.query('SELECT FROM numbered')).rowCount).toBe(1);
      expect(await lab.notes()).toEqual(['a', 'b']);
    });

    it('when the transaction can not be replayed', async () => {
      failover = { maxJournalStatements: 3 };
      const pool = await open();
      const attempts: Attempts = { count: 0 };
      await pool.transaction(async (transaction) => {
        attempts.count++;
        for (const text of ['a', 'b', 'c', 'd']) await transaction.query(insert(text));
        if (attempts.count === 1) await lab.replacePrimary();
        await transaction.query(insert('e'));
      });
      expect(attempts.count).toBe(2);
      expect(await lab.notes()).toEqual(['a', 'b', 'c', 'd', 'e']);
    });
  });

  describe('does not repeat what may have taken effect (08007)', () => {
    /** The server goes down with the answer, and comes back: two crashes would look like one. */
    async function crashBehind(commandTag: string): Promise<void> {
      await onMessage(lab.proxy, { from: 'server', type: 'C', text: commandTag }, (from) =>
        loseAnswers(lab.proxy, from),
      );
      await lab.shipAll();
      await lab.primary.kill();
      await lab.primary.start();
    }

    it('a COMMIT whose outcome is unknown', async () => {
      const pool = await open();
      const attempts: Attempts = { count: 0 };
      const crashed = crashBehind('COMMIT');
      const work = pool.transaction(async (transaction) => {
        attempts.count++;
        await transaction.query(insert('a'));
      });
      expect(await rejectionOf(work)).toMatchObject({ code: '08007', kind: 'outcome-unknown' });
      await crashed;
      expect(attempts.count).toBe(1);
      expect(await lab.notes()).toEqual(['a']);
    });

    it('a write outside a transaction that was done', async () => {
      const pool = await open();
      const replaced = losePrimaryBehind(lab, 'INSERT');
      expect(await rejectionOf(pool.query(insert('a')))).toMatchObject({ code: '08007', outcome: 'unknown' });
      await replaced;
      expect(await lab.notes()).toEqual(['a']);
      await pool.query(insert('b'));
      expect(await lab.notes()).toEqual(['a', 'b']);
    });

    it('a write outside a transaction that never arrived', async () => {
      const pool = await open();
      const replaced = losePrimaryBefore(lab, 'P', 'INSERT');
      expect(await rejectionOf(pool.query(insert('a')))).toMatchObject({ code: '08007', outcome: 'unknown' });
      await replaced;
      expect(await lab.notes()).toEqual([]);
    });

    it('what is committed, when the DISCARD ALL behind it is lost: nobody notices', async () => {
      const pool = await open();
      const attempts: Attempts = { count: 0 };
      const replaced = losePrimaryBehind(lab, 'DISCARD ALL');
      const work = pool.transaction(async (transaction) => {
        attempts.count++;
        await transaction.query(insert('a'));
      });
      await work;
      await replaced;
      expect(attempts.count).toBe(1);
      expect(await lab.notes()).toEqual(['a']);
    });

    it('a COMMIT that is known, but whose result is lost', async () => {
      const pool = await open();
      const replaced = losePrimaryBehind(lab, 'COMMIT');
      const work = pool.connect(async (connection) => {
        await connection.query(sql.unsafe`BEGIN`);
        await connection.query(insert('a'));
        await connection.query(sql.unsafe`COMMIT AND CHAIN`);
      });
      expect(await rejectionOf(work)).toMatchObject({
        code: '08007',
        kind: 'result-lost',
        outcome: 'committed',
      });
      await replaced;
      expect(await lab.notes()).toEqual(['a']);
    });
  });

  describe('with BEGIN and COMMIT as statements of the application, which it repeats one by one', () => {
    it('runs none of them outside of the transaction that is gone', async () => {
      const pool = await open();
      const work = pool.connect(async (connection) => {
        await connection.query(sql.unsafe`BEGIN`);
        await connection.query(sql.unsafe`INSERT INTO numbered (text) VALUES ('a') RETURNING id`);
        await lab.replacePrimary();
        await connection.query(insert('a'));
      });
      expect(await rejectionOf(work)).toMatchObject({ code: '25P02', cause: { code: '40001' } });
      expect(await lab.notes()).toEqual([]);
    });

    it('does not take a COMMIT for done that is repeated behind its refusal', async () => {
      const pool = await open();
      const work = pool.connect(async (connection) => {
        await connection.query(sql.unsafe`BEGIN`);
        await connection.query(sql.unsafe`INSERT INTO numbered (text) VALUES ('a') RETURNING id`);
        await lab.replacePrimary();
        await connection.query(sql.unsafe`COMMIT`);
      });
      expect(await rejectionOf(work)).toMatchObject({ code: '40001', kind: 'replay-diverged' });
      expect((await lab.primary.query('SELECT FROM numbered')).rowCount).toBe(0);
    });
  });
});
