import { PrismaPg } from '@prisma/adapter-pg';
import { ConfigurationError, InternalError } from '../errors.ts';
import { Pool } from '../pg/pool.ts';
import type { PoolConfig } from '../pg/public-types.ts';
import { asRequestError } from './prisma-request-error.ts';

/** PrismaPg's own options: `schema`, `disposeExternalPool`, `onPoolError`, `onConnectionError` and others. */
export type PrismaAdapterOptions = NonNullable<ConstructorParameters<typeof PrismaPg>[1]>;

/** What `new PrismaClient({ adapter })` takes. */
export type PrismaAdapterFactory = Pick<PrismaPg, 'provider' | 'adapterName' | 'connect'>;

type Adapter = Awaited<ReturnType<PrismaPg['connect']>>;
type Transaction = Awaited<ReturnType<Adapter['startTransaction']>>;

/**
 * Puts a PrismaClient on sessions that survive the loss of their server.
 *
 * @param source - a Pool of `holdfast/pg`, or what its constructor takes: a configuration or a connection string, which
 *   may name several hosts. A given pool stays the application's, unless `options.disposeExternalPool` is set; one made
 *   here is ended by `$disconnect()`.
 * @param options - PrismaPg's own
 * @throws ConfigurationError for a pool of another package, which would have no failover, and for bad settings
 */
export function prismaAdapter(
  source: Pool | PoolConfig | string,
  options: PrismaAdapterOptions = {},
): PrismaAdapterFactory {
  const given: unknown = source;
  if (isPool(given)) {
    refuseWithoutFailover(given);
    return makeFactory(async () => await connectOver(PrismaPg, usable(given), options));
  }
  refuseOthers(given);
  const config = typeof source === 'string' ? { connectionString: source } : (source as PoolConfig);
  // A bad setting is found here and not at the first query. Whoever connects again gets a new one, as an ended pool
  // can't be used any more.
  let unused: Pool | null = new Pool(config);
  return makeFactory(async () => {
    const pool = unused ?? new Pool(config);
    unused = null;
    return await connectOver(PrismaPg, pool, { ...options, disposeExternalPool: true });
  });
}

function makeFactory(connect: () => Promise<Adapter>): PrismaAdapterFactory {
  return { provider: 'postgres', adapterName: 'holdfast/prisma', connect };
}

/**
 * PrismaPg's adapter over this pool, whichever copy of pg the pool is made of.
 *
 * PrismaPg knows a pool by `instanceof` its own pg's Pool. Any other it takes for a configuration, and connects without
 * failover to whatever that seems to say. So the pool is put where PrismaPg has it, and looked for afterwards.
 *
 * @throws InternalError if PrismaPg would not use the pool
 * @internal
 */
export async function connectOver(
  adapterClass: typeof PrismaPg,
  pool: Pool,
  options: PrismaAdapterOptions,
): Promise<Adapter> {
  // One for each connection: after $disconnect() with `disposeExternalPool` PrismaPg would go on with a pool of its own.
  const factory = new adapterClass({}, options);
  Object.assign(factory, { externalPool: pool, config: pool.options });
  const adapter = await factory.connect();
  if (adapter.underlyingDriver() !== pool) {
    await adapter.dispose();
    throw new InternalError(
      'this version of @prisma/adapter-pg does not take the pool that it is given: use another one with holdfast',
    );
  }
  const startTransaction = adapter.startTransaction.bind(adapter);
  adapter.startTransaction = async (isolationLevel) =>
    withRequestErrors(await startTransaction(isolationLevel));
  return adapter;
}

/** Prisma maps the errors of queries, but not those of what it sends between them. */
function withRequestErrors(transaction: Transaction): Transaction {
  const executeRaw = transaction.executeRaw.bind(transaction);
  // Savepoints and the two ends of a transaction have no parameters; with a query Prisma does its own mapping.
  transaction.executeRaw = async (query) =>
    await executeRaw(query).catch((error: unknown) => {
      throw isTransactionCommand(query.sql) ? asRequestError(error) : error;
    });
  return transaction;
}

function isTransactionCommand(sql: string): boolean {
  return /^(?:COMMIT|ROLLBACK|SAVEPOINT|RELEASE)\b/.test(sql);
}

type Functions = Readonly<Record<string, unknown>>;

function isPool(value: unknown): value is Pool {
  if (typeof value !== 'object' || value === null) return false;
  const { connect, query, end } = value as Functions;
  return [connect, query, end].every((method) => typeof method === 'function') && 'totalCount' in value;
}

/** `failover: null` is a pool of ours with `failover: false`: somebody meant it. */
function refuseWithoutFailover(pool: object): void {
  if ('failover' in pool) return;
  throw new ConfigurationError(
    "this pool has no failover: make it with `new Pool(…)` of 'holdfast/pg' instead of 'pg', or give prismaAdapter its configuration",
  );
}

/** Whatever has methods is no configuration: taken for one it would connect to the default host. */
function refuseOthers(value: unknown): void {
  const isConfiguration =
    typeof value === 'object' && value !== null && typeof (value as Functions)['connect'] !== 'function';
  if (typeof value === 'string' || isConfiguration) return;
  throw new ConfigurationError(
    "prismaAdapter takes a Pool of 'holdfast/pg', a configuration for one, or a connection string",
  );
}

function usable(pool: Pool): Pool {
  if (!pool.ending && !pool.ended) return pool;
  throw new ConfigurationError(
    'the pool of this Prisma client has ended: to connect again after $disconnect() leave out disposeExternalPool, or give prismaAdapter a configuration instead of a pool',
  );
}
