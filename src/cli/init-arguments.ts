import { parseArgs } from 'node:util';
import { ConfigurationError } from '../errors.ts';
import { nearestWord } from '../nearest-word.ts';
import { DEFAULT_TOKEN_SCHEMA } from '../options.ts';
import { quoteValue } from '../quote-value.ts';
import { checkSchemaName } from '../schema-name.ts';

export const ENGINES = ['pg', 'mssql'] as const;

/** What `npx holdfast init …` was told to do. */
export type InitCommand =
  | { readonly kind: 'help' }
  | {
      readonly kind: 'print' | 'apply' | 'check';
      /** Remove the objects instead of making them. Never with `check`. */
      readonly drop: boolean;
      readonly engine: (typeof ENGINES)[number];
      readonly schema: string;
      readonly roles: readonly string[];
      /** Undefined: PGHOST and the like. */
      readonly url: string | undefined;
    };

export const HELP = `Usage: npx holdfast init [options]

Makes what commit tokens need: a schema with a table, a sequence, a view and functions. Without options it prints the SQL,
for a migration tool; run it in one transaction. It may be run any number of times.

  --apply          run it, as the owner of the objects or a superuser
  --check          say what is missing; exit code 1 if something is
  --drop           the SQL that removes it all (with --apply: remove it)
  --engine NAME    'pg' for PostgreSQL (default), 'mssql' for SQL Server: then a table and a mark, one of each database
  --schema NAME    default '${DEFAULT_TOKEN_SCHEMA}'; as failover.tokenSchema
  --role NAME      a role that applications log in as; may be given several times. Without it everybody may use tokens
  --url URL        for SQL Server mssql://user:password@host:1433/database?encrypt=true&trustServerCertificate=false
                   (the password may stand in MSSQL_PASSWORD); for PostgreSQL the database for --apply and --check; default PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD …
  --help

Name the primary. A password is better in PGPASSWORD or a password file than in --url, where others can see it.`;

const OPTIONS = {
  apply: { type: 'boolean' },
  check: { type: 'boolean' },
  drop: { type: 'boolean' },
  engine: { type: 'string' },
  schema: { type: 'string' },
  role: { type: 'string', multiple: true },
  url: { type: 'string' },
  help: { type: 'boolean', short: 'h' },
} as const;

/** @throws ConfigurationError that says what is wrong */
export function parseInitArguments(argumentsGiven: readonly string[]): InitCommand {
  const [command, ...rest] = argumentsGiven;
  if (command === undefined || command === '--help' || command === '-h' || command === 'help')
    return { kind: 'help' };
  if (command !== 'init') {
    throw new ConfigurationError(
      `there is no command ${quoteValue(command)}; did you mean 'init'? --help tells more`,
    );
  }
  const values = valuesOf(rest);
  if (values.help === true) return { kind: 'help' };
  const { apply = false, check = false, drop = false, role = [], url } = values;
  if (check && (apply || drop)) {
    throw new ConfigurationError('--check changes nothing: leave out --apply and --drop');
  }
  if (url !== undefined && !apply && !check) {
    throw new ConfigurationError('--url needs --apply or --check: the SQL is printed without a database');
  }
  const engine = engineOf(values.engine);
  if (engine === 'mssql') {
    if (role.length > 0) {
      throw new ConfigurationError(
        '--role is for PostgreSQL: on SQL Server GRANT INSERT, SELECT, UPDATE, DELETE ON SCHEMA to whom you like',
      );
    }
    if (url === undefined && (apply || check)) {
      throw new ConfigurationError('--engine mssql needs --url for --apply and --check');
    }
    if (url !== undefined && !url.startsWith('mssql://')) {
      throw new ConfigurationError('--url must begin with mssql:// for --engine mssql');
    }
  } else if (url !== undefined && !/^postgres(?:ql)?:\/\//.test(url)) {
    // Not quoted: it may hold a password.
    throw new ConfigurationError('--url must begin with postgres:// or postgresql://');
  }
  for (const name of role) {
    if (name === '') throw new ConfigurationError('--role needs the name of a role');
  }
  return {
    kind: check ? 'check' : apply ? 'apply' : 'print',
    drop,
    engine,
    schema: checkSchemaName(values.schema ?? DEFAULT_TOKEN_SCHEMA, '--schema'),
    roles: role,
    url,
  };
}

function engineOf(name = 'pg'): (typeof ENGINES)[number] {
  const engine = ENGINES.find((one) => one === name);
  if (engine !== undefined) return engine;
  throw new ConfigurationError(`there is no engine ${quoteValue(name)}; there are 'pg' and 'mssql'`);
}

function valuesOf(rest: readonly string[]): ReturnType<typeof parse>['values'] {
  const known = Object.keys(OPTIONS);
  for (const argument of rest) {
    const name = /^--(?:no-)?([^=]*)/.exec(argument)?.[1];
    if (name === undefined || name === '' || known.includes(name)) continue;
    throw new ConfigurationError(
      `there is no option ${quoteValue(`--${name}`)}; did you mean '--${nearestWord(name, known) ?? 'help'}'?`,
    );
  }
  try {
    return parse(rest).values;
  } catch (error) {
    const { code } = error as { readonly code?: unknown };
    // Its message may hold what was given, and with it a password.
    if (code === 'ERR_PARSE_ARGS_UNEXPECTED_POSITIONAL') {
      throw new ConfigurationError('init takes options only; a database is named with --url', {
        cause: error,
      });
    }
    throw new ConfigurationError(`the options can't be read (${String(code)}); --help tells what there is`, {
      cause: error,
    });
  }
}

function parse(args: readonly string[]) {
  return parseArgs({ args: [...args], options: OPTIONS, strict: true, allowPositionals: false });
}
