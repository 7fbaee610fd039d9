import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CommitResolved } from '../../../src/events.ts';
import type { ClientConfig } from '../../../src/pg.ts';
import { FailoverLab, type WatchedClient } from '../../support/failover-lab.ts';
import { loseAnswers, onMessage } from '../../support/on-message.ts';
import type { PostgresNode } from '../../support/postgres-node.ts';
import { settle, type Settled } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

interface CommitInDoubt {
  readonly client: WatchedClient;
  /** Of the transaction, as the lost server knew it. */
  readonly xid: string;
  readonly pending: Promise<Settled<{ readonly command: string }>>;
  readonly resolutions: readonly Pick<CommitResolved, 'outcome' | 'reason'>[];
}

let lab: FailoverLab;
beforeEach(async () => {
  lab = await FailoverLab.start({
    tokens: false,
    standbys: 2,
    setUp: 'CREATE TABLE foreign_work (xid xid8 NOT NULL)',
  });
  await lab.shipAll();
});
afterEach(async () => {
  await lab.stop();
});

/** The primary commits, and dies before it can say so; from then on nobody is reached. */
async function loseCommit(isShipped: boolean, config: ClientConfig = {}): Promise<CommitInDoubt> {
  const { primary, proxy } = lab;
  const client = await lab.connect(config);
  const resolutions: Pick<CommitResolved, 'outcome' | 'reason'>[] = [];
  client.failover!.on('commitResolved', ({ outcome, reason }) => resolutions.push({ outcome, reason }));
  await client.query('BEGIN');
  await client.query(`INSERT INTO note VALUES ('in doubt')`);
  const { processID } = client as unknown as { processID: number };
  const { rows } = await primary.query<{ xid: string }>(
    'SELECT backend_xid::text AS xid FROM pg_stat_activity WHERE pid = $1',
    [processID],
  );
  if (!isShipped) await primary.freezeWalSender();
  const lost = onMessage(proxy, { from: 'server', type: 'C', text: 'COMMIT' }, (from) =>
    loseAnswers(proxy, from),
  );
  const pending = settle<{ readonly command: string }>(client.query('COMMIT'));
  await lost;
  expect(await lab.notes()).toEqual(['in doubt']);
  if (isShipped) await lab.shipAll();
  for (const each of lab.proxies) await each.refuse();
  await primary.kill();
  return { client, xid: rows[0]!.xid, pending, resolutions };
}

/** Commits other transactions until one of them has been given this xid, and some more, on the standby as well. */
async function handOutAgain(xid: string, node: PostgresNode): Promise<void> {
  await node.withClient(async (client) => {
    for (let further = 0; further < 5;) {
      const { rows } = await client.query<{ xid: string }>(
        'INSERT INTO foreign_work VALUES (pg_current_xact_id()) RETURNING xid::text',
      );
      if (BigInt(rows[0]!.xid) >= BigInt(xid)) further++;
    }
  });
  await lab.shipAll();
}

async function loseSecond(): Promise<void> {
  await lab.shipAll();
  await lab.primary.kill();
  await lab.cluster.failover();
}

async function letPass(): Promise<void> {
  for (const each of lab.proxies) await each.pass();
}

async function statusOf(xid: string): Promise<string | null> {
  const { rows } = await lab.primary.query<{ status: string | null }>(
    'SELECT pg_xact_status($1::xid8) AS status',
    [xid],
  );
  return rows[0]!.status;
}

/** Two servers are gone before the driver reaches one that takes writes. */
async function loseTwice(isShipped: boolean, config?: ClientConfig): Promise<CommitInDoubt> {
  const commit = await loseCommit(isShipped, config);
  await lab.cluster.failover();
  await handOutAgain(commit.xid, lab.primary);
  await loseSecond();
  expect(await statusOf(commit.xid)).toBe('committed');
  return commit;
}

async function expectCommitted({ pending, resolutions }: CommitInDoubt): Promise<void> {
  const { value, error } = await pending;
  expect(error).toBeUndefined();
  expect(value).toMatchObject({ command: 'COMMIT' });
  expect(resolutions).toEqual([{ outcome: 'committed', reason: 'shared-log' }]);
  expect(await lab.notes()).toEqual(['in doubt']);
}

async function expectUnknown({ pending, resolutions }: CommitInDoubt): Promise<void> {
  const { error } = await pending;
  expect(error).toMatchObject({ code: '08007', outcome: 'unknown' });
  expect(resolutions).toEqual([{ outcome: 'unknown', reason: 'lineage-unproved' }]);
}

/** Until the server refuses one more. */
async function takeAllForReplication(node: PostgresNode): Promise<pg.Client[]> {
  const takers: pg.Client[] = [];
  for (;;) {
    const taker = new pg.Client({ ...node.superuserConfig(), ...{ replication: 'database' } });
    const { error } = await settle(taker.connect());
    if (error !== undefined) {
      expect(error).toMatchObject({ code: '53300' });
      return takers;
    }
    takers.push(taker);
  }
}

async function expectNothingLeftBehind(): Promise<void> {
  await waitFor(
    async () => {
      const { rowCount } = await lab.primary.query(
        `SELECT FROM pg_stat_activity WHERE backend_type = 'walsender' AND usename = 'app'`,
      );
      return rowCount === 0;
    },
    { message: 'the connection for replication to end' },
  );
}

describe('a COMMIT is in doubt, and the server that took over is lost as well', () => {
  it('is known to be done by a process that saw both promotions', async () => {
    const other = await lab.connect();
    const commit = await loseCommit(true);
    await lab.cluster.failover();
    const second = lab.primary;
    const [third] = lab.standbyProxies;
    const asked = onMessage(
      lab.proxyOf(second),
      { from: 'client', type: 'P', text: 'pg_xact_status' },
      'drop',
    );
    await lab.proxyOf(second).pass();
    await asked;
    // While the second is the primary, the process looks at the third, as soon as it can be reached.
    const looked = onMessage(third!, { from: 'client', type: 'P', text: 'pg_is_in_recovery' }, 'pass');
    await letPass();
    await other.query(`SELECT 'goes on'`);
    const look = await looked;
    await waitFor(() => !third!.connections.includes(look), { message: 'the look to end' });
    await handOutAgain(commit.xid, second);
    await second.kill();
    lab.proxyOf(second).cut();
    await lab.cluster.failover();
    expect(await statusOf(commit.xid)).toBe('committed');
    await expectCommitted(commit);
  });
});

describe('a COMMIT is in doubt, and of two servers that took over the process sees the second only', () => {
  it('is known to be done where the role may replicate', async () => {
    await lab.primary.query('ALTER ROLE app REPLICATION');
    const commit = await loseTwice(true);
    await letPass();
    await expectCommitted(commit);
    await expectNothingLeftBehind();
  });

  it('is known to be lost where the role may replicate, and done then, once', async () => {
    await lab.primary.query('ALTER ROLE app REPLICATION');
    await lab.shipAll();
    const commit = await loseTwice(false);
    expect(await lab.notes()).toEqual([]);
    await letPass();
    const { error } = await commit.pending;
    expect(error).toBeUndefined();
    expect(commit.resolutions).toEqual([{ outcome: 'not-committed', reason: 'switched-before-mark' }]);
    expect(await lab.notes()).toEqual(['in doubt']);
    await expectNothingLeftBehind();
  });

  it('is not known where the role may neither replicate nor read files', async () => {
    const commit = await loseTwice(true);
    await letPass();
    await expectUnknown(commit);
    expect(await lab.notes()).toEqual(['in doubt']);
  });

  it('is not called done where it is lost and nobody can tell', async () => {
    const commit = await loseTwice(false);
    await letPass();
    await expectUnknown(commit);
    expect(await lab.notes()).toEqual([]);
  });

  it('is not known where the server has no connection for replication to spare', async () => {
    await lab.primary.query('ALTER ROLE app REPLICATION');
    const commit = await loseTwice(true);
    const takers = await takeAllForReplication(lab.primary);
    await letPass();
    await expectUnknown(commit);
    for (const taker of takers) await taker.end();
  });

  it('is not known where the history is not told in time, and the session goes on', async () => {
    await lab.primary.query('ALTER ROLE app REPLICATION');
    const commit = await loseTwice(true, { failover: { dialTimeoutMillis: 1_000 } });
    const asked = onMessage(lab.proxy, { from: 'client', type: 'Q', text: 'TIMELINE_HISTORY' }, 'drop');
    await letPass();
    await asked;
    await expectUnknown(commit);
    await commit.client.query(`INSERT INTO note VALUES ('later')`);
    expect(await lab.notes()).toEqual(['in doubt', 'later']);
    await expectNothingLeftBehind();
  });
});
