import pg from 'pg';
import { describe, expect, it } from 'vitest';
import type { FailoverOptions } from '../../../src/options.ts';
import { Client } from '../../../src/pg.ts';
import type { WatchedClient } from '../../support/failover-lab.ts';
import { FailoverLab } from '../../support/failover-lab.ts';
import { rejectionOf, settle } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

/** One statement more than this journal takes: the transaction can't be replayed, which is the shortest way to doom. */
const NOT_REPLAYABLE: FailoverOptions = { maxJournalStatements: 1 };

describe('the transaction could not be brought to a new connection', () => {
  const lab = FailoverLab.forThisSuite({ standbys: 0 });

  /** Until the driver has noticed: a statement that was sent before would be in doubt. */
  async function cutAndWait(): Promise<void> {
    const { accepted } = lab.proxy;
    lab.proxy.cut();
    await waitFor(() => lab.proxy.accepted > accepted);
  }

  async function beginDoomed(): Promise<WatchedClient> {
    const client = await lab.connect({ failover: NOT_REPLAYABLE });
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('lost')`);
    await cutAndWait();
    return client;
  }

  it('says why to each statement about savepoints: what a library gives up a nested transaction with', async () => {
    const client = await beginDoomed();
    await settle(client.query('SELECT 1'));
    for (const sql of ['ROLLBACK TO SAVEPOINT s', 'SAVEPOINT s', 'RELEASE SAVEPOINT s']) {
      expect(await rejectionOf(client.query(sql))).toMatchObject({ code: '40001' });
    }
    expect(await rejectionOf(client.query('SELECT 1'))).toMatchObject({ code: '25P02' });
    await client.query('ROLLBACK');
    expect(await lab.notes()).toEqual([]);
  });

  it('refuses a COMMIT again that is repeated: it must not succeed outside of the transaction', async () => {
    const client = await beginDoomed();
    for (let attempt = 1; attempt <= 3; attempt++) {
      expect(await rejectionOf(client.query('COMMIT'))).toMatchObject({
        code: '40001',
        kind: 'transaction-not-replayable',
      });
    }
    // Prepared, as Slonik may send it.
    expect(await rejectionOf(client.query({ name: 'c', text: 'COMMIT' }))).toMatchObject({ code: '40001' });
    await client.query(`INSERT INTO note VALUES ('later')`);
    expect((await client.query('COMMIT')).command).toBe('COMMIT');
    expect(await lab.notes()).toEqual(['later']);
    expect(client.seen.isQuiet).toBe(true);
  });

  it('commits the next transaction, whatever comes first in it', async () => {
    const client = await beginDoomed();
    await settle(client.query('COMMIT'));
    await client.query(`BEGIN; INSERT INTO note VALUES ('next')`);
    expect((await client.query('COMMIT')).command).toBe('COMMIT');
    expect(await lab.notes()).toEqual(['next']);
  });

  it('says why once, refuses all else as PostgreSQL does, and runs none of it', async () => {
    const client = await beginDoomed();
    const first = await rejectionOf(client.query(`INSERT INTO note VALUES ('1')`));
    expect(first).toMatchObject({
      code: '40001',
      kind: 'transaction-not-replayable',
      outcome: 'rolled-back',
    });
    for (const sql of [`INSERT INTO note VALUES ('2')`, 'SELECT 1', 'BEGIN', 'SELECT 1; SELECT 2']) {
      const error = await rejectionOf(client.query(sql));
      expect(error).toMatchObject({ code: '25P02' });
      expect(error.message).toMatch(/current transaction is aborted/);
      expect((error as { cause?: unknown }).cause).toMatchObject({ code: '40001' });
    }
    expect(await rejectionOf(client.query('INSERT INTO note VALUES ($1)', ['3']))).toMatchObject({
      code: '25P02',
    });
    expect(await rejectionOf(client.query({ name: 'n', text: 'SELECT $1::int', values: [1] }))).toMatchObject(
      { code: '25P02' },
    );
    expect((await client.query('ROLLBACK')).command).toBe('ROLLBACK');
    await client.query(`INSERT INTO note VALUES ('later')`);
    expect(await lab.notes()).toEqual(['later']);
    expect(client.seen.isQuiet).toBe(true);
  });

  it('rejects a COMMIT and ends with it', async () => {
    const client = await beginDoomed();
    expect(await rejectionOf(client.query('COMMIT'))).toMatchObject({
      code: '40001',
      outcome: 'rolled-back',
    });
    await client.query(`INSERT INTO note VALUES ('later')`);
    expect(await lab.notes()).toEqual(['later']);
  });

  it('rejects a COMMIT also if the reason was told before, so that it can not be missed (A13)', async () => {
    const client = await beginDoomed();
    await settle(client.query(`INSERT INTO note VALUES ('1')`));
    await settle(client.query(`INSERT INTO note VALUES ('2')`));
    expect(await rejectionOf(client.query('COMMIT'))).toMatchObject({
      code: '40001',
      outcome: 'rolled-back',
    });
    await client.query(`INSERT INTO note VALUES ('later')`);
    expect(await lab.notes()).toEqual(['later']);
  });

  it('rejects everything that was queued without waiting, COMMIT included', async () => {
    const client = await beginDoomed();
    const texts = [
      `INSERT INTO note VALUES ('1')`,
      `INSERT INTO note VALUES ('2')`,
      'COMMIT',
      `INSERT INTO note VALUES ('later')`,
    ];
    const results = await Promise.all(texts.map((text) => settle(client.query(text))));
    expect(results.map(({ error }) => error?.code)).toEqual(['40001', '25P02', '40001', undefined]);
    expect(await lab.notes()).toEqual(['later']);
  });

  it.each(['END', 'COMMIT WORK', '/* done */ commit ;', 'COMMIT AND NO CHAIN'])(
    'takes %s for a COMMIT',
    async (commit) => {
      const client = await beginDoomed();
      expect(await rejectionOf(client.query(commit))).toMatchObject({ code: '40001' });
      await client.query(`INSERT INTO note VALUES ('later')`);
      expect(await lab.notes()).toEqual(['later']);
    },
  );

  it.each(['ABORT', 'ROLLBACK WORK', '-- undo\nrollback'])('takes %s for a ROLLBACK', async (rollback) => {
    const client = await beginDoomed();
    expect((await client.query(rollback)).command).toBe('ROLLBACK');
    await client.query(`INSERT INTO note VALUES ('later')`);
    expect(await lab.notes()).toEqual(['later']);
  });

  it('takes a ROLLBACK sent as a prepared statement', async () => {
    const client = await beginDoomed();
    await client.query({ name: 'undo', text: 'ROLLBACK' });
    await client.query(`INSERT INTO note VALUES ('later')`);
    expect(await lab.notes()).toEqual(['later']);
  });

  it.each([
    'COMMIT; BEGIN',
    'ROLLBACK; BEGIN',
    `ROLLBACK; INSERT INTO note VALUES ('x')`,
    'COMMIT AND CHAIN',
    'ROLLBACK AND CHAIN',
  ])('runs nothing in autocommit behind %s', async (sql) => {
    const client = await beginDoomed();
    await settle(client.query(sql));
    await settle(client.query(`INSERT INTO note VALUES ('y')`));
    await settle(client.query('ROLLBACK'));
    // In a transaction begun by the string it was rolled back, in a doomed one refused.
    expect((await lab.notes()).filter((text) => text === 'y')).toEqual([]);
    await client.query(`INSERT INTO note VALUES ('later')`);
    expect(await lab.notes()).toContain('later');
  });

  it('stays doomed over another failover', async () => {
    const client = await beginDoomed();
    await settle(client.query('SELECT 1'));
    await cutAndWait();
    expect(await rejectionOf(client.query(`INSERT INTO note VALUES ('1')`))).toMatchObject({
      code: /^(25P02|40001)$/,
    });
    await client.query('ROLLBACK');
    await client.query(`INSERT INTO note VALUES ('later')`);
    expect(await lab.notes()).toEqual(['later']);
  });

  it('is not handed to the next borrower of the pool (A13)', async () => {
    const pool = lab.pool({ max: 1, failover: NOT_REPLAYABLE });
    const client = await pool.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('lost')`);
    await cutAndWait();
    expect(await rejectionOf(client.query(`INSERT INTO note VALUES ('1')`))).toMatchObject({ code: '40001' });
    client.release();
    await pool.query(`INSERT INTO note VALUES ('later')`);
    expect(await lab.notes()).toEqual(['later']);
    expect(pool.seen.errors).toEqual([]);
  });

  it("is not handed to the next borrower of a pool of pg's own (A13)", async () => {
    const config = { connectionString: lab.connectionString(), max: 1, failover: NOT_REPLAYABLE };
    const pool = new pg.Pool({ ...config, Client });
    try {
      const client = await pool.connect();
      await client.query('BEGIN');
      await client.query(`INSERT INTO note VALUES ('lost')`);
      await cutAndWait();
      expect(await rejectionOf(client.query(`INSERT INTO note VALUES ('1')`))).toMatchObject({
        code: '40001',
      });
      client.release();
      await pool.query(`INSERT INTO note VALUES ('later')`);
      expect(await lab.notes()).toEqual(['later']);
      const again = await pool.connect();
      again.release();
      const oneMore = await pool.connect();
      oneMore.release();
      expect(oneMore).toBe(again);
    } finally {
      await pool.end();
    }
  });

  it('is kept in the pool if it was ended', async () => {
    const pool = lab.pool({ max: 1, failover: NOT_REPLAYABLE });
    const client = await pool.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('lost')`);
    lab.proxy.cut();
    await rejectionOf(client.query(`INSERT INTO note VALUES ('1')`));
    await client.query('ROLLBACK');
    client.release();
    const again = await pool.connect();
    expect(again).toBe(client);
    again.release();
  });
});
