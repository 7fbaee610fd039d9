import { ConfigurationError } from '../errors.ts';
import { createTokenObjectsSql, dropTokenObjectsSql } from '../pg/token/token-objects.ts';
import { describe, withoutPassword } from './describe-failure.ts';
import type { CliOutput } from './cli-output.ts';
import { checkTokenObjects, type Ask } from './check-token-objects.ts';
import { initMssql } from './init-mssql.ts';
import { HELP, parseInitArguments, type InitCommand } from './init-arguments.ts';

/** The subset of a pg client that is needed. */
interface Client {
  connect(): Promise<unknown>;
  query(config: { text: string; values?: unknown[] } | string): Promise<{ rows: unknown[] }>;
  end(): Promise<void>;
}

type Work = Exclude<InitCommand, { kind: 'help' }>;

/** Returns the exit code: 0 well, 1 something is missing or failed, 2 called in a wrong way. */
export async function runCli(argumentsGiven: readonly string[], output: CliOutput): Promise<number> {
  let command: InitCommand;
  try {
    command = parseInitArguments(argumentsGiven);
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    output.err(`holdfast: ${error.message}`);
    return 2;
  }
  if (command.kind === 'help') {
    output.out(HELP);
    return 0;
  }
  if (command.engine === 'mssql') return await initMssql(command, output);
  const sql = command.drop ? dropTokenObjectsSql(command.schema) : createTokenObjectsSql(command);
  if (command.kind === 'print') {
    output.out(sql);
    return 0;
  }
  try {
    return await withClient(command, async (client) => {
      if (command.kind === 'check') return await check(client, command, output);
      // Several statements in one string are one transaction.
      await client.query(sql);
      output.out(command.drop ? 'The objects are removed.' : 'The objects are there.');
      return 0;
    });
  } catch (error) {
    output.err(`holdfast: ${withoutPassword(describe(error), command.url)}`);
    return 1;
  }
}

async function check(client: Client, command: Work, output: CliOutput): Promise<number> {
  const ask: Ask = async (text, values) =>
    (await client.query({ text, values: [...values] })).rows as Record<string, string | null>[];
  const { problems, warnings } = await checkTokenObjects(ask, command);
  for (const warning of warnings) output.err(`warning: ${warning}`);
  for (const problem of problems) output.err(`missing: ${problem}`);
  if (problems.length > 0) {
    output.err(`Run 'npx holdfast init --apply', with the same --schema and --role.`);
    return 1;
  }
  output.out('Everything is there.');
  return 0;
}

async function withClient<T>({ url }: Work, work: (client: Client) => Promise<T>): Promise<T> {
  const StockClient = await loadClient();
  const client = new StockClient(url === undefined ? {} : { connectionString: url });
  await client.connect();
  try {
    // Names in the questions are not qualified.
    await client.query('SET search_path = pg_catalog, pg_temp; SET default_transaction_read_only = off');
    return await work(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** pg is a peer dependency: the SQL can be printed without it. */
async function loadClient(): Promise<new (config: object) => Client> {
  try {
    const { StockClient } = await import('../pg/stock-pg.ts');
    return StockClient;
  } catch (error) {
    if ((error as { readonly code?: unknown }).code !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw new ConfigurationError(
      "--apply and --check need pg: install 'pg' beside holdfast, or run the printed SQL with another tool",
      { cause: error },
    );
  }
}
