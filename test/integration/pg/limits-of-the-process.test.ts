import { afterEach, describe, expect, it } from 'vitest';
import type { LimitReached } from '../../../src/events.ts';
import { FailoverLab } from '../../support/failover-lab.ts';
import { settle } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

let lab: FailoverLab;
afterEach(async () => {
  await lab.stop();
});

describe('what all sessions of a process share is limited', () => {
  it('so many may wait for a failover; the others are told at once', async () => {
    lab = await FailoverLab.start({ standbys: 0 });
    const failover = { maxWaitingSessions: 1, timeoutMillis: 20_000 };
    const clients = await Promise.all([1, 2, 3].map(async () => await lab.connect({ failover })));
    const limits: string[] = [];
    clients[0]!.failover!.on('limitReached', ({ limit }: LimitReached) => limits.push(limit));
    for (const client of clients) {
      await client.query('BEGIN');
      await client.query(`INSERT INTO note VALUES ('a')`);
    }
    await lab.shipAll();
    await lab.primary.kill();
    // Not one after the other when their deadlines pass: at once.
    await waitFor(() => clients.filter(({ seen }) => seen.ends === 1).length === 2);
    const going = clients.filter(({ seen }) => seen.ends === 0);
    for (const { seen } of clients.filter((client) => !going.includes(client)))
      expect(seen.errors[0]?.message).toContain('failover.maxWaitingSessions');
    expect(limits).toContain('failover.maxWaitingSessions');
    await lab.primary.start();
    for (const client of going) await client.query('COMMIT');
    expect(await lab.notes()).toEqual(['a']);
  });

  it('so many bytes of journals; who passes that is not replayed, and told why', async () => {
    lab = await FailoverLab.start({ standbys: 0 });
    const failover = { maxProcessJournalBytes: 1_000_000 };
    const [modest, greedy] = await Promise.all([lab.connect({ failover }), lab.connect({ failover })]);
    for (const client of [modest, greedy]) {
      await client.query('BEGIN');
      for (let count = 0; count < 3; count++)
        await client.query('INSERT INTO note VALUES ($1)', ['x'.repeat(200_000)]);
    }
    lab.proxy.cut();
    await modest.query('COMMIT');
    const { error } = await settle(greedy.query('SELECT 1'));
    expect(error).toMatchObject({ code: '40001', kind: 'transaction-not-replayable' });
    expect(error?.message).toContain('failover.maxProcessJournalBytes');
    await greedy.query('ROLLBACK');
    expect(await lab.notes()).toHaveLength(3);
  });
});
