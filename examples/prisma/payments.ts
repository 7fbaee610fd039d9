/** A hundred payments in interactive transactions; kill the primary while it runs. First: npx prisma generate */
import { prismaAdapter } from 'holdfast/prisma'; // was: PrismaPg from '@prisma/adapter-pg'
import { Prisma, PrismaClient } from './generated/client.ts';

// All hosts of the cluster, as libpq spells it: postgres://app:secret@db1,db2,db3/app?target_session_attrs=read-write
const prisma = new PrismaClient({
  adapter: prismaAdapter(process.env['DATABASE_URL'] ?? ''),
  // Prisma's own limits of 2 s and 5 s are shorter than most failovers.
  transactionOptions: { maxWait: 40_000, timeout: 60_000 },
});

/** P2034 says that nothing took effect. No other error does: look before you run those again. */
async function retrying<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      const isConflict = error instanceof Prisma.PrismaClientKnownRequestError && error.code === 'P2034';
      if (!isConflict || attempt === 5) throw error;
    }
  }
}

async function pay(from: string, to: string, amount: number): Promise<void> {
  await prisma.$transaction(async (tx) => {
    const payer = await tx.account.update({ where: { id: from }, data: { balance: { decrement: amount } } });
    if (payer.balance < 0) throw new Error('not enough money');
    await new Promise((resolve) => setTimeout(resolve, 10)); // Kill the primary here, for instance.
    await tx.payment.create({ data: { accountId: to, amount } });
    await tx.account.update({ where: { id: to }, data: { balance: { increment: amount } } });
  });
}

// What `prisma migrate` makes of the schema.
await prisma.$executeRaw`CREATE TABLE IF NOT EXISTS "Account" (id text PRIMARY KEY, balance int NOT NULL)`;
await prisma.$executeRaw`CREATE TABLE IF NOT EXISTS "Payment" (
  id text PRIMARY KEY, "accountId" text NOT NULL REFERENCES "Account", amount int NOT NULL)`;
await prisma.account.createMany({
  data: [
    { id: 'shop', balance: 0 },
    { id: 'customer', balance: 100 },
  ],
});
for (let count = 1; count <= 100; count++) {
  await retrying(async () => {
    await pay('customer', 'shop', 1);
  });
}
console.log(await prisma.account.findMany({ orderBy: { id: 'asc' } }), await prisma.payment.count());
await prisma.$disconnect();
