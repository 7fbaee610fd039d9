import { describe, expect, it } from 'vitest';
import {
  FailoverFailedError,
  InternalError,
  OutcomeUnknownError,
  ReplayDivergedError,
  ResultLostError,
  SessionClosedError,
  TransactionNotReplayableError,
} from '../../../src/errors.ts';
import { Pool } from '../../../src/pg.ts';
import { prismaAdapter } from '../../../src/prisma.ts';
import { Prisma, PrismaClient } from '../../support/prisma/generated/client.ts';
import { rejectionOf } from '../../support/settle.ts';

const REASON = 'what has happened';

/** What Prisma's users see of each error; P2034 is what their retry loops wait for. */
const ERRORS = [
  { error: new ReplayDivergedError(REASON), code: 'P2034', sqlState: '40001' },
  { error: new TransactionNotReplayableError(REASON), code: 'P2034', sqlState: '40001' },
  { error: new OutcomeUnknownError(REASON), code: 'P2039', sqlState: '08007' },
  { error: new ResultLostError(REASON), code: 'P2039', sqlState: '08007' },
  { error: new FailoverFailedError(REASON), code: 'P2039', sqlState: '08006' },
  { error: new SessionClosedError(REASON), code: 'P2039', sqlState: '08003' },
  { error: new InternalError(REASON), code: 'P2039', sqlState: 'XX000' },
].map((row) => ({ ...row, name: row.error.name }));

/** A Prisma client whose server answers all but what contains `text`, to which it gives this error. */
function clientThatFails(error: Error, text: string): PrismaClient {
  const query = async (config: { text: string }): Promise<object> => {
    if (config.text.includes(text)) throw error;
    return await Promise.resolve({ fields: [], rows: [], rowCount: 0 });
  };
  const connection = { query, on: ignore, removeListener: ignore, release: ignore };
  const pool = new Pool({ host: 'nowhere.invalid', user: 'nobody' });
  Object.assign(pool, { query, connect: async () => await Promise.resolve(connection) });
  return new PrismaClient({ adapter: prismaAdapter(pool) });
}

function ignore(): void {
  return;
}

describe.each(ERRORS)('$name in Prisma', ({ error, code, sqlState }) => {
  const seen = {
    name: 'PrismaClientKnownRequestError',
    code,
    meta: {
      driverAdapterError: { cause: { originalCode: sqlState, originalMessage: REASON } },
    },
  };

  async function expectSeen(work: Promise<unknown>, expected: object = seen): Promise<void> {
    const rejection = await rejectionOf(work);
    expect(rejection).toBeInstanceOf(Prisma.PrismaClientKnownRequestError);
    expect(rejection).toMatchObject(expected);
  }

  it(`is ${code} for a query`, async () => {
    const prisma = clientThatFails(error, 'SELECT');
    await expectSeen(prisma.author.count());
    await expectSeen(prisma.$transaction(async (tx) => await tx.author.count()));
    await expectSeen(prisma.$transaction([prisma.author.count()]));
  });

  it(`is ${code} for COMMIT`, async () => {
    const prisma = clientThatFails(error, 'COMMIT');
    await expectSeen(prisma.$transaction(async (tx) => await tx.author.findMany()));
    // A batch of one is a query of its own, without BEGIN and COMMIT.
    await expectSeen(prisma.$transaction([prisma.author.findMany(), prisma.book.findMany()]));
  });

  it.each(['SAVEPOINT', 'RELEASE'])(`is ${code} for %s`, async (text) => {
    const prisma = clientThatFails(error, text);
    const work = prisma.$transaction(
      async (tx) => await tx.$transaction(async (nested) => await nested.author.findMany()),
    );
    await expectSeen(work);
  });

  it(`is ${code} for BEGIN`, async () => {
    const prisma = clientThatFails(error, 'BEGIN');
    await expectSeen(prisma.$transaction(async (tx) => await tx.author.findMany()));
  });

  it('is P2010 for a raw query, as every error', async () => {
    const prisma = clientThatFails(error, 'SELECT');
    await expectSeen(prisma.$queryRaw`SELECT 1`, { ...seen, code: 'P2010' });
  });
});

it('what the server says at COMMIT and Prisma has another code for is left as it was', async () => {
  const violation = Object.assign(new Error('duplicate key'), {
    code: '23505',
    severity: 'ERROR',
    constraint: 'author_name_key',
  });
  const prisma = clientThatFails(violation, 'COMMIT');
  const rejection = await rejectionOf(prisma.$transaction(async (tx) => await tx.author.findMany()));
  expect(rejection).toMatchObject({
    name: 'DriverAdapterError',
    cause: { kind: 'UniqueConstraintViolation' },
  });
});
