import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { onMessage } from '../../support/on-message.ts';
import { PrismaLab } from '../../support/prisma-lab.ts';
import { rejectionOf } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

/** Prisma's own: `maxWait` 2 s for a transaction to begin, `timeout` 5 s for it to end. */
const DEFAULTS = {};

describe("a failover takes longer than Prisma's limits for a transaction", () => {
  const lab = PrismaLab.forThisSuite();
  const { servers } = lab;

  it('maxWait: P2028 without running the function, and the connection that comes late is given back', async () => {
    const { prisma, pool } = lab.client({ max: 1 }, DEFAULTS);
    await prisma.author.count();
    await servers.killPrimary();
    let runs = 0;
    const work = async (): Promise<void> => {
      await prisma.$transaction(async (tx) => {
        runs++;
        await tx.author.create({ data: { name: 'Ada' } });
      });
    };
    expect(await rejectionOf(work())).toMatchObject({ code: 'P2028' });
    expect(runs).toBe(0);
    await servers.cluster.failover();
    await waitFor(() => pool.idleCount === 1 && pool.totalCount === 1);
    await work();
    expect(runs).toBe(1);
    expect((await lab.stored()).authors).toEqual(['Ada']);
    expect(await openTransactions()).toBe(0);
    expect(pool.seen.isQuiet).toBe(true);
  });

  it('timeout: P2028 when the server is back, with everything rolled back and the connection given back', async () => {
    const { prisma, pool } = lab.client({ max: 1 }, DEFAULTS);
    const statements: string[] = [];
    const work = rejectionOf(
      prisma.$transaction(async (tx) => {
        await tx.author.create({ data: { name: 'Ada' } });
        await servers.killPrimary();
        await tx.author.create({ data: { name: 'Eve' } });
        statements.push('second');
        await tx.author.create({ data: { name: 'Mallory' } });
        statements.push('third');
      }),
    );
    await waitFor(() => pool.failover!.snapshot().waitingSessions === 1);
    await sleep(5_500);
    await servers.cluster.failover();
    expect(await work).toMatchObject({ code: 'P2028' });
    expect(statements).not.toContain('third');
    await waitFor(() => pool.idleCount === 1 && pool.totalCount === 1);
    expect((await lab.stored()).authors).toEqual([]);
    expect(await openTransactions()).toBe(0);
    await prisma.author.create({ data: { name: 'later' } });
    expect((await lab.stored()).authors).toEqual(['later']);
    expect(pool.seen.isQuiet).toBe(true);
  });

  it('timeout, with COMMIT in flight: it is waited for, and commits once', async () => {
    const { prisma } = lab.client({}, { transactionOptions: { maxWait: 2_000, timeout: 1_000 } });
    await prisma.author.count();
    const sent = onMessage(servers.proxy, { from: 'client', type: 'Q', text: 'COMMIT' }, 'drop');
    const work = prisma.$transaction(async (tx) => {
      await tx.author.create({ data: { name: 'Ada' } });
    });
    await sent;
    await servers.killPrimary();
    await sleep(1_500);
    await servers.cluster.failover();
    await work;
    expect((await lab.stored()).authors).toEqual(['Ada']);
    expect(await openTransactions()).toBe(0);
  });

  it('limits above that of the failover: the application notices nothing', async () => {
    const { prisma } = lab.client();
    await prisma.author.count();
    const work = prisma.$transaction(async (tx) => {
      await tx.author.create({ data: { name: 'Ada' } });
      await servers.killPrimary();
      await tx.author.create({ data: { name: 'Eve' } });
    });
    await waitFor(() => !servers.primary.isRunning);
    await sleep(5_500);
    await servers.cluster.failover();
    await work;
    expect((await lab.stored()).authors).toEqual(['Ada', 'Eve']);
  });

  async function openTransactions(): Promise<number> {
    const { rows } = await servers.primary.query<{ count: number }>(
      `SELECT count(*)::int FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'`,
    );
    return rows[0]!.count;
  }
});
