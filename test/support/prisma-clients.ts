import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { cp, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const SCHEMAS = ['examples/prisma/schema.prisma', 'test/support/prisma/schema.prisma'];
/** Says what a generated client was made from. */
const STAMP = 'holdfast-stamp';

const require = createRequire(import.meta.url);
const run = promisify(execFile);

/**
 * Generates Prisma's clients for the tests and the example, beside their schemas, where that was not done yet. It is
 * vitest's global set-up and a script, since type checks need them too.
 */
export async function setup(): Promise<void> {
  const manifest = require.resolve('prisma/package.json');
  const { version } = JSON.parse(await readFile(manifest, 'utf8')) as { version: string };
  for (const schema of SCHEMAS) {
    const path = join(ROOT, schema);
    const stamp = createHash('sha256')
      .update(version)
      .update(await readFile(path))
      .digest('hex');
    const directory = join(dirname(path), 'generated');
    if (!(await isMade(directory, stamp)))
      await generate(join(dirname(manifest), 'build/index.js'), path, directory, stamp);
  }
}

/** Under a name of its own, renamed when it is ready: nobody ever sees half a client. */
async function generate(program: string, schema: string, directory: string, stamp: string): Promise<void> {
  const unique = `${directory}.${process.pid}-${randomBytes(4).toString('hex')}`;
  try {
    await mkdir(unique);
    await cp(schema, join(unique, 'schema.prisma'));
    await run(process.execPath, [program, 'generate', '--schema', join(unique, 'schema.prisma')], {
      cwd: ROOT,
      env: {
        ...process.env,
        // Else it is downloaded, though `generate` never runs it.
        PRISMA_SCHEMA_ENGINE_BINARY: process.execPath,
        CHECKPOINT_DISABLE: '1',
      },
    });
    const made = join(unique, 'generated');
    await writeFile(join(made, STAMP), stamp);
    if (await isMade(directory, stamp)) return;
    await rename(directory, join(unique, 'old')).catch(ignoreCode('ENOENT'));
    // Another process was faster, and has put there the same.
    await rename(made, directory).catch(ignoreCode('ENOTEMPTY', 'EEXIST'));
  } finally {
    await rm(unique, { recursive: true, force: true });
  }
}

async function isMade(directory: string, stamp: string): Promise<boolean> {
  return (await readFile(join(directory, STAMP), 'utf8').catch(() => '')) === stamp;
}

function ignoreCode(...codes: readonly string[]): (error: unknown) => void {
  return (error) => {
    if (!codes.includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await setup();
