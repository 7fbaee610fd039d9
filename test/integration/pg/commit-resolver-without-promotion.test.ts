import { afterEach, describe, expect, it } from 'vitest';
import type { PostgresClusterOptions } from '../../support/postgres-cluster.ts';
import type { PostgresNode } from '../../support/postgres-node.ts';
import { ResolverLab } from '../../support/resolver-lab.ts';
import { settle } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

/** Nothing is flushed but what somebody waits for, and hardly anybody does. */
const LAZY_FLUSH = { synchronous_commit: 'off', wal_writer_delay: '10s' };

let lab: ResolverLab;

async function start(options?: PostgresClusterOptions): Promise<ResolverLab> {
  lab = await ResolverLab.start(options);
  return lab;
}

afterEach(async () => {
  await lab.stop();
});

describe('a COMMIT in doubt after its server came back', () => {
  it('is not committed after one crash, and never called committed after two (A4)', async () => {
    const { cluster } = await start({ standbys: 0, settings: LAZY_FLUSH });
    const server = cluster.primary;
    await server.query('CHECKPOINT');
    const lost = await lab.begin(server);
    await lost.client.query('COMMIT');
    await lab.crash(server);
    expect(await lab.isThere(lost, server)).toBe(false);
    expect(await lab.resolve(lost, server)).toEqual({
      outcome: 'not-committed',
      reason: 'switched-before-mark',
    });

    await lab.useUp(lost.mark.xid, server);
    await server.query('CHECKPOINT');
    await lab.crash(server);
    expect(await lab.statusOf(lost.mark.xid, server)).toBe('committed');
    expect(await lab.resolve(lost, server)).toEqual({ outcome: 'unknown', reason: 'lineage-unproved' });
    // Nor after a clean restart on top, which hides even that there was a crash.
    await server.stop('fast');
    await server.start();
    expect(await lab.resolve(lost, server)).toEqual({ outcome: 'unknown', reason: 'lineage-unproved' });
  });

  it('is unknown if committed and not committed if aborted (a1), after a crash and after a clean restart', async () => {
    const { cluster } = await start({ standbys: 0 });
    const server = cluster.primary;
    const open = await lab.begin(server);
    const kept = await lab.begin(server);
    await kept.client.query('COMMIT');
    await lab.crash(server);
    expect(await lab.resolve(open, server)).toEqual({ outcome: 'not-committed', reason: 'status-aborted' });
    expect(await lab.resolve(kept, server)).toEqual({ outcome: 'unknown', reason: 'lineage-unproved' });
    const later = await lab.begin(server);
    await server.stop('fast');
    await server.start();
    expect(await lab.resolve(later, server)).toEqual({ outcome: 'not-committed', reason: 'status-aborted' });
  });

  it('tells the life before the crash of a backend from the one after, though the start time is the same', async () => {
    const { cluster } = await start({ standbys: 0, settings: LAZY_FLUSH });
    const server = cluster.primary;
    await server.query('CHECKPOINT');
    const lost = await lab.begin(server);
    await lost.client.query('COMMIT');
    const victim = await lab.dial(server);
    const { rows } = await victim.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    server.killBackend(rows[0]!.pid);
    await waitFor(async () => (await settle(lab.statusOf('3', server))).error === undefined);
    await lab.useUp(lost.mark.xid, server);
    expect(await lab.resolve(lost, server)).toEqual({
      outcome: 'not-committed',
      reason: 'switched-before-mark',
    });
  });
});

describe('a COMMIT in doubt when only its connection was lost', () => {
  it('is what the server says, without any promotion', async () => {
    const { cluster } = await start({ standbys: 0 });
    const done = await lab.begin(cluster.primary);
    await done.client.query('COMMIT');
    expect(await lab.resolve(done, cluster.primary)).toEqual({
      outcome: 'committed',
      reason: 'same-incarnation',
    });
    const undone = await lab.begin(cluster.primary);
    await undone.client.query('ROLLBACK');
    expect(await lab.resolve(undone, cluster.primary)).toEqual({
      outcome: 'not-committed',
      reason: 'same-incarnation',
    });
  });

  it('ends the old backend and waits for it, before it says "not committed" (k)', async () => {
    const { cluster } = await start({ standbys: 0 });
    const open = await lab.begin(cluster.primary);
    const ended = new Promise((resolve) => open.client.once('end', resolve));
    expect(await lab.resolve(open, cluster.primary)).toEqual({
      outcome: 'not-committed',
      reason: 'same-incarnation',
    });
    await ended;
    expect(await lab.isThere(open, cluster.primary)).toBe(false);
  });

  it('does not decide while the old backend is stuck, though it was told to end (k)', async () => {
    const { cluster } = await start({ standbys: 0 });
    const stuck = await lab.begin(cluster.primary);
    const pid = Number(stuck.probe.backend!.pid);
    process.kill(pid, 'SIGSTOP');
    expect(await lab.resolve(stuck, cluster.primary, { millis: 300 })).toMatchObject({ outcome: 'unknown' });
    const resolution = lab.resolve(stuck, cluster.primary);
    process.kill(pid, 'SIGCONT');
    expect(await resolution).toEqual({ outcome: 'not-committed', reason: 'same-incarnation' });
  });

  it('does not end somebody else who was given the process id, and does not guess (A16)', async () => {
    const { cluster } = await start({ standbys: 0 });
    const open = await lab.begin(cluster.primary);
    const backend = { pid: open.probe.backend!.pid, backendStart: '1700000000.000000' };
    expect(await lab.resolve(open, cluster.primary, { backend, millis: 300 })).toMatchObject({
      outcome: 'unknown',
    });
    await open.client.query('COMMIT');
  });

  it('is unknown as long as a role that may not see the backend asks', async () => {
    const { cluster } = await start({ standbys: 0 });
    await cluster.primary.query(`CREATE ROLE stranger LOGIN PASSWORD 'stranger'`);
    const open = await lab.begin(cluster.primary);
    const config = { user: 'stranger', password: 'stranger' };
    expect(await lab.resolve(open, cluster.primary, { config, millis: 300 })).toMatchObject({
      outcome: 'unknown',
    });
    await open.client.query('COMMIT');
  });

  it('leaves a COMMIT alone that waits for its synchronous standby (A5)', async () => {
    const { cluster } = await start({ synchronous: true });
    const waiting = await lab.begin(cluster.primary);
    await cluster.primary.freezeWalSender();
    const commit = settle(waiting.client.query('COMMIT'));
    await waitForSyncRep(cluster.primary);
    expect(await lab.resolve(waiting, cluster.primary, { millis: 1500 })).toEqual({
      outcome: 'unknown',
      reason: 'waiting-for-sync',
    });
    await waitForSyncRep(cluster.primary);
    const resolution = lab.resolve(waiting, cluster.primary);
    cluster.primary.thawWalSender();
    expect(await resolution).toEqual({ outcome: 'committed', reason: 'same-incarnation' });
    await commit;
  });

  it('is no success if somebody ended that wait, until a standby has it (A5)', async () => {
    const { cluster } = await start({ synchronous: true });
    const waiting = await lab.begin(cluster.primary);
    await cluster.primary.freezeWalSender();
    const commit = settle(waiting.client.query('COMMIT'));
    await waitForSyncRep(cluster.primary);
    await cluster.primary.query('SELECT pg_terminate_backend($1)', [waiting.probe.backend!.pid]);
    await commit;
    expect(await lab.statusOf(waiting.mark.xid, cluster.primary)).toBe('committed');
    expect(await lab.resolve(waiting, cluster.primary, { millis: 1500 })).toEqual({
      outcome: 'unknown',
      reason: 'not-replicated',
    });
    await cluster.primary.kill();
    const next = await cluster.failover();
    expect(await lab.isThere(waiting, next)).toBe(false);
    expect(await lab.resolve(waiting, next)).toMatchObject({ outcome: 'not-committed' });
  });

  async function waitForSyncRep(node: PostgresNode): Promise<void> {
    await waitFor(async () => {
      const { rowCount } = await node.query(
        `SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query = 'COMMIT'`,
      );
      return rowCount === 1;
    });
  }
});
