import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { runStock } from '../../support/sqlserver/run-stock.ts';
import { SqlServerCluster } from '../../support/sqlserver/sql-server-cluster.ts';
import { waitFor } from '../../support/wait-for.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
let cluster: SqlServerCluster;

beforeAll(async () => {
  cluster = await SqlServerCluster.start({
    synchronous: true,
    setUp: ['CREATE TABLE account (id int NOT NULL PRIMARY KEY, balance int NOT NULL)'],
  });
});
beforeEach(async () => {
  await cluster.ready();
  await runStock(cluster.stockConfig(), 'DELETE FROM account;INSERT INTO account VALUES (1, 100), (2, 0)');
});
afterAll(async () => {
  await cluster.stop();
});

async function balances(): Promise<unknown[]> {
  return (await runStock(cluster.stockConfig(), 'SELECT balance FROM account ORDER BY id')).flat();
}

it.each(['tedious.ts', 'knex-mssql.ts'])(
  '%s moves everything once while its primary is killed',
  async (name) => {
    const child = spawn(process.execPath, ['--import', 'tsx', `examples/${name}`], {
      cwd: ROOT,
      env: {
        PATH: process.env['PATH'],
        MSSQL_HOSTS: cluster.hosts.map(({ host, port }) => `${host}:${port}`).join(','),
        MSSQL_USER: 'app',
        MSSQL_PASSWORD: 'app',
        MSSQL_DATABASE: 'app',
        MSSQL_ENCRYPT: 'false',
      },
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
    try {
      await waitFor(async () => Number((await balances())[1]) > 10);
      await cluster.replacePrimary();
      expect(await ended, stderr).toBe(0);
      expect(stdout).toBe('100 moved\n');
      expect(stderr).toMatch(/after \d+ ms/);
      expect(await balances()).toEqual([0, 100]);
    } finally {
      child.kill('SIGKILL');
    }
  },
);
