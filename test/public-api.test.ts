import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

import ts from 'typescript';
import { describe, expect, it } from 'vitest';

/**
 * What each entry of the package exports, types included. A change of the public API shows as a change of the list at
 * the end of this file: run `npx vitest run test/public-api.test.ts -u` and look at the difference.
 */
const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');

interface Exports {
  readonly [entry: string]:
    string | { readonly import?: { readonly default: string }; readonly default?: string };
}

const { exports, name: packageName } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  exports: Exports;
  name: string;
};

/** Import path of each entry, and the source file that it is built from. */
const entries = Object.entries(exports).flatMap(([key, target]) =>
  typeof target === 'string'
    ? []
    : [
        {
          name: join(packageName, key),
          // What is CommonJS alone has no file for `import`.
          file: (target.import ?? target).default!.replace(/^\.\/dist\/(.*)\.c?js$/, 'src/$1.ts'),
        },
      ],
);

interface EntryExports {
  readonly values: readonly string[];
  readonly types: readonly string[];
  readonly stars: readonly string[];
}

/** Read from the syntax alone: entry files do nothing but re-export by name. */
function readExports(file: string): EntryExports {
  const path = join(ROOT, file);
  if (!existsSync(path))
    throw new Error(`package.json exports an entry that is built from ${file}, but there is no such file`);
  const source = ts.createSourceFile(file, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest);
  const values: string[] = [];
  const types: string[] = [];
  const stars: string[] = [];
  for (const statement of source.statements) {
    if (ts.isExportDeclaration(statement)) {
      const { exportClause, isTypeOnly } = statement;
      if (exportClause === undefined || ts.isNamespaceExport(exportClause))
        stars.push(statement.getText(source));
      else
        for (const item of exportClause.elements)
          (isTypeOnly || item.isTypeOnly ? types : values).push(item.name.text);
    } else if (ts.isExportAssignment(statement)) {
      values.push('default');
    } else if (
      ts.canHaveModifiers(statement) &&
      ts.getModifiers(statement)?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword)
    ) {
      const isType = ts.isInterfaceDeclaration(statement) || ts.isTypeAliasDeclaration(statement);
      if (ts.isVariableStatement(statement)) {
        for (const { name } of statement.declarationList.declarations) {
          if (ts.isIdentifier(name)) values.push(name.text);
          else
            for (const element of name.elements)
              if (ts.isBindingElement(element)) values.push(element.name.getText(source));
        }
      } else {
        const { name } = statement as ts.ClassDeclaration | ts.FunctionDeclaration | ts.InterfaceDeclaration;
        (isType ? types : values).push(name?.text ?? 'default');
      }
    }
  }
  return { values: values.sort(), types: types.sort(), stars };
}

describe.each(entries)('$name', ({ file }) => {
  it('re-exports by name only', () => {
    expect(readExports(file).stars).toEqual([]);
  });

  it('loads, and exports at run time what it says', async () => {
    const module = (await import(pathToFileURL(join(ROOT, file)).href)) as object;
    expect(Object.keys(module).sort()).toEqual(readExports(file).values);
  });
});

it('the public API is what it was', () => {
  const api = Object.fromEntries(
    entries.map(({ name, file }) => {
      const { values, types } = readExports(file);
      return [name, [...values, ...types.map((type) => `type ${type}`)]];
    }),
  );
  expect(api).toMatchInlineSnapshot(`
    {
      "holdfast": [
        "ConfigurationError",
        "FailoverFailedError",
        "HoldfastError",
        "InternalError",
        "NotReplicatedError",
        "OutcomeUnknownError",
        "ReplayDivergedError",
        "ResultLostError",
        "SessionClosedError",
        "TransactionNotReplayableError",
        "staticHosts",
        "type Acknowledge",
        "type CommitResolved",
        "type CommitTokenUnavailable",
        "type EventPosition",
        "type FailoverEventMap",
        "type FailoverEvents",
        "type FailoverFailed",
        "type FailoverOptions",
        "type FailoverSnapshot",
        "type FailoverStarted",
        "type FailoverSucceeded",
        "type FeatureUnavailable",
        "type HoldfastErrorKind",
        "type HostAddress",
        "type HostAddressInput",
        "type HostChanged",
        "type LimitReached",
        "type LostCommit",
        "type LostCommits",
        "type LostState",
        "type NotReplicated",
        "type NotificationGap",
        "type OnAcknowledgeTimeout",
        "type OnReapplyFailed",
        "type OnReconnect",
        "type OnTerminated",
        "type Outcome",
        "type ProviderFailed",
        "type ReconnectedSession",
        "type ReplayFailed",
        "type ReplayStarted",
        "type ReplaySucceeded",
        "type TargetSessionAttrs",
        "type TokenPurgeFailed",
        "type TopologyProvider",
        "type TopologyView",
        "type Waiting",
      ],
      "holdfast/knex": [
        "HoldfastPostgres",
        "type FailoverKeys",
      ],
      "holdfast/knex-mssql": [
        "HoldfastMssql",
        "type FailoverConfiguration",
      ],
      "holdfast/pg": [
        "Client",
        "Connection",
        "DatabaseError",
        "Pool",
        "Query",
        "Result",
        "TypeOverrides",
        "default",
        "defaults",
        "escapeIdentifier",
        "escapeLiteral",
        "types",
        "utils",
        "type BindConfig",
        "type ClientBase",
        "type ClientConfig",
        "type Connection",
        "type ConnectionConfig",
        "type CustomTypesConfig",
        "type DatabaseError",
        "type Defaults",
        "type Events",
        "type ExecuteConfig",
        "type FailoverKeys",
        "type FieldDef",
        "type MessageConfig",
        "type Notification",
        "type PoolClient",
        "type PoolConfig",
        "type PoolOptions",
        "type Query",
        "type QueryArrayConfig",
        "type QueryArrayResult",
        "type QueryConfig",
        "type QueryConfigValues",
        "type QueryParse",
        "type QueryResult",
        "type QueryResultBase",
        "type QueryResultRow",
        "type Result",
        "type ResultBuilder",
        "type Submittable",
        "type TransactionStatus",
        "type TypeOverrides",
      ],
      "holdfast/prisma": [
        "prismaAdapter",
        "type PrismaAdapterFactory",
        "type PrismaAdapterOptions",
      ],
      "holdfast/register": [],
      "holdfast/tedious": [
        "BulkLoad",
        "Connection",
        "ConnectionError",
        "ISOLATION_LEVEL",
        "Request",
        "RequestError",
        "TDS_VERSION",
        "TYPES",
        "availabilityGroup",
        "connect",
        "failoverOptions",
        "library",
        "type AvailabilityGroupOptions",
        "type AvailabilityReplica",
        "type ConnectionAuthentication",
        "type ConnectionConfiguration",
        "type ConnectionOptions",
        "type FailoverConfiguration",
      ],
    }
  `);
});
