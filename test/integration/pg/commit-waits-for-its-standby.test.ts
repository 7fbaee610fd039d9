import { describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { settle } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

describe('the primary is lost while COMMIT waits for its synchronous standby', () => {
  const lab = FailoverLab.forThisSuite({ synchronous: true });

  async function waitForSyncRep(): Promise<void> {
    await waitFor(async () => {
      const { rowCount } = await lab.primary.query(
        `SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep'`,
      );
      return rowCount === 1;
    });
  }

  it('commits once if the standby never got it', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    await lab.primary.freezeWalSender();
    const commit = client.query('COMMIT');
    await waitForSyncRep();
    await lab.primary.kill();
    await lab.cluster.failover();
    expect((await commit).command).toBe('COMMIT');
    expect(await lab.notes()).toEqual(['a']);
  });

  it('commits once if the standby has it, but had not yet said so', async () => {
    const client = await lab.connect();
    const standby = lab.cluster.standbys[0]!;
    await client.query('BEGIN');
    await client.query('SET LOCAL synchronous_commit = remote_apply');
    await client.query(`INSERT INTO note VALUES ('a')`);
    await standby.query('SELECT pg_wal_replay_pause()');
    await waitFor(async () => {
      const { rows } = await standby.query<{ state: string }>(
        'SELECT pg_get_wal_replay_pause_state() AS state',
      );
      return rows[0]!.state === 'paused';
    });
    const commit = client.query('COMMIT');
    await waitForSyncRep();
    await waitFor(async () => {
      const { rows } = await lab.primary.query<{ flushed: boolean }>(
        'SELECT flush_lsn >= pg_current_wal_flush_lsn() AS flushed FROM pg_stat_replication',
      );
      return rows[0]!.flushed;
    });
    await lab.primary.kill();
    await standby.query('SELECT pg_wal_replay_resume()');
    await lab.cluster.failover();
    expect((await commit).command).toBe('COMMIT');
    expect(await lab.notes()).toEqual(['a']);
  });

  it('does not end a COMMIT that waits when only its connection is cut (A5)', async () => {
    const client = await lab.connect({ failover: { timeoutMillis: 3000 } });
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    await lab.primary.freezeWalSender();
    const commit = settle(client.query('COMMIT'));
    await waitForSyncRep();
    lab.proxy.cutClientSideOnly();
    // The server lives, and the commit is in the air: it must not be called a success while no standby has it.
    const { value, error } = await commit;
    expect(value).toBeUndefined();
    expect(error).toMatchObject({ code: '08007', outcome: 'unknown' });
    const { rows } = await lab.primary.query(
      `SELECT wait_event FROM pg_stat_activity WHERE query = 'COMMIT' AND backend_type = 'client backend'`,
    );
    expect(rows).toEqual([{ wait_event: 'SyncRep' }]);
    lab.primary.thawWalSender();
  });

  it('gives success when the standby gets it while the driver waits', async () => {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    await lab.primary.freezeWalSender();
    const commit = client.query('COMMIT');
    await waitForSyncRep();
    const accepted = lab.proxy.accepted;
    lab.proxy.cutClientSideOnly();
    await waitFor(() => lab.proxy.accepted > accepted);
    lab.primary.thawWalSender();
    expect((await commit).command).toBe('COMMIT');
    expect(await lab.notes()).toEqual(['a']);
    await client.query(`INSERT INTO note VALUES ('later')`);
    expect(await lab.notes()).toEqual(['a', 'later']);
  });
});
