import { afterEach, beforeEach } from 'vitest';
import type { PoolConfig } from '../../src/pg.ts';
import { prismaAdapter, type PrismaAdapterFactory } from '../../src/prisma.ts';
import { PrismaClient } from './prisma/generated/client.ts';
import { FailoverLab, type FailoverLabOptions, type WatchedPool } from './failover-lab.ts';

/** The tables of test/support/prisma/schema.prisma. */
const TABLES = `
  CREATE TABLE "Author" (id text PRIMARY KEY, name text NOT NULL UNIQUE);
  CREATE TABLE "Book" (
    id text PRIMARY KEY,
    title text NOT NULL,
    pages bigint NOT NULL DEFAULT 0,
    price numeric(65, 30) NOT NULL DEFAULT 0,
    tags text[],
    details jsonb,
    scan bytea,
    printed timestamp(3),
    added timestamp(3) NOT NULL DEFAULT current_timestamp,
    "authorId" text NOT NULL REFERENCES "Author"
  );
  CREATE TABLE "Ticket" (id serial PRIMARY KEY, title text NOT NULL);`;

/** As long as a failover may take, and more: what the guide recommends. */
export const PATIENT = { maxWait: 40_000, timeout: 60_000 };

export type PrismaOptions = Omit<ConstructorParameters<typeof PrismaClient>[0], 'adapter' | 'accelerateUrl'>;

/** A failover lab whose application uses Prisma. */
export class PrismaLab {
  readonly servers: FailoverLab;
  #clients: PrismaClient[] = [];

  private constructor(servers: FailoverLab) {
    this.servers = servers;
  }

  /** As `FailoverLab.forThisSuite`; the tables are empty before each test. */
  static forThisSuite({ setUp = '', ...options }: FailoverLabOptions = {}): PrismaLab {
    const lab = new PrismaLab(FailoverLab.forThisSuite({ ...options, setUp: `${TABLES} ${setUp}` }));
    beforeEach(async () => {
      await lab.servers.primary.query('TRUNCATE "Book", "Author", "Ticket"');
      await lab.servers.cluster.waitForReplay();
    });
    afterEach(async () => {
      const clients = lab.#clients;
      lab.#clients = [];
      await Promise.all(
        clients.map(async (client) => {
          await client.$disconnect().catch(() => undefined);
        }),
      );
    });
    return lab;
  }

  /** A client on a pool of its own. */
  client(
    config: PoolConfig = {},
    options: PrismaOptions = { transactionOptions: PATIENT },
  ): { readonly prisma: PrismaClient; readonly pool: WatchedPool } {
    const pool = this.servers.pool(config);
    return { prisma: this.clientOn(prismaAdapter(pool), options), pool };
  }

  clientOn(
    adapter: PrismaAdapterFactory,
    options: PrismaOptions = { transactionOptions: PATIENT },
  ): PrismaClient {
    const prisma = new PrismaClient({ adapter, ...options });
    this.#clients.push(prisma);
    return prisma;
  }

  /** What is in the tables now, as another session sees it. */
  async stored(): Promise<{ authors: string[]; books: string[]; tickets: string[] }> {
    const { rows } = await this.servers.primary.query<{
      authors: string[];
      books: string[];
      tickets: string[];
    }>(
      `SELECT ARRAY (SELECT name FROM "Author" ORDER BY name) AS authors,
         ARRAY (SELECT title FROM "Book" ORDER BY title) AS books,
         ARRAY (SELECT title FROM "Ticket" ORDER BY title) AS tickets`,
    );
    return rows[0]!;
  }
}
