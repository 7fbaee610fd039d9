import { describe, expect, it } from 'vitest';
import type { Client } from '../../../src/pg.ts';
import { FailoverLab } from '../../support/failover-lab.ts';
import { loseFromHere, lostOf } from '../../support/lost-commits.ts';

/** Each provider has a cluster, and so a log, of its own, as each process has. */
async function connectAsOneProcess(lab: FailoverLab): Promise<Client> {
  const hosts = lab.proxies.map(({ host, port }) => ({ host, port }));
  const { host, port } = lab.proxy;
  return await lab.connect({
    connectionString: lab.cluster.connectionString({ hosts: [{ host, port }] }),
    failover: { lostCommits: 'reapply', provider: { discover: () => Promise.resolve({ hosts }) } },
  });
}

describe('what several processes have lost', () => {
  const lab = FailoverLab.forThisSuite({
    tokens: true,
    setUp: 'CREATE TABLE account (id text PRIMARY KEY, balance int NOT NULL)',
  });

  /** The second process has changed what the first one has made. Both are lost. */
  async function lose(): Promise<{ first: Client; second: Client }> {
    const first = await connectAsOneProcess(lab);
    const second = await connectAsOneProcess(lab);
    await lab.primary.query('DELETE FROM account');
    await loseFromHere(lab, async () => {
      await first.query(`INSERT INTO account VALUES ('a', 1)`);
      await second.query(`UPDATE account SET balance = balance + 10 WHERE id = 'a'`);
    });
    return { first, second };
  }

  async function balances(): Promise<unknown[]> {
    const { rows } = await lab.primary.query<{ balance: number }>('SELECT balance FROM account');
    return rows.map(({ balance }) => balance);
  }

  it('is all applied if they come in the order in which they had worked', async () => {
    const { first, second } = await lose();
    const lost = [lostOf(first), lostOf(second)];
    await first.query('SELECT');
    await second.query('SELECT');
    expect(lost.flat().map(({ outcome }) => outcome)).toEqual(['reapplied', 'reapplied']);
    expect(await balances()).toEqual([11]);
  });

  it('is not, and says so, if they come the other way round: nothing orders their logs', async () => {
    const { first, second } = await lose();
    const lost = [lostOf(first), lostOf(second)];
    await second.query('SELECT');
    await first.query('SELECT');
    expect(lost.map(([event]) => event!.outcome)).toEqual(['reapplied', 'lost']);
    expect(lost[1]![0]!.notReapplied).toMatch(/other results/);
    expect(await balances()).toEqual([1]);
  });

  it('is applied once each if they come at the same time, and by no later failover', async () => {
    const processes = await Promise.all([1, 2].map(() => connectAsOneProcess(lab)));
    const lost = processes.map(lostOf);
    await lab.primary.query(`DELETE FROM account; INSERT INTO account VALUES ('a', 0)`);
    await loseFromHere(lab, async () => {
      for (let i = 0; i < 5; i++) {
        for (const one of processes)
          await one.query(`UPDATE account SET balance = balance + 1 WHERE id = 'a'`);
      }
    });
    await Promise.all(processes.map((one) => one.query('SELECT')));
    expect(lost.map((events) => events.map(({ outcome }) => outcome))).toEqual([
      Array.from({ length: 5 }, () => 'reapplied'),
      Array.from({ length: 5 }, () => 'reapplied'),
    ]);
    expect(await balances()).toEqual([10]);
    await lab.cluster.rejoin(lab.cluster.nodes.find((node) => node !== lab.primary)!);
    await lab.replacePrimary();
    await Promise.all(processes.map((one) => one.query('SELECT')));
    expect(lost.flat()).toHaveLength(10);
    expect(await balances()).toEqual([10]);
  });
});
