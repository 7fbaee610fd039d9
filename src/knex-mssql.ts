/** `holdfast/knex-mssql`: Knex's dialect for SQL Server on connections that survive the loss of their server. */
export { HoldfastMssql } from './adapters/knex-mssql-dialect.ts';
export type { FailoverConfiguration } from './tedious/connection-settings.ts';
