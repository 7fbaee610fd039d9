import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { ConformanceLab, DRIVERS, type Driver } from '../support/drivers.ts';
import { freePort } from '../support/free-port.ts';

const lab = ConformanceLab.forThisFile();
const CHILD = fileURLToPath(new URL('../support/exit-child.ts', import.meta.url));
/** Long enough to be sure that it would have ended. */
const PATIENCE_MILLIS = 2_000;

/** 'exits' if the child ends by itself within the time behind its work, else 'stays'. */
async function afterItsWork(
  driver: Driver,
  scenario: string,
  extra: object = {},
): Promise<'exits' | 'stays'> {
  const config = JSON.stringify(lab.config(driver, extra));
  const child = spawn(process.execPath, ['--import', 'tsx', CHILD, driver.name, scenario, config], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return await new Promise((resolve, reject) => {
    let patience: NodeJS.Timeout | undefined;
    let isKilled = false;
    child.stdout.once('data', () => {
      patience = setTimeout(() => {
        isKilled = true;
        child.kill('SIGKILL');
      }, PATIENCE_MILLIS);
    });
    child.on('exit', (code) => {
      clearTimeout(patience);
      if (isKilled) resolve('stays');
      else if (code === 0) resolve('exits');
      else reject(new Error(`the child ended with ${code}`));
    });
  });
}

/** What the child's process ends with, and what it says on its way. */
async function endOf(driver: Driver, scenario: string): Promise<{ code: number | null; said: string }> {
  const config = JSON.stringify(lab.config(driver));
  const child = spawn(process.execPath, ['--import', 'tsx', CHILD, driver.name, scenario, config]);
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
  return await new Promise((resolve) => {
    child.on('close', (code) => {
      resolve({ code, said });
    });
  });
}

describe.each(DRIVERS)("a process with $name in which nobody listens to 'error'", (driver) => {
  it.each(['client terminated', 'client of a pool terminated while out'])(
    'ends with it: %s',
    async (scenario) => {
      const { code, said } = await endOf(driver, scenario);
      expect(said).toContain('ready');
      expect(said).toContain('terminating connection due to administrator command');
      expect(code).toBe(1);
    },
  );

  it('ends with it when an idle client of a pool is terminated; with failover it goes on', async () => {
    const { code, said } = await endOf(driver, 'idle client of a pool terminated');
    expect(said).toContain('ready');
    if (driver.hasFailover) {
      expect(said).toContain('done'); // R8, R14
      expect(code).toBe(0);
      return;
    }
    expect(said).toContain('terminating connection due to administrator command');
    expect(code).toBe(1);
  });
});

describe.each(DRIVERS)('a process with $name', (driver) => {
  it('ends after end()', async () => {
    expect(await afterItsWork(driver, 'end')).toBe('exits');
  });

  it('ends after unref(), and stays after ref() or with an open client', async () => {
    const outcomes = await Promise.all(
      ['unref', 'unref and ref', 'open'].map(async (scenario) => await afterItsWork(driver, scenario)),
    );
    expect(outcomes).toEqual(['exits', 'stays', 'stays']);
  });

  it('ends with an idle pool if allowExitOnIdle is set, and only then', async () => {
    const outcomes = await Promise.all([
      afterItsWork(driver, 'pool', { allowExitOnIdle: true }),
      afterItsWork(driver, 'pool'),
      afterItsWork(driver, 'pool', { idleTimeoutMillis: 100 }),
    ]);
    expect(outcomes).toEqual(['exits', 'stays', 'exits']);
  });

  it('ends after pool.end()', async () => {
    expect(await afterItsWork(driver, 'pool ended')).toBe('exits');
  });

  it.each(['end while waiting', 'pool ended while waiting'])(
    'ends while its only host is gone: %s',
    async (scenario) => {
      expect(await afterItsWork(driver, scenario)).toBe('exits');
    },
  );

  it('ends after a refused connection', async () => {
    const port = await freePort();
    expect(await afterItsWork(driver, 'refused', { port })).toBe('exits');
  });
});
