import { fileURLToPath } from 'node:url';
import { configDefaults, defineConfig } from 'vitest/config';

export default defineConfig({
  // Its entry files know each other by their public names, as in tsconfig.json.
  resolve: { alias: { 'holdfast/pg': fileURLToPath(new URL('src/pg.ts', import.meta.url)) } },
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/prisma-clients.ts'],
    // What needs root and packages of the system has a script of its own: npm run test:system.
    exclude: [...configDefaults.exclude, 'test/system/**'],
    setupFiles: ['test/support/fixed-seeds-in-ci.ts'],
    // Real servers on two cores: waits are on conditions, the limits only end what hangs.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
    typecheck: { enabled: true, include: ['test/types/**/*.test-d.ts'] },
  },
});
