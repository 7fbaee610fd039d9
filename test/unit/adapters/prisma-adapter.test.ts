import { cp, mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { PrismaPg } from '@prisma/adapter-pg';
import stock from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectOver } from '../../../src/adapters/prisma-adapter.ts';
import { ConfigurationError, InternalError } from '../../../src/errors.ts';
import { FailoverEvents } from '../../../src/events.ts';
import { Client, Pool } from '../../../src/pg.ts';
import { prismaAdapter } from '../../../src/prisma.ts';

const require = createRequire(import.meta.url);

/** Looks for a server only when it is asked to; nobody asks it here. */
const NOWHERE = { host: 'nowhere.invalid', user: 'nobody' };

function thrownBy(make: () => unknown): unknown {
  try {
    make();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

describe('what prismaAdapter takes', () => {
  it('takes a pool of ours', async () => {
    const pool = new Pool(NOWHERE);
    const adapter = await prismaAdapter(pool).connect();
    expect(adapter.underlyingDriver()).toBe(pool);
  });

  it('takes a pool of ours whose failover was switched off', async () => {
    const pool = new Pool({ ...NOWHERE, failover: false });
    expect((await prismaAdapter(pool).connect()).underlyingDriver()).toBe(pool);
  });

  it.each([
    ['a connection string', 'postgres://app@db1,db2:5433/app'],
    ['a configuration', { host: 'db1,db2', user: 'app' }],
  ])('makes a pool of ours of %s with several hosts', async (_name, source) => {
    const adapter = await prismaAdapter(source).connect();
    const pool = adapter.underlyingDriver();
    expect(pool).toBeInstanceOf(Pool);
    expect((pool as { failover?: unknown }).failover).toBeInstanceOf(FailoverEvents);
  });

  it('refuses a pool of stock pg, which would have no failover', () => {
    const error = thrownBy(() => prismaAdapter(new stock.Pool(NOWHERE) as never));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect((error as Error).message).toContain("'holdfast/pg'");
  });

  it('refuses bad settings at once', () => {
    const options = { timeoutMilis: 1 } as object;
    expect(thrownBy(() => prismaAdapter({ ...NOWHERE, failover: options }))).toBeInstanceOf(
      ConfigurationError,
    );
  });

  it.each([
    ['nothing', undefined],
    ['null', null],
    ['a number', 5432],
    ['a function', () => new Pool(NOWHERE)],
    ['a client', new Client(NOWHERE)],
    ['an adapter', new PrismaPg(NOWHERE)],
  ])('refuses %s', (_name, source) => {
    expect(thrownBy(() => prismaAdapter(source as never))).toBeInstanceOf(ConfigurationError);
  });
});

describe('a second copy of pg below the adapter', () => {
  let directory = '';
  let foreign: { readonly PrismaPg: typeof PrismaPg; readonly pg: typeof stock };

  /** As a package manager installs them where versions are pinned: real copies, with their dependencies beside them. */
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'holdfast-second-copy-'));
    const modules = join(directory, 'node_modules');
    await mkdir(join(modules, '@prisma'), { recursive: true });
    const installed = dirname(dirname(require.resolve('pg/package.json')));
    for (const name of ['pg', '@prisma/adapter-pg']) {
      await cp(join(installed, name), join(modules, name), { recursive: true });
    }
    for (const name of ['pg-pool', 'pg-protocol', 'pg-types', 'pg-connection-string', 'pgpass']) {
      await symlink(join(installed, name), join(modules, name));
    }
    for (const name of ['driver-adapter-utils', 'debug']) {
      await symlink(join(installed, '@prisma', name), join(modules, '@prisma', name));
    }
    const requireThere = createRequire(join(directory, 'index.js'));
    foreign = {
      PrismaPg: (requireThere('@prisma/adapter-pg') as { PrismaPg: typeof PrismaPg }).PrismaPg,
      pg: requireThere('pg') as typeof stock,
    };
  });
  afterAll(async () => {
    await rm(directory, { recursive: true, force: true });
  });

  it('makes PrismaPg alone connect elsewhere, which is the trap', async () => {
    const pool = new Pool(NOWHERE);
    expect(pool).not.toBeInstanceOf(foreign.pg.Pool);
    const adapter = await new foreign.PrismaPg(pool).connect();
    expect(adapter.underlyingDriver()).not.toBe(pool);
    expect(adapter.underlyingDriver()).not.toBeInstanceOf(Pool);
  });

  it('does not keep prismaAdapter from using the pool', async () => {
    const pool = new Pool(NOWHERE);
    const seen: string[] = [];
    Object.assign(pool, {
      query: async ({ text }: { text: string }) => {
        seen.push(text);
        return await Promise.resolve({ fields: [], rows: [], rowCount: 7 });
      },
    });
    const adapter = await connectOver(foreign.PrismaPg, pool, {});
    expect(adapter.underlyingDriver()).toBe(pool);
    expect(await adapter.executeRaw({ sql: 'DELETE FROM note', args: [], argTypes: [] })).toBe(7);
    expect(seen).toEqual(['DELETE FROM note']);
  });

  it('takes a pool with failover that was made of the other copy', async () => {
    const pool = Object.assign(new foreign.pg.Pool(NOWHERE), { failover: null });
    expect(pool).not.toBeInstanceOf(stock.Pool);
    expect((await prismaAdapter(pool as never).connect()).underlyingDriver()).toBe(pool);
  });

  it('refuses a pool of the other copy without failover', () => {
    expect(thrownBy(() => prismaAdapter(new foreign.pg.Pool(NOWHERE) as never))).toBeInstanceOf(
      ConfigurationError,
    );
  });

  it('an adapter that would not use the pool is not used', async () => {
    class OtherPrismaPg extends PrismaPg {
      override async connect() {
        return await new PrismaPg(NOWHERE).connect();
      }
    }
    await expect(connectOver(OtherPrismaPg, new Pool(NOWHERE), {})).rejects.toBeInstanceOf(InternalError);
  });
});
