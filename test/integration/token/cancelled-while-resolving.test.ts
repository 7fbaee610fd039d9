import pg from 'pg';
import { describe, expect, it } from 'vitest';
import { Client } from '../../../src/pg.ts';
import { FailoverLab, type WatchedClient } from '../../support/failover-lab.ts';
import { waitFor } from '../../support/wait-for.ts';

interface Cancelling {
  cancel(client: unknown, query: unknown): void;
}

describe('somebody cancels while it is being found out what became of a COMMIT', () => {
  const lab = FailoverLab.forThisSuite({ synchronous: true, tokens: true });

  /** The COMMIT waits for the standby, its connection is cut, and the question after its token waits for it. */
  async function inDoubt(): Promise<{
    client: WatchedClient;
    query: pg.Query;
    committed: Promise<unknown>;
    verdicts: string[];
  }> {
    const client = await lab.connect({ failover: { commitOutcome: 'token' } });
    const verdicts: string[] = [];
    client.failover!.on('commitResolved', ({ outcome }) => verdicts.push(outcome));
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    await lab.primary.freezeWalSender();
    const query = new pg.Query('COMMIT');
    const committed = new Promise((resolve, reject) => query.once('end', resolve).once('error', reject));
    client.query(query);
    await waitFor(async () => (await backends(`wait_event = 'SyncRep'`)).length > 0);
    lab.proxy.cutClientSideOnly();
    await waitFor(async () => (await asking()).length > 0);
    return { client, query, committed, verdicts };
  }

  async function backends(condition: string): Promise<readonly number[]> {
    const { rows } = await lab.primary.query<{ pid: number }>(
      `SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND ${condition}`,
    );
    return rows.map(({ pid }) => pid);
  }

  async function asking(): Promise<readonly number[]> {
    return await backends(`wait_event_type = 'Lock' AND query LIKE '%resolve_token%'`);
  }

  it("the driver's own questions, again and again: they are asked again", async () => {
    const { client, committed, verdicts } = await inDoubt();
    await lab.primary.query('SELECT pg_cancel_backend(pid) FROM unnest($1::int[]) AS pid', [await asking()]);
    // Whatever it asks by now, of the token or of the backend: a cancel hits what is at work, and only that.
    for (let count = 0; count < 50; count++) {
      const others = await backends(`usename = 'app' AND wait_event IS DISTINCT FROM 'SyncRep'`);
      await lab.primary.query('SELECT pg_cancel_backend(pid) FROM unnest($1::int[]) AS pid', [others]);
    }
    expect(verdicts).toEqual([]);
    lab.primary.thawWalSender();
    await committed;
    expect(verdicts).toEqual(['committed']);
    expect(await lab.notes()).toEqual(['a']);
    expect(client.seen.isQuiet).toBe(true);
  });

  it('the COMMIT, by the key that the application has: it is found out all the same', async () => {
    const { client, query, committed, verdicts } = await inDoubt();
    for (let count = 0; count < 3; count++) {
      const canceller = new Client({ connectionString: lab.connectionString() });
      canceller.on('error', () => undefined);
      const ended = new Promise((resolve) => canceller.once('end', resolve));
      (canceller as unknown as Cancelling).cancel(client, query);
      await Promise.race([ended, lab.primary.query('SELECT pg_sleep(0.2)')]);
    }
    lab.primary.thawWalSender();
    await committed;
    expect(verdicts).toEqual(['committed']);
    expect(await lab.notes()).toEqual(['a']);
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    expect(client.seen.isQuiet).toBe(true);
  });
});
