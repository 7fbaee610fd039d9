import { describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { loseAnswers, onMessage } from '../../support/on-message.ts';
import { rejectionOf } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

describe('the primary is lost around a transaction', () => {
  const lab = FailoverLab.forThisSuite({ setUp: 'CREATE TABLE once (id int PRIMARY KEY)' });

  it('goes on when it is lost before BEGIN is sent', async () => {
    const client = await lab.connect();
    const oldProcess = (await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')).rows[0]!.pid;
    await lab.replacePrimary();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    await client.query('COMMIT');
    expect(await lab.notes()).toEqual(['a']);
    const newProcess = (await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')).rows[0]!.pid;
    expect(newProcess).not.toBe(oldProcess);
    expect(client.seen).toMatchObject({ isQuiet: true, notices: [] });
  });

  it('goes on when BEGIN was given while no server was there', async () => {
    const client = await lab.connect();
    await lab.killPrimary();
    const work = (async () => {
      await client.query('BEGIN');
      await client.query(`INSERT INTO note VALUES ('a')`);
      await client.query('COMMIT');
    })();
    await waitFor(() => client.failover!.snapshot().waitingSessions === 1);
    await lab.cluster.failover();
    await work;
    expect(await lab.notes()).toEqual(['a']);
    expect(client.seen.isQuiet).toBe(true);
  });

  it('goes on when it is lost after BEGIN', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await lab.replacePrimary();
    await client.query(`INSERT INTO note VALUES ('a')`);
    expect(await lab.notes()).toEqual([]);
    await client.query('COMMIT');
    expect(await lab.notes()).toEqual(['a']);
    expect(client.seen).toMatchObject({ isQuiet: true, notices: [] });
  });

  it('keeps the isolation level and mode that BEGIN gave', async () => {
    const client = await lab.connect();
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    await lab.replacePrimary();
    const { rows } = await client.query(
      `SELECT current_setting('transaction_isolation') AS level, current_setting('transaction_read_only') AS read_only`,
    );
    expect(rows).toEqual([{ level: 'repeatable read', read_only: 'on' }]);
    await client.query('ROLLBACK');
  });

  it('goes on between two statements, with the results of both sides', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    const before = await client.query(`SELECT count(*)::int AS count FROM note`);
    await lab.replacePrimary();
    const after = await client.query(`INSERT INTO note SELECT text || 'b' FROM note RETURNING text`);
    await client.query('COMMIT');
    expect(before.rows).toEqual([{ count: 1 }]);
    expect(after.rows).toEqual([{ text: 'ab' }]);
    expect(await lab.notes()).toEqual(['a', 'ab']);
    expect(client.seen).toMatchObject({ isQuiet: true, notices: [] });
    expect(client.failover!.snapshot()).toMatchObject({ replaysDiverged: 0 });
  });

  it('replays statements with parameters of all kinds', async () => {
    const client = await lab.connect();
    const sent = {
      bytes: Buffer.from([0, 1, 255]),
      when: new Date(86_400_000),
      list: ['x', null],
      deep: { ü: [1] },
    };
    await client.query('BEGIN');
    await client.query(
      'CREATE TABLE kept (bytes bytea, moment timestamptz, list text[], deep jsonb, nothing int)',
    );
    await client.query('INSERT INTO kept VALUES ($1, $2, $3, $4, $5)', [
      sent.bytes,
      sent.when,
      sent.list,
      sent.deep,
      null,
    ]);
    await lab.replacePrimary();
    const { rows } = await client.query('SELECT * FROM kept');
    await client.query('DROP TABLE kept');
    await client.query('COMMIT');
    expect(rows).toEqual([
      { bytes: sent.bytes, moment: sent.when, list: sent.list, deep: sent.deep, nothing: null },
    ]);
  });

  it('sends a statement that was given after the loss', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    await lab.killPrimary();
    const pending = client.query(`INSERT INTO note VALUES ('b')`);
    await waitFor(() => client.failover!.snapshot().waitingSessions === 1);
    await lab.cluster.failover();
    expect((await pending).rowCount).toBe(1);
    await client.query('COMMIT');
    expect(await lab.notes()).toEqual(['a', 'b']);
  });

  it('runs a statement again that was at work', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    const pending = client.query(`INSERT INTO note SELECT 'b' FROM pg_sleep(0.5)`);
    await waitFor(async () => {
      const { rowCount } = await lab.primary.query(
        `SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'`,
      );
      return rowCount === 1;
    });
    await lab.replacePrimary();
    expect((await pending).rowCount).toBe(1);
    await client.query('COMMIT');
    expect(await lab.notes()).toEqual(['a', 'b']);
  });

  it('runs a statement again that was done, but whose answer was lost', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    const lost = onMessage(lab.proxy, { from: 'server', type: 'C', text: 'INSERT' }, (from) =>
      loseAnswers(lab.proxy, from),
    );
    const pending = client.query(`INSERT INTO note VALUES ('b')`);
    await lost;
    await lab.replacePrimary();
    expect((await pending).rowCount).toBe(1);
    await client.query('COMMIT');
    expect(await lab.notes()).toEqual(['a', 'b']);
  });

  it('keeps a savepoint that was rolled back after an error', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query('INSERT INTO once VALUES (1)');
    await client.query('SAVEPOINT before');
    await client.query(`INSERT INTO note VALUES ('undone')`);
    expect(await rejectionOf(client.query('INSERT INTO once VALUES (1)'))).toMatchObject({ code: '23505' });
    expect(await rejectionOf(client.query('SELECT 1'))).toMatchObject({ code: '25P02' });
    await client.query('ROLLBACK TO before');
    await client.query(`INSERT INTO note VALUES ('kept')`);
    await lab.replacePrimary();
    await client.query('RELEASE before');
    await client.query('COMMIT');
    expect(await lab.notes()).toEqual(['kept']);
    await lab.primary.query('TRUNCATE once');
    expect(client.seen.isQuiet).toBe(true);
  });

  it('keeps a transaction failed that had failed, until it is rolled back', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('undone')`);
    expect(await rejectionOf(client.query('SELECT 1 / 0'))).toMatchObject({ code: '22012' });
    await lab.replacePrimary();
    expect(await rejectionOf(client.query(`INSERT INTO note VALUES ('refused')`))).toMatchObject({
      code: '25P02',
    });
    const { command } = await client.query('COMMIT');
    expect(command).toBe('ROLLBACK');
    await client.query(`INSERT INTO note VALUES ('later')`);
    expect(await lab.notes()).toEqual(['later']);
  });

  it('rolls back when the next statement is ROLLBACK', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    await lab.replacePrimary();
    expect((await client.query('ROLLBACK')).command).toBe('ROLLBACK');
    await client.query(`INSERT INTO note VALUES ('b')`);
    expect(await lab.notes()).toEqual(['b']);
  });

  it('replays named statements, those from before the transaction too', async () => {
    const client = await lab.connect();
    const insert = (text: string) =>
      client.query({ name: 'insert-note', text: 'INSERT INTO note VALUES ($1)', values: [text] });
    await insert('outside');
    await client.query('BEGIN');
    await insert('a');
    await client.query({ name: 'second', text: 'INSERT INTO note VALUES ($1)', values: ['b'] });
    await lab.replacePrimary();
    await insert('c');
    await client.query({ name: 'second', text: 'INSERT INTO note VALUES ($1)', values: ['d'] });
    await client.query('COMMIT');
    await insert('e');
    expect(await lab.notes()).toEqual(['a', 'b', 'c', 'd', 'e', 'outside']);
    expect(client.seen).toMatchObject({ isQuiet: true, notices: [] });
  });

  it('replays a pipelined transaction of which only the beginning was answered', async () => {
    const client = await lab.connect({ pipeline: true });
    await client.query('BEGIN');
    const cut = onMessage(lab.proxy, { from: 'server', type: 'C', text: 'INSERT', after: 1 }, (from) =>
      loseAnswers(lab.proxy, from),
    );
    const statements = ['a', 'b', 'c', 'd'].map((text) =>
      client.query('INSERT INTO note VALUES ($1)', [text]),
    );
    await cut;
    await lab.replacePrimary();
    expect((await Promise.all(statements)).map(({ rowCount }) => rowCount)).toEqual([1, 1, 1, 1]);
    await client.query('COMMIT');
    expect(await lab.notes()).toEqual(['a', 'b', 'c', 'd']);
    expect(client.seen.isQuiet).toBe(true);
  });
});
