import { createHash } from 'node:crypto';
import { PrismaPg } from '@prisma/adapter-pg';
import { beforeEach, describe, expect, it } from 'vitest';
import { prismaAdapter, type PrismaAdapterFactory } from '../../../src/prisma.ts';
import { Prisma, type PrismaClient } from '../../support/prisma/generated/client.ts';
import { PrismaLab } from '../../support/prisma-lab.ts';
import { rejectionOf } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

const lab = PrismaLab.forThisSuite();
const { servers } = lab;

/** The same assertions hold for Prisma's own adapter on stock pg and for ours. */
const ADAPTERS: readonly { readonly name: string; readonly make: () => PrismaAdapterFactory }[] = [
  {
    name: 'PrismaPg on stock pg',
    make: () => new PrismaPg(servers.primary.connectionConfig()),
  },
  { name: 'prismaAdapter(pool)', make: () => prismaAdapter(servers.pool()) },
  {
    name: 'prismaAdapter(configuration)',
    make: () => prismaAdapter({ connectionString: servers.connectionString(), max: 4 }),
  },
  { name: 'prismaAdapter(connection string)', make: () => prismaAdapter(servers.connectionString()) },
  {
    name: 'prismaAdapter(pool with named statements)',
    make: () =>
      prismaAdapter(servers.pool(), {
        statementNameGenerator: ({ sql }) => createHash('md5').update(sql).digest('hex'),
      }),
  },
];

describe.each(ADAPTERS)('a Prisma client with $name', ({ make }) => {
  let prisma: PrismaClient;
  beforeEach(() => {
    prisma = lab.clientOn(make());
  });

  it('creates, reads, updates and deletes', async () => {
    const { id } = await prisma.author.create({ data: { name: 'Ada' } });
    expect(id).toMatch(/^[0-9a-f-]{36}$/);
    expect(await prisma.author.findUniqueOrThrow({ where: { id } })).toEqual({ id, name: 'Ada' });
    await prisma.author.upsert({ where: { id }, create: { name: 'new' }, update: { name: 'Ada L.' } });
    expect(await prisma.author.updateMany({ data: { name: 'A. L.' } })).toEqual({ count: 1 });
    expect(await prisma.author.delete({ where: { id } })).toEqual({ id, name: 'A. L.' });
    expect(await prisma.author.count()).toBe(0);
  });

  it('keeps values of all kinds', async () => {
    const values = {
      title: "it's",
      pages: 9_007_199_254_740_993n,
      price: new Prisma.Decimal('12.345678901234567890'),
      tags: ['a', 'b,c', ''],
      details: { ü: [1, null, { deep: true }] },
      scan: new Uint8Array([0, 1, 255]),
      printed: new Date('1843-08-01T12:00:00.123Z'),
    };
    await prisma.author.create({ data: { name: 'Ada', books: { create: values } } });
    const { price, ...others } = await prisma.book.findFirstOrThrow({
      omit: { id: true, authorId: true, added: true },
    });
    expect(price.equals(values.price)).toBe(true);
    expect({ ...others, scan: Array.from(others.scan!) }).toEqual({
      ...values,
      price: undefined,
      scan: [0, 1, 255],
    });
  });

  it('reads relations, and writes them in one transaction', async () => {
    await prisma.author.create({
      data: { name: 'Ada', books: { create: [{ title: 'b' }, { title: 'a' }] } },
    });
    const read = await prisma.author.findMany({
      select: { name: true, books: { select: { title: true }, orderBy: { title: 'asc' } } },
    });
    expect(read).toEqual([{ name: 'Ada', books: [{ title: 'a' }, { title: 'b' }] }]);
    const failed = prisma.author.create({
      data: { name: 'Eve', books: { connect: { id: 'there is none' } } },
    });
    await expect(failed).rejects.toMatchObject({ code: 'P2018' });
    expect((await lab.stored()).authors).toEqual(['Ada']);
  });

  it('commits an interactive transaction, and rolls one back', async () => {
    await prisma.$transaction(async (tx) => {
      await tx.author.create({ data: { name: 'kept' } });
      expect(await prisma.author.count()).toBe(0);
    });
    const failed = prisma.$transaction(async (tx) => {
      await tx.author.create({ data: { name: 'undone' } });
      throw new Error('enough');
    });
    await expect(failed).rejects.toThrow('enough');
    expect((await lab.stored()).authors).toEqual(['kept']);
  });

  it('rolls a nested transaction back to its savepoint', async () => {
    await prisma.$transaction(async (tx) => {
      await tx.author.create({ data: { name: 'outer' } });
      const inner = tx.$transaction(async (nested) => {
        await nested.author.create({ data: { name: 'inner' } });
        await nested.author.create({ data: { name: 'outer' } });
      });
      await expect(inner).rejects.toMatchObject({ code: 'P2002' });
      await tx.$transaction(async (nested) => {
        await nested.author.create({ data: { name: 'second' } });
      });
    });
    expect((await lab.stored()).authors).toEqual(['outer', 'second']);
  });

  it('writes a batch as a whole or not at all', async () => {
    await prisma.$transaction([
      prisma.author.create({ data: { name: 'a' } }),
      prisma.author.create({ data: { name: 'b' } }),
    ]);
    const failed = prisma.$transaction([
      prisma.author.create({ data: { name: 'c' } }),
      prisma.author.create({ data: { name: 'a' } }),
    ]);
    await expect(failed).rejects.toMatchObject({ code: 'P2002' });
    expect((await lab.stored()).authors).toEqual(['a', 'b']);
  });

  it('runs raw queries', async () => {
    const name = 'Ada';
    expect(await prisma.$executeRaw`INSERT INTO "Author" VALUES ('1', ${name})`).toBe(1);
    expect(await prisma.$queryRaw`SELECT id, name FROM "Author" WHERE name = ${name}`).toEqual([
      { id: '1', name },
    ]);
    const error = await rejectionOf(prisma.$queryRaw`SELECT 1 / 0 AS never`);
    expect(error).toMatchObject({
      code: 'P2010',
      meta: { driverAdapterError: { cause: { originalCode: '22012' } } },
    });
  });

  it.each(['ReadCommitted', 'RepeatableRead', 'Serializable'] as const)(
    'has the isolation level %s',
    async (isolationLevel) => {
      const shown = await prisma.$transaction(
        async (tx) =>
          await tx.$queryRaw`SELECT replace(initcap(current_setting('transaction_isolation')), ' ', '') AS level`,
        { isolationLevel },
      );
      expect(shown).toEqual([{ level: isolationLevel }]);
    },
  );
});

describe('$disconnect()', () => {
  it('ends the pool that was made for the client, and the next query makes another one', async () => {
    const prisma = lab.clientOn(prismaAdapter(servers.connectionString()));
    for (let round = 1; round <= 2; round++) {
      await prisma.author.create({ data: { name: `round ${round}` } });
      await prisma.$disconnect();
      await waitFor(async () => (await backends()) === 0);
    }
    expect((await lab.stored()).authors).toEqual(['round 1', 'round 2']);
  });

  it('two clients of one adapter have each their own', async () => {
    const adapter = prismaAdapter(servers.connectionString());
    const [one, other] = [lab.clientOn(adapter), lab.clientOn(adapter)];
    await Promise.all([one.author.count(), other.author.count()]);
    expect(await backends()).toBe(2);
    await one.$disconnect();
    expect(await other.author.count()).toBe(0);
  });

  it('leaves the application its pool', async () => {
    const pool = servers.pool();
    const prisma = lab.clientOn(prismaAdapter(pool));
    await prisma.author.count();
    await prisma.$disconnect();
    expect((await pool.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    expect(await prisma.author.count()).toBe(0);
    expect(pool.listenerCount('error')).toBe(2);
    await prisma.$disconnect();
    expect(pool.listenerCount('error')).toBe(1);
  });

  it('ends it with disposeExternalPool, and the next query does not go elsewhere', async () => {
    const pool = servers.pool();
    const prisma = lab.clientOn(prismaAdapter(pool, { disposeExternalPool: true }));
    await prisma.author.count();
    await prisma.$disconnect();
    expect(pool.ended).toBe(true);
    const error = await rejectionOf(prisma.author.count());
    expect(error.message).toContain('the pool of this Prisma client has ended');
  });

  async function backends(): Promise<number> {
    const { rows } = await servers.primary.query<{ count: number }>(
      `SELECT count(*)::int FROM pg_stat_activity WHERE usename = 'app' AND pid <> pg_backend_pid()`,
    );
    return rows[0]!.count;
  }
});
