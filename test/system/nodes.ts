import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * Runs what depends on Node itself (sockets, TLS, streams, the parser's WebAssembly) on the oldest Node that the package
 * allows and on the newest of each line that is maintained: npm run test:nodes. The binaries are npm packages.
 */
const VERSIONS = ['20.19.0', '22', '24', '26'];
const FILES = [
  'test/unit/pg/direct-socket.test.ts',
  'test/unit/pg/server-connection.test.ts',
  'test/unit/pg/virtual-socket.test.ts',
  'test/unit/pg/sql/statement-facts.test.ts',
  'test/conformance/results.test.ts',
  'test/conformance/tls.test.ts',
  'test/integration/pg/primary-lost-around-a-transaction.test.ts',
  'test/integration/pg/copy-and-cursors.test.ts',
];

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const NAME = `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`;

/** The directory of the binary. */
function install(version: string): string {
  const directory = join(ROOT, 'node_modules', '.cache', 'nodes', version);
  mkdirSync(directory, { recursive: true });
  // Without one npm would take the project's for its own.
  writeFileSync(join(directory, 'package.json'), '{ "private": true }\n');
  const args = ['install', '--no-audit', '--no-fund', '--loglevel=error', `${NAME}@${version}`];
  const { status, stderr } = spawnSync('npm', args, { cwd: directory, encoding: 'utf8' });
  if (status !== 0) throw new Error(`npm could not install ${NAME}@${version}:\n${stderr}`);
  return join(directory, 'node_modules', NAME, 'bin');
}

let failed = 0;
for (const version of VERSIONS) {
  const bin = install(version);
  const node = join(bin, 'node');
  const env = { ...process.env, PATH: `${bin}:${process.env['PATH'] ?? ''}` };
  const found = spawnSync(node, ['--version'], { encoding: 'utf8' }).stdout.trim();
  const vitest = join(ROOT, 'node_modules', 'vitest', 'vitest.mjs');
  const { status, stdout, stderr } = spawnSync(
    node,
    [vitest, 'run', '--no-typecheck', '--no-color', ...FILES],
    {
      cwd: ROOT,
      env,
      encoding: 'utf8',
      maxBuffer: 64 * 1024 * 1024,
    },
  );
  const count = /^ *Tests .*$/m.exec(stdout)?.[0].trim() ?? 'no tests ran';
  console.log(`Node ${found}: ${count}`);
  if (status === 0 && found.startsWith(`v${version}`)) continue;
  failed++;
  console.log(stdout, stderr);
}
process.exitCode = failed === 0 ? 0 : 1;
