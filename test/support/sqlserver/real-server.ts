import type { ConnectionConfiguration } from 'tedious';

/** The server that `npm run test:mssql` was given; null: the test server is started. */
export function realServer(): ConnectionConfiguration | null {
  const { MSSQL_SERVER, MSSQL_PORT, MSSQL_USER, MSSQL_PASSWORD, MSSQL_DATABASE, MSSQL_ENCRYPT } = process.env;
  if (MSSQL_SERVER === undefined || MSSQL_SERVER === '') return null;
  return {
    server: MSSQL_SERVER,
    authentication: {
      type: 'default',
      options: { userName: MSSQL_USER ?? '', password: MSSQL_PASSWORD ?? '' },
    },
    options: {
      port: Number(MSSQL_PORT ?? 1433),
      database: MSSQL_DATABASE ?? '',
      encrypt: MSSQL_ENCRYPT !== 'false',
      trustServerCertificate: true,
    },
  };
}
