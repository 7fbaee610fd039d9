import { defineConfig } from 'vitest/config';

/** What stands around the driver and is no npm package. Needs root and apt, or what they would install. */
export default defineConfig({
  test: {
    include: ['test/system/**/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 240_000,
    maxWorkers: 1,
  },
});
