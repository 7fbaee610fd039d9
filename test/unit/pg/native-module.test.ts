import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import stock from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import pg from '../../../src/pg.ts';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const run = promisify(execFile);

it('is null where pg-native is not installed, as in pg', () => {
  expect(stock.native).toBe(null);
  expect(pg.native).toBe(null);
});

/** In a process whose pg finds a pg-native: a class that connects to nothing is enough of it. */
describe('where pg-native is installed', () => {
  let directory = '';
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'holdfast-native-'));
    const modules = join(directory, 'node_modules');
    await mkdir(join(modules, 'pg-native'), { recursive: true });
    await writeFile(join(modules, 'pg-native', 'package.json'), '{"name":"pg-native","version":"3.9.0"}');
    await writeFile(join(modules, 'pg-native', 'index.js'), 'module.exports = class Native { on() {} };');
  });
  afterAll(async () => {
    await rm(directory, { recursive: true, force: true });
  });

  /** What a program prints that has `pg` and `stock`. */
  async function printed(program: string, environment: NodeJS.ProcessEnv = {}): Promise<unknown> {
    const file = join(directory, 'program.mjs');
    const from = (path: string): string => JSON.stringify(join(ROOT, path));
    await writeFile(
      file,
      `const { default: stock } = await import(${from('node_modules/pg/esm/index.mjs')});
       const { default: pg } = await import(${from('src/pg.ts')});
       const outcome = (make) => { try { make(); return 'made'; } catch (error) { return error.name + ': ' + error.message; } };
       console.log(JSON.stringify((() => { ${program} })()));`,
    );
    const { stdout } = await run(process.execPath, ['--import', 'tsx', file], {
      cwd: ROOT,
      env: { ...process.env, ...environment, NODE_PATH: join(directory, 'node_modules') },
    });
    return JSON.parse(stdout);
  }

  const REFUSED = expect.stringMatching(/^ConfigurationError: pg-native has no failover.*failover: false/);

  it('its clients and pools are refused unless they do without failover', async () => {
    const outcomes = await printed(`return {
      same: pg.native === pg.native,
      client: outcome(() => new pg.native.Client({})),
      bare: outcome(() => new pg.native.Client()),
      text: outcome(() => new pg.native.Client('postgres://a/b')),
      pool: outcome(() => new pg.native.Pool({ failover: {} })),
      plainClient: outcome(() => new pg.native.Client({ failover: false })),
      plainPool: outcome(() => new pg.native.Pool({ failover: false })),
      isNative: new pg.native.Client({ failover: false }) instanceof stock.native.Client,
      query: pg.native.Query === stock.native.Query && pg.native.Client.Query === stock.native.Client.Query,
    }`);
    expect(outcomes).toEqual({
      same: true,
      client: REFUSED,
      bare: REFUSED,
      text: REFUSED,
      pool: REFUSED,
      plainClient: 'made',
      plainPool: 'made',
      isNative: true,
      query: true,
    });
  });

  it('so are our own with NODE_PG_FORCE_NATIVE', async () => {
    const outcomes = await printed(
      `return {
        client: outcome(() => new pg.Client({})),
        pool: outcome(() => new pg.Pool({})),
        plain: outcome(() => new pg.Client({ failover: false })),
        isNative: new pg.Client({ failover: false }) instanceof stock.native.Client,
      }`,
      { NODE_PG_FORCE_NATIVE: '1' },
    );
    expect(outcomes).toEqual({ client: REFUSED, pool: REFUSED, plain: 'made', isNative: true });
  });

  it('is not loaded before somebody asks', async () => {
    await writeFile(
      join(directory, 'node_modules/pg-native/index.js'),
      `globalThis.isNativeLoaded = true; module.exports = class Native { on() {} };`,
    );
    expect(
      await printed(
        `const before = globalThis.isNativeLoaded ?? false; void pg.native; return [before, isNativeLoaded];`,
      ),
    ).toEqual([false, true]);
  });
});
