import type pg from 'pg';
import { beforeEach, describe, expect, it } from 'vitest';
import type { WatchedClient } from '../../support/failover-lab.ts';
import { FailoverLab } from '../../support/failover-lab.ts';
import { onMessage } from '../../support/on-message.ts';
import { rejectionOf, settle } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

/** pg rejects it after this time, whatever becomes of it. */
function impatient(text: string, values: readonly unknown[] = []): pg.QueryConfig {
  return { text, values: [...values], query_timeout: 300 } as pg.QueryConfig;
}

/** Review A14, rule R15: the application has told its user "failed" and may have done it elsewhere by now. */
describe('the application gives up on a statement during a failover', () => {
  const lab = FailoverLab.forThisSuite();
  /** Texts that reached the new primary. */
  let sent: string[];
  beforeEach(() => {
    sent = [];
  });

  async function killPrimary(): Promise<void> {
    for (const proxy of lab.standbyProxies) {
      proxy.onFrontendMessage = (type, body) => {
        if (type === 'Q' || type === 'P') sent.push(body.toString());
        return undefined;
      };
    }
    await lab.killPrimary();
  }

  async function waitUntilWaiting(
    client: { readonly failover: WatchedClient['failover'] },
    sessions = 1,
  ): Promise<void> {
    await waitFor(() => client.failover!.snapshot().waitingSessions === sessions);
  }

  /** A failover that another session has seen through: whatever was to be sent has been sent by then. */
  async function failOver(): Promise<void> {
    await lab.cluster.failover();
    const other = await lab.connect();
    await other.query('SELECT 1');
  }

  it('never sends an INSERT whose query_timeout has passed', async () => {
    const client = await lab.connect();
    await killPrimary();
    expect((await rejectionOf(client.query(impatient(`INSERT INTO note VALUES ('given up')`)))).message).toBe(
      'Query read timeout',
    );
    await failOver();
    await client.query(`INSERT INTO note VALUES ('later')`);
    expect(await lab.notes()).toEqual(['later']);
    expect(sent.join()).not.toContain('given up');
  });

  it('rolls back a transaction of which one statement was given up', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    await killPrimary();
    expect((await rejectionOf(client.query(impatient(`INSERT INTO note VALUES ('given up')`)))).message).toBe(
      'Query read timeout',
    );
    await failOver();
    expect(await rejectionOf(client.query(`INSERT INTO note VALUES ('refused')`))).toMatchObject({
      code: /^(40001|25P02)$/,
    });
    expect((await client.query('ROLLBACK')).command).toBe('ROLLBACK');
    await client.query(`INSERT INTO note VALUES ('later')`);
    expect(await lab.notes()).toEqual(['later']);
    expect(sent.join()).not.toContain('given up');
  });

  it('does not commit a transaction of which one statement was given up', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    await killPrimary();
    await rejectionOf(client.query(impatient(`INSERT INTO note VALUES ('given up')`)));
    await failOver();
    expect(await rejectionOf(client.query('COMMIT'))).toMatchObject({
      code: '40001',
      outcome: 'rolled-back',
    });
    await client.query(`INSERT INTO note VALUES ('later')`);
    expect(await lab.notes()).toEqual(['later']);
  });

  it('does not send a COMMIT again that was given up and is not committed', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    await lab.shipAll();
    const lost = onMessage(lab.proxy, { from: 'client', type: 'Q', text: 'COMMIT' }, 'drop');
    const commit = settle(client.query(impatient('COMMIT')));
    await lost;
    await killPrimary();
    expect((await commit).error?.message).toBe('Query read timeout');
    await failOver();
    await settle(client.query('ROLLBACK'));
    await client.query(`INSERT INTO note VALUES ('later')`);
    expect(await lab.notes()).toEqual(['later']);
    expect(sent.filter((text) => text.startsWith('COMMIT'))).toEqual([]);
  });

  it('never sends what was given up of a whole line of statements', async () => {
    const client = await lab.connect();
    await killPrimary();
    const pending = ['x', 'y', 'z'].map((text) =>
      settle(client.query(impatient('INSERT INTO note VALUES ($1)', [text]))),
    );
    const results = await Promise.all(pending);
    expect(results.map(({ error }) => error?.message)).toEqual(pending.map(() => 'Query read timeout'));
    await failOver();
    await client.query(`INSERT INTO note VALUES ('later')`);
    expect(await lab.notes()).toEqual(['later']);
  });

  it('lets go of everything on end()', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    await killPrimary();
    const pending = settle(client.query(`INSERT INTO note VALUES ('given up')`));
    await waitUntilWaiting(client);
    await client.end();
    expect((await pending).error?.message).toMatch(/Connection terminated/);
    expect(client.failover!.snapshot().waitingSessions).toBe(0);
    await failOver();
    expect(await lab.notes()).toEqual([]);
    expect(sent.join()).not.toContain('note');
  });

  it('lets go of a client that is released with an error', async () => {
    const pool = lab.pool({ max: 2 });
    const client = await pool.connect();
    client.on('error', () => undefined);
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    await killPrimary();
    const pending = settle(client.query(`INSERT INTO note VALUES ('given up')`));
    await waitUntilWaiting(pool);
    client.release(true);
    expect((await pending).error).toBeDefined();
    await failOver();
    await pool.query(`INSERT INTO note VALUES ('later')`);
    expect(await lab.notes()).toEqual(['later']);
    expect(sent.join()).not.toContain('given up');
    expect(pool.totalCount).toBe(1);
  });

  it('ends a pool whose idle clients have lost their server', async () => {
    const pool = lab.pool({ max: 4 });
    await Promise.all(Array.from({ length: 4 }, async () => await pool.query('SELECT pg_sleep(0.05)')));
    expect(pool.idleCount).toBe(4);
    await killPrimary();
    await pool.end();
    expect(pool.totalCount).toBe(0);
    // pool.end() does not wait for its clients' sockets; what they look for must end with them, not with its time limit.
    await waitFor(() => pool.failover!.snapshot().sessions === 0, { timeoutMillis: 2000 });
    expect(pool.failover!.snapshot().waitingSessions).toBe(0);
    expect(pool.seen.errors).toEqual([]);
  });

  it('keeps what a pool has still to do when it is ended during a failover', async () => {
    const pool = lab.pool({ max: 1 });
    await pool.query('SELECT 1');
    await killPrimary();
    const pending = pool.query(`INSERT INTO note VALUES ('a')`);
    await waitUntilWaiting(pool);
    const ended = pool.end();
    await lab.cluster.failover();
    await pending;
    await ended;
    expect(await lab.notes()).toEqual(['a']);
    expect(pool.totalCount).toBe(0);
  });
});
