/**
 * `npm run test:mssql`: the tests that need nothing of the test server but an address, against a real SQL Server or any server
 * that speaks TDS. It makes and drops tables in the database that is given. Without --server the test server is used.
 */
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    server: { type: 'string' },
    port: { type: 'string', default: '1433' },
    user: { type: 'string' },
    password: { type: 'string' },
    database: { type: 'string' },
    'no-encrypt': { type: 'boolean', default: false },
  },
});
if (values.server !== undefined && (values.user === undefined || values.database === undefined)) {
  process.stderr.write('--server needs --user, --database and --password (or MSSQL_PASSWORD)\n');
  process.exit(2);
}
const { status } = spawnSync('npx', ['vitest', 'run', 'test/integration/tedious/on-any-server.test.ts'], {
  stdio: 'inherit',
  env: {
    ...process.env,
    ...(values.server === undefined
      ? {}
      : {
          MSSQL_SERVER: values.server,
          MSSQL_PORT: values.port,
          MSSQL_USER: values.user,
          MSSQL_PASSWORD: values.password ?? process.env['MSSQL_PASSWORD'] ?? '',
          MSSQL_DATABASE: values.database,
          MSSQL_ENCRYPT: values['no-encrypt'] ? 'false' : 'true',
        }),
  },
});
process.exit(status ?? 1);
