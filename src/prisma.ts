/** `holdfast/prisma`: Prisma's client on a pool that keeps its sessions alive. Needs `@prisma/adapter-pg` and `pg`. */
export {
  prismaAdapter,
  type PrismaAdapterFactory,
  type PrismaAdapterOptions,
} from './adapters/prisma-adapter.ts';
