import { afterEach, describe, expect, it } from 'vitest';
import { UNKNOWN_LINEAGE } from '../../../src/pg/lineage.ts';
import { parseLsn } from '../../../src/pg/lsn.ts';
import type { PostgresClusterOptions } from '../../support/postgres-cluster.ts';
import type { PostgresNode } from '../../support/postgres-node.ts';
import type { MarkedTransaction } from '../../support/resolver-lab.ts';
import { ResolverLab } from '../../support/resolver-lab.ts';
import { settle } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

/** Nothing is flushed but what somebody waits for, and hardly anybody does. */
const LAZY_FLUSH = { synchronous_commit: 'off', wal_writer_delay: '10s' };
const SAVEPOINTS = [
  'SAVEPOINT kept',
  `INSERT INTO note VALUES ('$note')`,
  'RELEASE kept',
  'SAVEPOINT undone',
  'INSERT INTO other VALUES (1)',
];

let lab: ResolverLab;

async function start(options?: PostgresClusterOptions): Promise<ResolverLab> {
  lab = await ResolverLab.start(options);
  return lab;
}

afterEach(async () => {
  await lab.stop();
});

/** Commits on the primary, whose standbys do not get it, and loses the primary. */
async function commitAndLose(transaction: MarkedTransaction): Promise<PostgresNode> {
  const { cluster } = lab;
  await cluster.primary.freezeWalSender();
  await transaction.client.query('COMMIT');
  await cluster.primary.kill();
  return await cluster.failover();
}

async function crash(node: PostgresNode): Promise<void> {
  await node.kill();
  await node.start();
}

// The letters are those of the experiments that found the ways to go wrong; A3 to A5 are the design review's.
describe('a COMMIT in doubt after the promotion of a standby', () => {
  it('is committed if the standby had it (c), also if the mark was taken in a savepoint that was undone (f)', async () => {
    const { cluster } = await start();
    const plain = await lab.begin(cluster.primary);
    const nested = await lab.begin(cluster.primary, { statements: SAVEPOINTS });
    await nested.client.query('ROLLBACK TO undone');
    await plain.client.query('COMMIT');
    await nested.client.query('COMMIT');
    await cluster.waitForReplay();
    await cluster.primary.kill();
    const next = await cluster.failover();
    for (const transaction of [plain, nested]) {
      expect(await lab.resolve(transaction, next)).toEqual({ outcome: 'committed', reason: 'shared-log' });
      expect(await lab.isThere(transaction, next)).toBe(true);
    }
  });

  it('is not committed if it never reached the server (d)', async () => {
    const { cluster } = await start();
    const open = await lab.begin(cluster.primary);
    const other = await lab.begin(cluster.primary);
    await other.client.query('COMMIT'); // Flushes the mark of the open one as well.
    await cluster.waitForReplay();
    await cluster.primary.kill();
    const next = await cluster.failover();
    expect(await lab.resolve(open, next)).toEqual({ outcome: 'not-committed', reason: 'status-aborted' });
  });

  it('is not committed if the standby lacks it, though another transaction has its xid and is committed (b2)', async () => {
    const { cluster } = await start();
    const lost = await lab.begin(cluster.primary);
    const next = await commitAndLose(lost);
    await lab.useUp(lost.mark.xid, next);
    expect(await lab.statusOf(lost.mark.xid, next)).toBe('committed');
    expect(await lab.isThere(lost, next)).toBe(false);
    expect(await lab.resolve(lost, next)).toEqual({
      outcome: 'not-committed',
      reason: 'switched-before-mark',
    });
  });

  it('is not committed if its xid was assigned before any WAL carried it and is used again (A3)', async () => {
    const { cluster } = await start();
    const early = await lab.dial(cluster.primary);
    await early.query('BEGIN');
    await early.query('SELECT txid_current()');
    const { rows } = await early.query<{ position: string }>(
      'SELECT pg_current_wal_insert_lsn()::text AS position',
    );
    await early.query('ROLLBACK');
    await cluster.waitForReplay();
    await cluster.primary.freezeWalSender();
    const lost = await lab.begin(cluster.primary, {
      statements: ['SELECT txid_current()', `INSERT INTO note VALUES ('$note')`],
    });
    const next = await commitAndLose(lost);
    await lab.useUp(lost.mark.xid, next);
    expect(await lab.resolve(lost, next)).toEqual({
      outcome: 'not-committed',
      reason: 'switched-before-mark',
    });
    // The position alone, without a record of this xid before it, would have been believed.
    const bare = { ...lost, mark: { ...lost.mark, lsn: parseLsn(rows[0]!.position) } };
    expect(await lab.resolve(bare, next)).toMatchObject({ outcome: 'committed' });
  });

  it('is never called committed if the promoted server itself crashed and recovered (j)', async () => {
    const { cluster } = await start();
    const lost = await lab.begin(cluster.primary);
    const next = await commitAndLose(lost);
    await lab.useUp(lost.mark.xid, next);
    await crash(next);
    expect(await lab.statusOf(lost.mark.xid, next)).toBe('committed');
    expect(await lab.resolve(lost, next)).toEqual({ outcome: 'unknown', reason: 'lineage-unproved' });
    // Who may read the history of the timelines knows it for sure.
    expect(await lab.resolve(lost, next, { config: next.superuserConfig() })).toEqual({
      outcome: 'not-committed',
      reason: 'switched-before-mark',
    });
  });

  it('is committed on a promoted server that crashed later, if its promotion had been seen', async () => {
    const { cluster } = await start();
    const kept = await lab.begin(cluster.primary);
    await kept.client.query('COMMIT');
    await cluster.waitForReplay();
    await cluster.primary.kill();
    const next = await cluster.failover();
    await lab.watch();
    await lab.useUp(kept.mark.xid, next);
    await crash(next);
    expect(await lab.resolve(kept, next)).toEqual({ outcome: 'committed', reason: 'shared-log' });
    expect(await lab.isThere(kept, next)).toBe(true);
  });

  it('is known after a second promotion, if standbys were watched (i)', async () => {
    const { cluster } = await start({ standbys: 2 });
    const [first, ...others] = cluster.nodes;
    const kept = await lab.begin(first!);
    await kept.client.query('COMMIT');
    await cluster.waitForReplay();
    await first!.freezeWalSender();
    const lost = await lab.begin(first!);
    await lost.client.query('COMMIT');
    await first!.kill();
    const second = await cluster.failover();
    await lab.watch();
    await lab.useUp(lost.mark.xid, second);
    const keptOnSecond = await lab.begin(second);
    await keptOnSecond.client.query('COMMIT');
    await cluster.waitForReplay();
    await second.kill();
    const third = await cluster.failover();
    expect(others).toContain(third);

    for (const transaction of [kept, keptOnSecond]) {
      expect(await lab.resolve(transaction, third)).toEqual({ outcome: 'committed', reason: 'shared-log' });
      expect(await lab.isThere(transaction, third)).toBe(true);
    }
    expect(await lab.statusOf(lost.mark.xid, third)).toBe('committed');
    expect(await lab.resolve(lost, third)).toEqual({ outcome: 'unknown', reason: 'lineage-unproved' });
    expect(await lab.isThere(lost, third)).toBe(false);
    // Who saw nothing of all that proves nothing, unless the history can be read.
    const blind = { lineage: UNKNOWN_LINEAGE };
    expect(await lab.resolve(kept, third, blind)).toEqual({ outcome: 'unknown', reason: 'lineage-unproved' });
    expect(await lab.resolve(lost, third, { config: third.superuserConfig() })).toMatchObject({
      outcome: 'not-committed',
    });
  });

  // Two standbys, promoted one after the other, the second of which never followed the first: with a WAL archive in
  // common it takes the number after the first one's timeline, and is taken for its successor by every number it shows.
  it('is not believed by a server on the next timeline that does not follow the captured one', async () => {
    const { cluster } = await start({ standbys: 2 });
    const [first, behind, ahead] = cluster.nodes as [PostgresNode, PostgresNode, PostgresNode];
    await first.freezeWalSender(behind);
    const old = await lab.begin(first);
    await old.client.query('INSERT INTO other SELECT generate_series(1, 10000)');
    await old.client.query('COMMIT');
    await waitFor(async () => await lab.isThere(old, ahead));
    await first.kill();
    await behind.promote();
    await lab.watch();
    const lost = await lab.begin(behind);
    await lost.client.query('COMMIT');
    const { rows } = await behind.query<{ history: string }>(
      `SELECT pg_read_file('pg_wal/00000002.history') AS history`,
    );
    await behind.kill();
    await ahead.writeDataFile('00000002.history', rows[0]!.history);
    await ahead.configure({ restore_command: 'cp %f %p' });
    await ahead.promote();

    expect(lost.mark.xid).toBe(old.mark.xid);
    expect(await lab.statusOf(lost.mark.xid, ahead)).toBe('committed');
    expect(await lab.isThere(lost, ahead)).toBe(false);
    await lab.watch();
    expect(lab.lineage.timelines.get(3)).toMatchObject({ host: ahead.name, followsPrevious: false });
    expect(lab.lineage.timelines.get(3)!.start! > lost.mark.lsn).toBe(true);
    expect(await lab.resolve(lost, ahead)).toEqual({ outcome: 'unknown', reason: 'lineage-unproved' });
    expect(await lab.resolve(lost, ahead, { config: ahead.superuserConfig() })).toEqual({
      outcome: 'unknown',
      reason: 'not-an-ancestor',
    });
  });

  it('knows a PREPARE TRANSACTION by its identifier (e)', async () => {
    const { cluster } = await start();
    const prepared = await lab.begin(cluster.primary);
    const never = await lab.begin(cluster.primary);
    await prepared.client.query(`PREPARE TRANSACTION 'one'`);
    await cluster.waitForReplay();
    await cluster.primary.kill();
    const next = await cluster.failover();
    expect(await lab.resolve(prepared, next, { preparedAs: 'one' })).toEqual({
      outcome: 'committed',
      reason: 'shared-log',
    });
    expect(await lab.resolve(prepared, next, { preparedAs: 'other', millis: 200 })).toEqual({
      outcome: 'unknown',
      reason: 'still-in-progress',
    });
    expect(await lab.resolve(never, next, { preparedAs: 'two' })).toMatchObject({ outcome: 'not-committed' });
  });
});

describe('a COMMIT in doubt after its server came back', () => {
  it('is not committed after one crash, and never called committed after two (A4)', async () => {
    const { cluster } = await start({ standbys: 0, settings: LAZY_FLUSH });
    const server = cluster.primary;
    await server.query('CHECKPOINT');
    const lost = await lab.begin(server);
    await lost.client.query('COMMIT');
    await crash(server);
    expect(await lab.isThere(lost, server)).toBe(false);
    expect(await lab.resolve(lost, server)).toEqual({
      outcome: 'not-committed',
      reason: 'switched-before-mark',
    });

    await lab.useUp(lost.mark.xid, server);
    await server.query('CHECKPOINT');
    await crash(server);
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
    await crash(server);
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

  it('does not end somebody else who was given the process id, and does not guess (A16)', async () => {
    const { cluster } = await start({ standbys: 0 });
    const open = await lab.begin(cluster.primary);
    const backend = { pid: open.probe.backend!.pid, backendStart: '1700000000.000000' };
    expect(await lab.resolve(open, cluster.primary, { backend, millis: 300 })).toEqual({
      outcome: 'unknown',
      reason: 'still-in-progress',
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
    expect(await lab.resolve(waiting, cluster.primary, { millis: 500 })).toEqual({
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
    expect(await lab.resolve(waiting, cluster.primary, { millis: 500 })).toEqual({
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
