import { beforeEach, describe, expect, it } from 'vitest';
import type { ReplayFailed } from '../../../src/events.ts';
import type { WatchedClient } from '../../support/failover-lab.ts';
import { FailoverLab } from '../../support/failover-lab.ts';
import { rejectionOf } from '../../support/settle.ts';

/** R5: what the application was told is not true any more on the new server. */
describe('another session has changed the rows before they are read again', () => {
  const lab = FailoverLab.forThisSuite({ setUp: 'CREATE TABLE stock (id int PRIMARY KEY, amount int)' });
  beforeEach(async () => {
    await lab.primary.query('TRUNCATE stock; INSERT INTO stock VALUES (1, 10), (2, 20)');
  });

  async function begin(): Promise<WatchedClient & { readonly diverged: ReplayFailed[] }> {
    const client = await lab.connect();
    const diverged: ReplayFailed[] = [];
    client.failover!.on('replayDiverged', (event) => diverged.push(event));
    await client.query('BEGIN');
    expect((await client.query('SELECT amount FROM stock WHERE id = 1')).rows).toEqual([{ amount: 10 }]);
    await client.query(`INSERT INTO note VALUES ('decided on 10')`);
    return Object.assign(client, { diverged });
  }

  async function changeAndLose(): Promise<void> {
    await lab.primary.query('UPDATE stock SET amount = 5 WHERE id = 1');
    await lab.replacePrimary();
  }

  it('tells the next statement, and goes on after ROLLBACK', async () => {
    const client = await begin();
    await changeAndLose();
    const error = await rejectionOf(client.query('UPDATE stock SET amount = amount - 10 WHERE id = 1'));
    expect(error).toMatchObject({
      code: '40001',
      kind: 'replay-diverged',
      outcome: 'rolled-back',
      severity: 'ERROR',
      name: 'ReplayDivergedError',
    });
    expect(client.diverged).toHaveLength(1);
    expect((await client.query('ROLLBACK')).command).toBe('ROLLBACK');
    await client.query('BEGIN');
    expect((await client.query('SELECT amount FROM stock WHERE id = 1')).rows).toEqual([{ amount: 5 }]);
    await client.query(`INSERT INTO note VALUES ('decided on 5')`);
    await client.query('COMMIT');
    expect(await lab.notes()).toEqual(['decided on 5']);
    expect(client.seen.isQuiet).toBe(true);
  });

  it('tells the COMMIT, which ends the transaction with that', async () => {
    const client = await begin();
    await changeAndLose();
    expect(await rejectionOf(client.query('COMMIT'))).toMatchObject({
      code: '40001',
      kind: 'replay-diverged',
    });
    await client.query(`INSERT INTO note VALUES ('later')`);
    expect(await lab.notes()).toEqual(['later']);
  });

  it('tells of an UPDATE that hits another number of rows', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    expect((await client.query('UPDATE note SET text = text')).rowCount).toBe(0);
    await lab.primary.query(`INSERT INTO note VALUES ('new')`);
    await lab.replacePrimary();
    expect(await rejectionOf(client.query('SELECT 1'))).toMatchObject({
      code: '40001',
      kind: 'replay-diverged',
    });
    await client.query('ROLLBACK');
  });

  it('tells of an INSERT that now fails', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query('INSERT INTO stock VALUES (3, 30)');
    // In front of the kill: the session looks for a server at once.
    await lab.proxyOf(lab.cluster.standbys[0]!).refuse();
    await lab.killPrimary();
    await lab.cluster.failover();
    // The driver can't come before this other session.
    await lab.primary.query('INSERT INTO stock VALUES (3, 33)');
    await lab.proxy.pass();
    const error = await rejectionOf(client.query('SELECT 1'));
    expect(error).toMatchObject({ code: '40001', kind: 'replay-diverged' });
    expect(error.message).toMatch(/23505/);
    expect(error.message).not.toMatch(/33|30/);
    await client.query('ROLLBACK');
    expect((await lab.primary.query('SELECT amount FROM stock WHERE id = 3')).rows).toEqual([{ amount: 33 }]);
  });

  it('tells of an error that does not come again', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query('SAVEPOINT s');
    expect(await rejectionOf(client.query('INSERT INTO stock VALUES (1, 0)'))).toMatchObject({
      code: '23505',
    });
    await client.query('ROLLBACK TO s');
    await lab.primary.query('DELETE FROM stock WHERE id = 1');
    await lab.replacePrimary();
    expect(await rejectionOf(client.query('SELECT 1'))).toMatchObject({
      code: '40001',
      kind: 'replay-diverged',
    });
    await client.query('ROLLBACK');
    expect((await lab.primary.query('SELECT id FROM stock')).rows).toEqual([{ id: 2 }]);
  });

  it('does not mind rows that were locked: nobody could change them', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    const { rows } = await client.query('SELECT amount FROM stock WHERE id = 1 FOR UPDATE');
    expect(rows).toEqual([{ amount: 10 }]);
    await lab.replacePrimary();
    await client.query('UPDATE stock SET amount = amount - 10 WHERE id = 1');
    await client.query('COMMIT');
    expect((await lab.primary.query('SELECT amount FROM stock WHERE id = 1')).rows).toEqual([{ amount: 0 }]);
  });

  it('does not mind what it did not read', async () => {
    const client = await begin();
    await lab.primary.query('UPDATE stock SET amount = 0 WHERE id = 2');
    await lab.replacePrimary();
    await client.query('COMMIT');
    expect(await lab.notes()).toEqual(['decided on 10']);
    expect(client.diverged).toEqual([]);
  });

  it('compares columns too, not only values', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query('SELECT * FROM stock WHERE id = 1');
    // In front of the kill: the session looks for a server at once.
    await lab.proxyOf(lab.cluster.standbys[0]!).refuse();
    await lab.killPrimary();
    await lab.cluster.failover();
    await lab.primary.query('ALTER TABLE stock RENAME COLUMN amount TO quantity');
    await lab.proxy.pass();
    expect(await rejectionOf(client.query('SELECT 1'))).toMatchObject({
      code: '40001',
      kind: 'replay-diverged',
    });
    await client.query('ROLLBACK');
    await lab.primary.query('ALTER TABLE stock RENAME COLUMN quantity TO amount');
  });
});
