import { describe, expect, it } from 'vitest';
import { FailoverLab, type WatchedClient } from '../../support/failover-lab.ts';
import { onMessage } from '../../support/on-message.ts';
import { settle } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

describe('a PREPARE TRANSACTION is in flight when the connection is lost', () => {
  const lab = FailoverLab.forThisSuite({ standbys: 0, settings: { max_prepared_transactions: 5 } });

  async function begin(): Promise<WatchedClient> {
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    return client;
  }

  async function prepared(): Promise<unknown[]> {
    return (await lab.primary.query('SELECT gid FROM pg_prepared_xacts')).rows;
  }

  it('is replayed and prepared if it never arrived', async () => {
    const client = await begin();
    const lost = onMessage(lab.proxy, { from: 'client', type: 'Q', text: 'PREPARE' }, 'drop');
    const pending = settle(client.query(`PREPARE TRANSACTION 'it''s first'`));
    await lost;
    lab.proxy.cut();
    expect((await pending).value?.command).toBe('PREPARE');
    expect(await prepared()).toEqual([{ gid: `it's first` }]);
    await client.query(`COMMIT PREPARED 'it''s first'`);
    expect(await lab.notes()).toEqual(['a']);
    expect(client.failover!.snapshot()).toMatchObject({ commitsResolved: 1, replays: 1 });
  });

  it('is found prepared if only its answer was lost, and is not replayed', async () => {
    const client = await begin();
    const before = client.failover!.snapshot();
    const lost = onMessage(lab.proxy, { from: 'server', type: 'C', text: 'PREPARE' }, 'cut-before');
    const pending = settle(client.query(`PREPARE TRANSACTION 'second'`));
    await lost;
    expect((await pending).value?.command).toBe('PREPARE');
    expect(await prepared()).toEqual([{ gid: 'second' }]);
    expect(client.failover!.snapshot()).toMatchObject({
      commitsResolved: before.commitsResolved + 1,
      replays: before.replays,
    });
    await client.query(`COMMIT PREPARED 'second'`);
    expect(await lab.notes()).toEqual(['a']);
  });
});

describe('the replay itself is disturbed, on a real server', () => {
  const lab = FailoverLab.forThisSuite({ standbys: 0 });

  it('begins again when one of its statements is cancelled, and takes effect once (R10)', async () => {
    const client = await lab.connect();
    const failed: string[] = [];
    client.failover!.on('replayFailed', ({ reason }) => failed.push(reason));
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    await client.query('SELECT pg_sleep(0.5)');
    lab.proxy.cut();
    const pending = client.query('COMMIT');
    await waitFor(async () => {
      const { rows } = await lab.primary.query<{ cancelled: boolean }>(
        `SELECT pg_cancel_backend(pid) AS cancelled FROM pg_stat_activity WHERE wait_event = 'PgSleep'`,
      );
      return rows.length > 0;
    });
    expect((await pending).command).toBe('COMMIT');
    expect(failed).toEqual(['SQLSTATE 57014']);
    expect(await lab.notes()).toEqual(['a']);
    expect(client.seen.isQuiet).toBe(true);
  });
});
