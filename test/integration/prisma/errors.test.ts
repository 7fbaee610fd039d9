import { PrismaPg } from '@prisma/adapter-pg';
import type pg from 'pg';
import { describe, expect, it } from 'vitest';
import { loseAnswers, onMessage } from '../../support/on-message.ts';
import { Prisma, type PrismaClient } from '../../support/prisma/generated/client.ts';
import { PrismaLab } from '../../support/prisma-lab.ts';
import { rejectionOf } from '../../support/settle.ts';
import { unpinnableKey } from '../../support/unpinnable-key.ts';

/** The loop of the guide. */
async function retrying<T>(work: () => Promise<T>, rounds: { count: number }): Promise<T> {
  for (;;) {
    rounds.count++;
    try {
      return await work();
    } catch (error) {
      const isConflict = error instanceof Prisma.PrismaClientKnownRequestError && error.code === 'P2034';
      if (!isConflict || rounds.count === 5) throw error;
    }
  }
}

describe('a transaction whose replay finds something else', () => {
  const lab = PrismaLab.forThisSuite({ setUp: unpinnableKey('"Ticket"') });
  const { servers } = lab;

  // A function that somebody has made is called again, and a sequence is ahead on the promoted standby.
  it('is P2034 where a function made a key, and is there once when it is run again', async () => {
    const { prisma, pool } = lab.client();
    const rounds = { count: 0 };
    const ticket = await retrying(
      async () =>
        await prisma.$transaction(async (tx) => {
          const made = await tx.ticket.create({ data: { title: 'one' } });
          if (rounds.count === 1) await servers.replacePrimary();
          return await tx.ticket.update({ where: { id: made.id }, data: { title: 'one, changed' } });
        }),
      rounds,
    );
    expect(rounds.count).toBe(2);
    expect(ticket).toMatchObject({ title: 'one, changed' });
    expect((await lab.stored()).tickets).toEqual(['one, changed']);
    expect(pool.seen.isQuiet).toBe(true);
  });

  it('is P2034 also if only COMMIT is left to do', async () => {
    const { prisma } = lab.client();
    const rounds = { count: 0 };
    await retrying(async () => {
      await prisma.$transaction(async (tx) => {
        await tx.ticket.create({ data: { title: 'one' } });
        if (rounds.count === 1) await servers.replacePrimary();
      });
    }, rounds);
    expect(rounds.count).toBe(2);
    expect((await lab.stored()).tickets).toEqual(['one']);
  });

  it('is P2034 also if a savepoint is next', async () => {
    const { prisma } = lab.client();
    const rounds = { count: 0 };
    await retrying(async () => {
      await prisma.$transaction(async (tx) => {
        await tx.ticket.create({ data: { title: 'one' } });
        if (rounds.count === 1) await servers.replacePrimary();
        await tx.$transaction(async (nested) => {
          await nested.ticket.create({ data: { title: 'two' } });
        });
      });
    }, rounds);
    expect(rounds.count).toBe(2);
    expect((await lab.stored()).tickets).toEqual(['one', 'two']);
  });

  it('is P2034 for a batch', async () => {
    const { prisma } = lab.client();
    const rounds = { count: 0 };
    await prisma.ticket.count();
    const kill = onMessage(servers.proxy, { from: 'client', type: 'Q', text: 'COMMIT' }, 'drop').then(
      async () => {
        await servers.replacePrimary();
      },
    );
    await retrying(
      async () =>
        await prisma.$transaction([
          prisma.ticket.create({ data: { title: 'one' } }),
          prisma.ticket.create({ data: { title: 'two' } }),
        ]),
      rounds,
    );
    await kill;
    expect(rounds.count).toBe(2);
    expect((await lab.stored()).tickets).toEqual(['one', 'two']);
  });

  it('goes on where the key was not read', async () => {
    const { prisma } = lab.client();
    await prisma.$transaction(async (tx) => {
      await tx.ticket.createMany({ data: [{ title: 'one' }, { title: 'two' }] });
      await servers.replacePrimary();
    });
    expect((await lab.stored()).tickets).toEqual(['one', 'two']);
  });

  it('does not commit what is left if the application goes on behind the error', async () => {
    const { prisma, pool } = lab.client();
    const work = prisma.$transaction(async (tx) => {
      await tx.ticket.create({ data: { title: 'one' } });
      await servers.replacePrimary();
      expect(await rejectionOf(tx.author.count())).toMatchObject({ code: 'P2034' });
      expect(await rejectionOf(tx.author.create({ data: { name: 'Ada' } }))).toMatchObject({ code: 'P2039' });
    });
    await expect(work).rejects.toMatchObject({ code: 'P2034' });
    expect(await lab.stored()).toEqual({ authors: [], books: [], tickets: [] });
    expect(pool.idleCount).toBe(pool.totalCount);
    expect(await prisma.ticket.count()).toBe(0);
  });

  it('is P2010 in a raw query, with the SQLSTATE', async () => {
    const { prisma } = lab.client();
    const work = prisma.$transaction(async (tx) => {
      await tx.ticket.create({ data: { title: 'one' } });
      await servers.replacePrimary();
      await tx.$queryRaw`SELECT 1`;
    });
    expect(await rejectionOf(work)).toMatchObject({
      code: 'P2010',
      meta: { driverAdapterError: { cause: { originalCode: '40001', kind: 'TransactionWriteConflict' } } },
    });
  });
});

describe('a write whose outcome nobody knows', () => {
  const lab = PrismaLab.forThisSuite();
  const { servers } = lab;

  it('is P2039 with 08007 outside of a transaction, not sent again, and no retry loop takes it', async () => {
    const { prisma } = lab.client();
    await prisma.author.count();
    const lost = onMessage(servers.proxy, { from: 'server', type: 'C', text: 'INSERT' }, (from) =>
      loseAnswers(servers.proxy, from),
    );
    const rounds = { count: 0 };
    const write = rejectionOf(
      retrying(async () => await prisma.ticket.create({ data: { title: 'one' } }), rounds),
    );
    await lost;
    await servers.replacePrimary();
    expect(await write).toMatchObject({
      code: 'P2039',
      meta: { driverAdapterError: { cause: { kind: 'postgres', originalCode: '08007' } } },
    });
    expect(rounds.count).toBe(1);
    expect((await lab.stored()).tickets).toEqual(['one']);
  });

  it('is the same for a COMMIT, which no retry loop takes', async () => {
    // The old server comes back by itself and says "committed": two crashes look like one.
    const { prisma } = lab.client();
    const lost = onMessage(servers.proxy, { from: 'server', type: 'C', text: 'COMMIT' }, (from) =>
      loseAnswers(servers.proxy, from),
    );
    const rounds = { count: 0 };
    const work = rejectionOf(
      retrying(async () => {
        await prisma.$transaction(async (tx) => {
          await tx.author.create({ data: { name: 'Ada' } });
        });
      }, rounds),
    );
    await lost;
    await servers.primary.kill();
    await servers.primary.start();
    const error = await work;
    expect(error).toBeInstanceOf(Prisma.PrismaClientKnownRequestError);
    expect(error).toMatchObject({
      code: 'P2039',
      meta: { driverAdapterError: { cause: { kind: 'postgres', originalCode: '08007' } } },
    });
    expect(rounds.count).toBe(1);
    expect((await lab.stored()).authors).toEqual(['Ada']);
    expect(await prisma.author.count()).toBe(1);
  });
});

describe('no server is found in time', () => {
  const lab = PrismaLab.forThisSuite({ standbys: 0 });
  const { servers } = lab;

  it('is P2039 with 08006; nothing is written, and the client goes on when a server is back', async () => {
    const { prisma, pool } = lab.client({ failover: { timeoutMillis: 800 } });
    const work = prisma.$transaction(async (tx) => {
      await tx.author.create({ data: { name: 'Ada' } });
      await servers.primary.kill();
      await tx.author.create({ data: { name: 'Eve' } });
    });
    expect(await rejectionOf(work)).toMatchObject({
      code: 'P2039',
      meta: { driverAdapterError: { cause: { kind: 'postgres', originalCode: '08006' } } },
    });
    expect(await rejectionOf(prisma.author.count())).toMatchObject({
      code: 'P2039',
      meta: { driverAdapterError: { cause: { originalCode: '08006' } } },
    });
    await servers.primary.start();
    expect(await prisma.author.count()).toBe(0);
    expect(pool.idleCount).toBe(pool.totalCount);
  });
});

describe('a serialization failure that the server finds at COMMIT', () => {
  const lab = PrismaLab.forThisSuite({ standbys: 0 });

  async function conflict(prisma: PrismaClient): Promise<Error> {
    const options = { isolationLevel: 'Serializable' } as const;
    return await rejectionOf(
      prisma.$transaction(async (tx) => {
        await tx.ticket.create({ data: { title: `behind ${await tx.ticket.count()}` } });
        await prisma.$transaction(async (other) => {
          await other.ticket.create({ data: { title: `behind ${await other.ticket.count()}` } });
        }, options);
      }, options),
    );
  }

  it('is P2034, as Prisma documents it', async () => {
    const error = await conflict(lab.client().prisma);
    expect(error).toBeInstanceOf(Prisma.PrismaClientKnownRequestError);
    expect(error).toMatchObject({ code: 'P2034', name: 'PrismaClientKnownRequestError' });
    expect((await lab.stored()).tickets).toHaveLength(1);
  });

  it('is what the adapter threw, without a code, with PrismaPg alone', async () => {
    const config = lab.servers.primary.connectionConfig() as pg.PoolConfig;
    const error = await conflict(lab.clientOn(new PrismaPg(config)));
    expect(error).toMatchObject({ name: 'DriverAdapterError', cause: { kind: 'TransactionWriteConflict' } });
    expect(error).not.toHaveProperty('code');
  });
});
