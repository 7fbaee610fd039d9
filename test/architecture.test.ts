import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

import ts from 'typescript';
import { describe, expect, it } from 'vitest';

/**
 * The layers of src/, highest first. A file may import from its own row and from the rows below it. Type imports
 * count: what a layer can name, it depends on.
 *
 * `options` and `events` are shared values, but they speak of hosts and providers, so they stand above topology/.
 */
const LAYERS: readonly (readonly string[])[] = [
  ['index', 'knex', 'knex-mssql', 'pg', 'prisma', 'register', 'tedious'], // The entry files, one for each key of package.json's "exports".
  ['cli/'], // The commands of `npx holdfast`.
  ['adapters/'], // What other libraries take in place of pg.
  ['pg/', 'tedious/'], // The wire engines, which never import each other.
  ['session/'], // One logical session. Never sees a socket.
  ['cluster/'], // What the sessions of one cluster share. Never sees a socket.
  ['resolve-options'],
  ['options', 'events'],
  ['topology/'],
  ['schema-name'],
  ['errors', 'quote-value', 'nearest-word', 'lru-map'], // Shared values that know of nothing.
];

/** The driver that an engine wraps is known to that engine alone, and an ORM to its adapter. */
const WRAPPED_DRIVERS: readonly { readonly packages: RegExp; readonly allowed: RegExp }[] = [
  { packages: /^(pg|pg-pool|pg-protocol|pg-types)(\/|$)/, allowed: /^pg(\/|\.ts$)/ },
  { packages: /^tedious(\/|$)/, allowed: /^tedious(\/|\.ts$)/ },
  { packages: /^(knex|tarn)(\/|$)/, allowed: /^adapters\/knex-/ },
  { packages: /^@prisma\//, allowed: /^adapters\/prisma-/ },
];

const SOURCE = join(dirname(fileURLToPath(import.meta.url)), '..', 'src');

interface Import {
  readonly from: string;
  /** A path below src/ for a relative import, else the name of the package. */
  readonly to: string;
  readonly isRelative: boolean;
  readonly specifier: string;
}

const files = readdirSync(SOURCE, { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.ts'))
  .map((path) => path.replaceAll('\\', '/'))
  .sort();

const imports: readonly Import[] = files.flatMap((from) =>
  ts
    .preProcessFile(readFileSync(join(SOURCE, from), 'utf8'), true, true)
    .importedFiles.map(({ fileName: specifier }) => {
      const isRelative = specifier.startsWith('.');
      const to = isRelative
        ? relative(SOURCE, join(SOURCE, dirname(from), specifier)).replaceAll('\\', '/')
        : specifier;
      return { from, to, isRelative, specifier };
    }),
);

/** The index of the file's row in LAYERS; -1 if it has none. */
function layerOf(file: string): number {
  return LAYERS.findIndex((row) =>
    row.some((name) => (name.endsWith('/') ? file.startsWith(name) : file === `${name}.ts`)),
  );
}

/** Files that import each other in a circle, the first one named again at the end; undefined if there is none. */
function findCycle(edges: ReadonlyMap<string, readonly string[]>): readonly string[] | undefined {
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (file: string): readonly string[] | undefined => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (done.has(file)) return undefined;
    path.push(file);
    for (const next of edges.get(file) ?? []) {
      const cycle = visit(next);
      if (cycle !== undefined) return cycle;
    }
    path.pop();
    done.add(file);
    return undefined;
  };
  for (const file of edges.keys()) {
    const cycle = visit(file);
    if (cycle !== undefined) return cycle;
  }
  return undefined;
}

describe('the layers of src/', () => {
  it('every file has its place in the table', () => {
    expect(
      files.filter((file) => layerOf(file) === -1).map((file) => `src/${file}: add it to LAYERS`),
    ).toEqual([]);
  });

  it('imports go down only', () => {
    const upward = imports.filter(({ from, to, isRelative }) => isRelative && layerOf(to) < layerOf(from));
    expect(
      upward.map(({ from, to }) => `src/${from} imports src/${to}, which is in a layer above it`),
    ).toEqual([]);
  });

  it('the engines do not import each other', () => {
    const engines = ['pg/', 'tedious/'];
    const engineOf = (file: string): string | undefined => engines.find((one) => file.startsWith(one));
    const across = imports.filter(
      ({ from, to }) =>
        engineOf(from) !== undefined && engineOf(to) !== undefined && engineOf(from) !== engineOf(to),
    );
    expect(across.map(({ from, to }) => `src/${from} imports src/${to}`)).toEqual([]);
  });

  it('nothing imports an entry file', () => {
    const entries = imports.filter(({ to, isRelative }) => isRelative && layerOf(to) === 0);
    expect(entries.map(({ from, to }) => `src/${from} imports the entry src/${to}`)).toEqual([]);
  });

  it('nothing imports in a circle', () => {
    const edges = new Map(
      files.map((file) => [
        file,
        imports.filter(({ from, isRelative }) => isRelative && from === file).map(({ to }) => to),
      ]),
    );
    expect(findCycle(edges)?.join(' -> ')).toBeUndefined();
    // Else a search that finds nothing would pass for ever.
    expect(findCycle(new Map([['a', ['b']], ['b', ['c']], ['c', ['b']]]))).toEqual(['b', 'c', 'b']); // prettier-ignore
  });

  it('only the engines import the driver that they wrap, and the adapters their ORM', () => {
    const strays = WRAPPED_DRIVERS.flatMap(({ packages, allowed }) =>
      imports.filter(({ from, specifier }) => packages.test(specifier) && !allowed.test(from)),
    );
    expect(strays.map(({ from, specifier }) => `src/${from} imports ${specifier}`)).toEqual([]);
  });

  it('one file alone takes the classes of pg, which may be ours', () => {
    const takers = files.filter((file) =>
      /^(?:import|export) (?!type )[^;]*from 'pg';$/m.test(readFileSync(join(SOURCE, file), 'utf8')),
    );
    expect(takers).toEqual(['pg/stock-pg.ts']);
  });

  it('relative imports name an existing .ts file', () => {
    const broken = imports.filter(
      ({ to, isRelative }) => isRelative && !(to.endsWith('.ts') && existsSync(join(SOURCE, to))),
    );
    expect(broken.map(({ from, specifier }) => `src/${from} imports ${specifier}`)).toEqual([]);
  });
});

describe('the files of src/', () => {
  it('are named in kebab-case', () => {
    const word = '[a-z0-9]+(?:-[a-z0-9]+)*';
    const pattern = new RegExp(`^(?:${word}/)*${word}\\.ts$`);
    expect(files.filter((file) => !pattern.test(file))).toEqual([]);
  });

  it('have no enum, and no default export but where an entry stands in for a package that has one', () => {
    const faults = files.filter((file) => {
      const text = readFileSync(join(SOURCE, file), 'utf8');
      return (
        /^(export )?(const )?enum /m.test(text) || (layerOf(file) !== 0 && /^export default /m.test(text))
      );
    });
    expect(faults).toEqual([]);
  });
});
