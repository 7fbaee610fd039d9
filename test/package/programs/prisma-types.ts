/** Compiled, never run. */
import { Pool, type PoolConfig } from 'holdfast/pg';
import { prismaAdapter, type PrismaAdapterFactory, type PrismaAdapterOptions } from 'holdfast/prisma';

const options: PrismaAdapterOptions = { schema: 'app', disposeExternalPool: true };
const config: PoolConfig = { max: 4, failover: { timeoutMillis: 10_000 } };
export const adapters: readonly PrismaAdapterFactory[] = [
  prismaAdapter(new Pool(config), options),
  prismaAdapter(config),
  prismaAdapter('postgres://db1,db2/app'),
];
// @ts-expect-error there is no such option
prismaAdapter(config, { schemas: 'app' });
