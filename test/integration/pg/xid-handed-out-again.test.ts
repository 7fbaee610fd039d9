import { afterEach, describe, expect, it } from 'vitest';
import type { CommitResolved } from '../../../src/events.ts';
import { FailoverLab, type WatchedClient } from '../../support/failover-lab.ts';
import { onMessage } from '../../support/on-message.ts';
import type { PostgresNode } from '../../support/postgres-node.ts';
import { settle, type Settled } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

/** Nothing is flushed but what somebody waits for, and hardly anybody does. */
const LAZY_FLUSH = { synchronous_commit: 'off', wal_writer_delay: '10s' };
const FOREIGN = 'CREATE TABLE foreign_work (xid xid8 NOT NULL)';

interface CommitInFlight {
  readonly client: WatchedClient;
  /** Of the transaction, as the lost server knew it. */
  readonly xid: string;
  readonly pending: Promise<Settled<{ readonly command: string }>>;
  readonly verdicts: readonly string[];
}

let lab: FailoverLab;
afterEach(async () => {
  await lab.stop();
});

/** The transaction has written and has its mark; its COMMIT never reaches the server, which nobody reaches any more. */
async function loseCommit(): Promise<CommitInFlight> {
  const client = await lab.connect();
  const verdicts: string[] = [];
  client.failover!.on('commitResolved', ({ outcome }: CommitResolved) => verdicts.push(outcome));
  await client.query('BEGIN');
  await client.query(`INSERT INTO note VALUES ('in doubt')`);
  const { processID } = client as unknown as { processID: number };
  const { rows } = await lab.primary.query<{ xid: string }>(
    'SELECT backend_xid::text AS xid FROM pg_stat_activity WHERE pid = $1',
    [processID],
  );
  const { proxy } = lab;
  const lost = onMessage(proxy, { from: 'client', type: 'Q', text: 'COMMIT' }, 'drop');
  const pending = settle<{ readonly command: string }>(client.query('COMMIT'));
  await lost;
  for (const each of lab.proxies) await each.refuse();
  return { client, xid: rows[0]!.xid, pending, verdicts };
}

/** Commits other transactions until one of them has been given this xid, and some more. */
async function handOutAgain(xid: string, node: PostgresNode): Promise<void> {
  await node.withClient(async (client) => {
    for (let further = 0; further < 5;) {
      const { rows } = await client.query<{ xid: string }>(
        'INSERT INTO foreign_work VALUES (pg_current_xact_id()) RETURNING xid::text',
      );
      if (BigInt(rows[0]!.xid) >= BigInt(xid)) further++;
    }
    // Whatever server comes next has these.
    await client.query('CHECKPOINT');
  });
  expect(await statusOf(xid, node)).toBe('committed');
}

async function statusOf(xid: string, node: PostgresNode): Promise<string | null> {
  const { rows } = await node.query<{ status: string | null }>('SELECT pg_xact_status($1::xid8) AS status', [
    xid,
  ]);
  return rows[0]!.status;
}

async function crash(node: PostgresNode): Promise<void> {
  await node.kill();
  await node.start();
}

/** The driver may look now. */
async function letPass(): Promise<void> {
  for (const each of lab.proxies) await each.pass();
}

/** What it says of the COMMIT fits what is in the table: done once, or not done and not called done. */
async function expectTruth({ pending, verdicts }: CommitInFlight): Promise<Settled<unknown>> {
  const settled = await pending;
  expect(verdicts).not.toContain('committed');
  if (settled.error === undefined) {
    expect(settled.value?.command).toBe('COMMIT');
    expect(await lab.notes()).toEqual(['in doubt']);
  } else {
    expect(settled.error).toMatchObject({ code: '08007', outcome: 'unknown' });
    expect(await lab.notes()).toEqual([]);
  }
  return settled;
}

async function expectGoesOn({ client }: CommitInFlight): Promise<void> {
  const before = await lab.notes();
  await client.query(`INSERT INTO note VALUES ('later')`);
  expect(await lab.notes()).toEqual([...before, 'later']);
  expect(client.seen.isQuiet).toBe(true);
}

describe('a COMMIT was lost with its server, and another server has given its xid to somebody else', () => {
  async function promoteWithoutIt(): Promise<CommitInFlight> {
    lab = await FailoverLab.start({ setUp: FOREIGN });
    await lab.shipAll();
    await lab.primary.freezeWalSender();
    const commit = await loseCommit();
    await lab.primary.kill();
    await lab.cluster.failover();
    await handOutAgain(commit.xid, lab.primary);
    return commit;
  }

  it('replays it, once, on the server that was promoted without it', async () => {
    const commit = await promoteWithoutIt();
    await letPass();
    const { error } = await expectTruth(commit);
    expect(error).toBeUndefined();
    expect(commit.verdicts).toEqual(['not-committed']);
    await expectGoesOn(commit);
  });

  it.each([1, 2])(
    'does not call it done when the promoted server has crashed as well, times: %i',
    async (times) => {
      const commit = await promoteWithoutIt();
      for (let time = 0; time < times; time++) {
        await crash(lab.primary);
        expect(await statusOf(commit.xid, lab.primary)).toBe('committed');
      }
      await letPass();
      await expectTruth(commit);
      await expectGoesOn(commit);
    },
  );

  it('does not call it done when the promoted server was restarted in order', async () => {
    const commit = await promoteWithoutIt();
    await lab.primary.stop('fast');
    await lab.primary.start();
    await letPass();
    await expectTruth(commit);
    await expectGoesOn(commit);
  });

  it('does not call it done when a second standby was promoted after the first one', async () => {
    lab = await FailoverLab.start({ setUp: FOREIGN, standbys: 2 });
    await lab.shipAll();
    await lab.primary.freezeWalSender();
    const commit = await loseCommit();
    await lab.primary.kill();
    await lab.cluster.failover();
    await handOutAgain(commit.xid, lab.primary);
    await lab.cluster.waitForReplay();
    await lab.primary.kill();
    await lab.cluster.failover();
    expect(await statusOf(commit.xid, lab.primary)).toBe('committed');
    await letPass();
    await expectTruth(commit);
    await expectGoesOn(commit);
  });
});

describe('a COMMIT was lost in a crash of its server, which has given its xid to somebody else since', () => {
  async function crashWithoutIt(): Promise<CommitInFlight> {
    lab = await FailoverLab.start({ setUp: FOREIGN, standbys: 0, settings: LAZY_FLUSH });
    await lab.primary.query('CHECKPOINT');
    const commit = await loseCommit();
    await crash(lab.primary);
    await handOutAgain(commit.xid, lab.primary);
    return commit;
  }

  it('replays it, once, after one crash', async () => {
    const commit = await crashWithoutIt();
    await letPass();
    const { error } = await expectTruth(commit);
    expect(error).toBeUndefined();
    expect(commit.verdicts).toEqual(['not-committed']);
    await expectGoesOn(commit);
  });

  it('does not call it done after two crashes, which look like one', async () => {
    const commit = await crashWithoutIt();
    await crash(lab.primary);
    expect(await statusOf(commit.xid, lab.primary)).toBe('committed');
    await letPass();
    const { error } = await expectTruth(commit);
    expect(error).toMatchObject({ code: '08007', outcome: 'unknown' });
    expect(commit.verdicts).toEqual(['unknown']);
    await expectGoesOn(commit);
  });

  it('does not call it done after a crash and a restart in order, which hides the crash', async () => {
    const commit = await crashWithoutIt();
    await lab.primary.stop('fast');
    await lab.primary.start();
    expect(await statusOf(commit.xid, lab.primary)).toBe('committed');
    await letPass();
    await expectTruth(commit);
    await expectGoesOn(commit);
  });

  it('does not call it done where a backend’s crash was the first one', async () => {
    lab = await FailoverLab.start({ setUp: FOREIGN, standbys: 0, settings: LAZY_FLUSH });
    await lab.primary.query('CHECKPOINT');
    const commit = await loseCommit();
    const bystander = await lab.stock();
    const { processID } = commit.client as unknown as { processID: number };
    lab.primary.killBackend(processID);
    await waitFor(() => bystander.seen.ends > 0);
    await waitFor(async () => await lab.primary.query('SELECT'));
    await handOutAgain(commit.xid, lab.primary);
    await crash(lab.primary);
    await letPass();
    await expectTruth(commit);
    await expectGoesOn(commit);
  });
});
