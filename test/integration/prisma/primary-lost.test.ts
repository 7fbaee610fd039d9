import { describe, expect, it } from 'vitest';
import type { FailoverEventMap, FailoverEvents } from '../../../src/events.ts';
import { loseAnswers, onMessage } from '../../support/on-message.ts';
import { PrismaLab } from '../../support/prisma-lab.ts';
import { waitFor } from '../../support/wait-for.ts';

/** Prisma's promises of queries begin when somebody waits for them. */
async function begun<T>(query: PromiseLike<T>): Promise<T> {
  return await query;
}

function noted(events: FailoverEvents, name: keyof FailoverEventMap): unknown[] {
  const seen: unknown[] = [];
  events.on(name, (event: unknown) => {
    seen.push(event);
  });
  return seen;
}

describe('the primary is lost under a Prisma client', () => {
  const lab = PrismaLab.forThisSuite();
  const { servers } = lab;

  it('an open interactive transaction commits, and the application notices nothing', async () => {
    const { prisma, pool } = lab.client();
    const replays = noted(pool.failover!, 'replaySucceeded');
    const author = await prisma.$transaction(async (tx) => {
      const made = await tx.author.create({ data: { name: 'Ada' } });
      // Prisma makes its key and its `now()`, and reads them back.
      await tx.book.create({ data: { title: 'Letters', authorId: made.id } });
      expect(await tx.author.count()).toBe(1);
      await servers.replacePrimary();
      await tx.book.create({ data: { title: 'Notes', authorId: made.id } });
      return await tx.author.update({
        where: { id: made.id },
        data: { name: 'Ada L.' },
        include: { books: { orderBy: { title: 'asc' } } },
      });
    });
    expect(author).toMatchObject({ name: 'Ada L.', books: [{ title: 'Letters' }, { title: 'Notes' }] });
    expect(await lab.stored()).toEqual({ authors: ['Ada L.'], books: ['Letters', 'Notes'], tickets: [] });
    expect(pool.seen.isQuiet).toBe(true);
    expect(replays).toHaveLength(1);
    expect(pool.idleCount).toBe(1);
  });

  it('one with keys and times that the server has made goes on with them', async () => {
    const { prisma, pool } = lab.client();
    const replays = noted(pool.failover!, 'replaySucceeded');
    const made = await prisma.$transaction(async (tx) => {
      const tickets = await tx.ticket.createManyAndReturn({ data: [{ title: 'one' }, { title: 'two' }] });
      const [, two] = tickets;
      await servers.replacePrimary();
      const changed = await tx.ticket.update({ where: { id: two!.id }, data: { title: 'two, changed' } });
      return [tickets[0]!, changed, await tx.ticket.create({ data: { title: 'three' } })];
    });
    expect(await prisma.ticket.findMany({ orderBy: { id: 'asc' } })).toEqual(made);
    expect(replays).toHaveLength(1);
  });

  it('one that had done all its work commits', async () => {
    const { prisma } = lab.client();
    await prisma.$transaction(async (tx) => {
      await tx.author.create({ data: { name: 'Ada' } });
      await servers.replacePrimary();
    });
    expect((await lab.stored()).authors).toEqual(['Ada']);
  });

  it('one that fails afterwards is rolled back', async () => {
    const { prisma, pool } = lab.client();
    const failed = prisma.$transaction(async (tx) => {
      await tx.author.create({ data: { name: 'Ada' } });
      await servers.replacePrimary();
      await tx.author.create({ data: { name: 'Ada' } });
    });
    await expect(failed).rejects.toMatchObject({ code: 'P2002' });
    expect((await lab.stored()).authors).toEqual([]);
    expect(pool.idleCount).toBe(1);
    expect(await prisma.author.count()).toBe(0);
  });

  it('a nested transaction keeps what it had undone and what it had not', async () => {
    const { prisma } = lab.client();
    await prisma.$transaction(async (tx) => {
      await tx.author.create({ data: { name: 'outer' } });
      await tx
        .$transaction(async (inner) => {
          await inner.author.create({ data: { name: 'undone' } });
          throw new Error('enough');
        })
        .catch(() => undefined);
      await tx.$transaction(async (inner) => {
        await inner.author.create({ data: { name: 'inner' } });
        await servers.replacePrimary();
        await inner.author.create({ data: { name: 'inner too' } });
      });
      await tx.author.create({ data: { name: 'outer too' } });
    });
    expect((await lab.stored()).authors).toEqual(['inner', 'inner too', 'outer', 'outer too']);
  });

  it('a batch is written once', async () => {
    const { prisma, pool } = lab.client();
    await prisma.author.count();
    const lost = onMessage(servers.proxy, { from: 'server', type: 'C', text: 'INSERT', after: 1 }, (from) =>
      loseAnswers(servers.proxy, from),
    );
    const batch = prisma.$transaction([
      prisma.author.create({ data: { name: 'a' } }),
      prisma.author.create({ data: { name: 'b' } }),
      prisma.author.createMany({ data: [{ name: 'c' }, { name: 'd' }] }),
    ]);
    await lost;
    await servers.replacePrimary();
    expect(await batch).toMatchObject([{ name: 'a' }, { name: 'b' }, { count: 2 }]);
    expect((await lab.stored()).authors).toEqual(['a', 'b', 'c', 'd']);
    expect(pool.seen.isQuiet).toBe(true);
  });

  it('a nested write is written once', async () => {
    const { prisma } = lab.client();
    await prisma.author.count();
    const lost = onMessage(servers.proxy, { from: 'server', type: 'C', text: 'INSERT', after: 1 }, (from) =>
      loseAnswers(servers.proxy, from),
    );
    const write = begun(
      prisma.author.create({
        data: { name: 'Ada', books: { create: [{ title: 'Notes' }, { title: 'Letters' }] } },
        include: { books: { orderBy: { title: 'asc' } } },
      }),
    );
    await lost;
    await servers.replacePrimary();
    expect(await write).toMatchObject({ name: 'Ada', books: [{ title: 'Letters' }, { title: 'Notes' }] });
    expect(await lab.stored()).toMatchObject({ authors: ['Ada'], books: ['Letters', 'Notes'] });
  });

  it('a COMMIT in flight that never arrived is sent again', async () => {
    const { prisma } = lab.client();
    const sent = onMessage(servers.proxy, { from: 'client', type: 'Q', text: 'COMMIT' }, 'drop');
    const work = prisma.$transaction(async (tx) => {
      await tx.author.create({ data: { name: 'Ada' } });
    });
    await sent;
    expect((await lab.stored()).authors).toEqual([]);
    await servers.replacePrimary();
    await work;
    expect((await lab.stored()).authors).toEqual(['Ada']);
  });

  it('a COMMIT in flight that took effect is not sent again', async () => {
    const { prisma, pool } = lab.client();
    const replays = noted(pool.failover!, 'replayStarted');
    const verdicts = noted(pool.failover!, 'commitResolved');
    const lost = onMessage(servers.proxy, { from: 'server', type: 'C', text: 'COMMIT' }, (from) =>
      loseAnswers(servers.proxy, from),
    );
    const work = prisma.$transaction(async (tx) => {
      await tx.author.create({ data: { name: 'Ada' } });
      await tx.ticket.create({ data: { title: 'one' } });
    });
    await lost;
    expect((await lab.stored()).authors).toEqual(['Ada']);
    await servers.replacePrimary();
    await work;
    expect(await lab.stored()).toEqual({ authors: ['Ada'], books: [], tickets: ['one'] });
    expect(verdicts).toMatchObject([{ outcome: 'committed' }]);
    expect(replays).toEqual([]);
  });

  it('a read in flight gives its rows', async () => {
    const { prisma } = lab.client();
    await prisma.author.createMany({ data: [{ name: 'a' }, { name: 'b' }] });
    const lost = onMessage(servers.proxy, { from: 'server', type: 'D', after: 1 }, (from) =>
      loseAnswers(servers.proxy, from),
    );
    const read = begun(prisma.author.findMany({ select: { name: true }, orderBy: { name: 'asc' } }));
    await lost;
    await servers.replacePrimary();
    expect(await read).toEqual([{ name: 'a' }, { name: 'b' }]);
  });

  it('an idle client goes on with its next query', async () => {
    const { prisma, pool } = lab.client();
    await prisma.author.create({ data: { name: 'Ada' } });
    await servers.replacePrimary();
    expect(await prisma.author.findMany({ select: { name: true } })).toEqual([{ name: 'Ada' }]);
    expect(pool.seen.isQuiet).toBe(true);
  });

  it('a transaction that begins while no server is there waits for one', async () => {
    const { prisma, pool } = lab.client();
    await prisma.author.count();
    await servers.killPrimary();
    const work = prisma.$transaction(async (tx) => {
      await tx.author.create({ data: { name: 'Ada' } });
    });
    await waitFor(() => pool.failover!.snapshot().waitingSessions === 1);
    await servers.cluster.failover();
    await work;
    expect((await lab.stored()).authors).toEqual(['Ada']);
  });

  it('many transactions at a time are each there once', async () => {
    const { prisma, pool } = lab.client({ max: 8 });
    const names = Array.from({ length: 24 }, (_, index) => `author ${String(index).padStart(2, '0')}`);
    let started = 0;
    const works = names.map(async (name) => {
      await prisma.$transaction(async (tx) => {
        const { id } = await tx.author.create({ data: { name } });
        started++;
        await tx.book.create({ data: { title: `of ${name}`, authorId: id } });
      });
    });
    await waitFor(() => started >= 4);
    await servers.replacePrimary();
    await Promise.all(works);
    expect(await lab.stored()).toMatchObject({
      authors: names,
      books: names.map((name) => `of ${name}`),
    });
    expect(pool.seen.isQuiet).toBe(true);
  });
});
