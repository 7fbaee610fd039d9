import { ConfigurationError } from '../errors.ts';
import { presenceQuestion } from '../tedious/token/token-batches.ts';
import { createTokenTablesSql, dropTokenTablesSql } from '../tedious/token/token-objects.ts';
import type { Tedious as TediousModule } from '../tedious/stock-tedious.ts';
import { describe, withoutPassword } from './describe-failure.ts';
import type { InitCommand } from './init-arguments.ts';
import type { CliOutput } from './cli-output.ts';

type Work = Exclude<InitCommand, { kind: 'help' }>;
type Tedious = Pick<TediousModule, 'Connection' | 'Request'>;

const DEFAULT_PORT = 1433;

/** `npx holdfast init --engine mssql`. Returns the exit code. */
export async function initMssql(command: Work, output: CliOutput): Promise<number> {
  const sql = command.drop ? dropTokenTablesSql(command.schema) : createTokenTablesSql(command.schema);
  if (command.kind === 'print' || command.url === undefined) {
    output.out(sql);
    return 0;
  }
  try {
    const rows = await runBatch(
      command.url,
      command.kind === 'check' ? presenceQuestion(command.schema) : sql,
    );
    if (command.kind === 'apply') {
      output.out(command.drop ? 'The tables are removed.' : 'The tables are there.');
      return 0;
    }
    if (rows[0]?.[0] === 'present') {
      output.out('Everything is there.');
      return 0;
    }
    output.err(
      rows[0]?.[0] === 'absent'
        ? `missing: the tables of schema ${command.schema}. Run 'npx holdfast init --engine mssql --apply'.`
        : `missing: this login needs INSERT, SELECT, UPDATE and DELETE on schema ${command.schema}.`,
    );
    return 1;
  } catch (error) {
    output.err(`holdfast: ${withoutPassword(describe(error), command.url)}`);
    return 1;
  }
}

async function runBatch(url: string, sql: string): Promise<unknown[][]> {
  const { Connection, Request } = await loadTedious();
  const connection = new Connection(configOf(url));
  await new Promise<void>((resolve, reject) => {
    connection.connect((error) => {
      if (error === undefined) resolve();
      else reject(error);
    });
  });
  try {
    return await new Promise((resolve, reject) => {
      const rows: unknown[][] = [];
      const request = new Request(sql, (error) => {
        if (error === undefined || error === null) resolve(rows);
        else reject(error);
      });
      request.on('row', (columns: { value: unknown }[]) => {
        rows.push(columns.map(({ value }) => value));
      });
      connection.execSqlBatch(request);
    });
  } finally {
    connection.close();
  }
}

function configOf(text: string): ConstructorParameters<Tedious['Connection']>[0] {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    // Not quoted: it may hold a password.
    throw new ConfigurationError('--url is not a URL: mssql://user:password@host:1433/database');
  }
  const flag = (name: string, otherwise: boolean): boolean => {
    const value = url.searchParams.get(name);
    return value === null ? otherwise : value === 'true' || value === '1';
  };
  return {
    server: url.hostname,
    authentication: {
      type: 'default',
      options: {
        userName: decodeURIComponent(url.username),
        password:
          url.password === '' ? (process.env['MSSQL_PASSWORD'] ?? '') : decodeURIComponent(url.password),
      },
    },
    options: {
      port: url.port === '' ? DEFAULT_PORT : Number(url.port),
      database: decodeURIComponent(url.pathname.slice(1)),
      encrypt: flag('encrypt', true),
      trustServerCertificate: flag('trustServerCertificate', false),
    },
  };
}

/** tedious is a peer dependency: the SQL can be printed without it. */
async function loadTedious(): Promise<Tedious> {
  try {
    return await import('../tedious/stock-tedious.ts');
  } catch (error) {
    if ((error as { readonly code?: unknown }).code !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw new ConfigurationError(
      "--apply and --check need tedious: install 'tedious' beside holdfast, or run the printed SQL with another tool",
      { cause: error },
    );
  }
}
