import { ConfigurationError } from '../errors.ts';
import { nearestWord } from '../nearest-word.ts';
import { quoteValue } from '../quote-value.ts';
import { DEFAULT_PORT } from '../tedious/default-port.ts';
import { presenceQuestion, timeQuestion } from '../tedious/token/token-batches.ts';
import { createTokenTablesSql, dropTokenTablesSql } from '../tedious/token/token-objects.ts';
import type { Tedious as TediousModule } from '../tedious/stock-tedious.ts';
import { describe, withoutPassword } from './describe-failure.ts';
import type { InitCommand } from './init-arguments.ts';
import type { CliOutput } from './cli-output.ts';

type Work = Exclude<InitCommand, { kind: 'help' }>;
type Tedious = Pick<TediousModule, 'Connection' | 'Request'>;

/** `npx holdfast init --engine mssql`. Returns the exit code. */
export async function initMssql(command: Work, output: CliOutput): Promise<number> {
  const sql = command.drop ? dropTokenTablesSql(command.schema) : createTokenTablesSql(command.schema);
  if (command.kind === 'print' || command.url === undefined) {
    output.out(sql);
    return 0;
  }
  try {
    return await withConnection(command.url, async (run) => {
      if (command.kind === 'check') return await check(command.schema, run, output);
      await run(sql);
      output.out(command.drop ? 'The tables are removed.' : 'The tables are there.');
      return 0;
    });
  } catch (error) {
    output.err(`holdfast: ${withoutPassword(describe(error), command.url)}`);
    return 1;
  }
}

type Run = (sql: string) => Promise<readonly (readonly unknown[])[]>;

async function check(schema: string, run: Run, output: CliOutput): Promise<number> {
  const presence = (await run(presenceQuestion(schema)))[0]?.[0];
  const missing =
    presence === 'absent'
      ? `the tables of the schema ${quoteValue(schema)}, or any right to them`
      : presence !== 'present'
        ? `this login needs INSERT and SELECT on the schema ${quoteValue(schema)}; UPDATE and DELETE if it is to purge`
        : (await run(timeQuestion(schema))).length === 0
          ? `the row of the table commit_token_watermark in the schema ${quoteValue(schema)}: it must not be deleted`
          : null;
  if (missing === null) {
    output.out('Everything is there.');
    return 0;
  }
  output.err(`missing: ${missing}`);
  output.err(`Run 'npx holdfast init --engine mssql --apply', with the same --schema.`);
  return 1;
}

async function withConnection<T>(url: string, work: (run: Run) => Promise<T>): Promise<T> {
  const config = configOf(url);
  const { Connection, Request } = await loadTedious();
  const connection = new Connection(config);
  // What is told here is told by the callbacks as well.
  connection.on('error', () => undefined);
  await new Promise<void>((resolve, reject) => {
    connection.connect((error?: Error | null) => {
      if (error === undefined || error === null) resolve();
      else reject(error);
    });
  });
  try {
    return await work(
      (sql) =>
        new Promise((resolve, reject) => {
          const rows: unknown[][] = [];
          const request = new Request(sql, (error?: Error | null) => {
            if (error === undefined || error === null) resolve(rows);
            else reject(error);
          });
          request.on('row', (columns: { value: unknown }[]) => {
            rows.push(columns.map(({ value }) => value));
          });
          connection.execSqlBatch(request);
        }),
    );
  } finally {
    connection.close();
  }
}

const FLAGS = ['encrypt', 'trustServerCertificate'];

/** @throws ConfigurationError, whose message never quotes what may be a password */
function configOf(text: string): ConstructorParameters<Tedious['Connection']>[0] {
  const { url, userName, password, database } = partsOf(text);
  for (const name of url.searchParams.keys()) {
    if (FLAGS.includes(name)) continue;
    const nearest = nearestWord(name, FLAGS) ?? '';
    throw new ConfigurationError(`--url has no option ${quoteValue(name)}; did you mean '${nearest}'?`);
  }
  return {
    // Without the brackets of an IPv6 address.
    server: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    authentication: {
      type: 'default',
      options: { userName, password: password === '' ? (process.env['MSSQL_PASSWORD'] ?? '') : password },
    },
    options: {
      port: url.port === '' ? DEFAULT_PORT : Number(url.port),
      database,
      encrypt: flagOf(url, 'encrypt', true),
      trustServerCertificate: flagOf(url, 'trustServerCertificate', false),
    },
  };
}

function partsOf(text: string): { url: URL; userName: string; password: string; database: string } {
  try {
    const url = new URL(text);
    return {
      url,
      userName: decodeURIComponent(url.username),
      password: decodeURIComponent(url.password),
      database: decodeURIComponent(url.pathname.slice(1)),
    };
  } catch (error) {
    // Without the cause, whose message or input may hold a password.
    const { name } = error as Error;
    throw new ConfigurationError(
      `--url can't be read (${name}): mssql://user:password@host:1433/database, with %40 for @ in a name or password`,
    );
  }
}

function flagOf(url: URL, name: string, otherwise: boolean): boolean {
  const value = url.searchParams.get(name);
  if (value === null) return otherwise;
  if (value === 'true' || value === '1') return true;
  if (value === 'false' || value === '0') return false;
  throw new ConfigurationError(`${name} of --url must be true or false, but is ${quoteValue(value)}`);
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
