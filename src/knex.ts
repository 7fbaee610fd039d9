/** `holdfast/knex`: Knex's dialect for PostgreSQL on connections that survive the loss of their server. */
export { HoldfastPostgres } from './adapters/knex-dialect.ts';
export type { FailoverKeys } from './pg/public-types.ts';
