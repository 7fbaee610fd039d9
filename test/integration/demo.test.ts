import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const DEMO = fileURLToPath(new URL('../../examples/demo/demo.ts', import.meta.url));

interface Run {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the demo in a process of its own, as `npm run demo` does; `interrupt` ends it as Ctrl-C does, when it says so. */
async function runDemo(args: readonly string[], interruptAt?: RegExp): Promise<Run> {
  return await new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--import', 'tsx', DEMO, ...args]);
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
      if (interruptAt?.test(stdout) === true) child.kill('SIGINT');
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.on('error', reject);
    child.on('close', (code) => {
      resolve({ code, stdout, stderr });
    });
  });
}

describe('the demo', () => {
  it('survives the death of its primary without a wrong or missing transfer', async () => {
    const { code, stdout, stderr } = await runDemo([
      '--rounds',
      '1',
      '--workers',
      '4',
      '--seed',
      '1',
      '--json',
    ]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const result = JSON.parse(stdout.trimEnd().split('\n').at(-1)!) as {
      transactions: number;
      acknowledged: number;
    };
    expect(result).toEqual({
      failovers: 1,
      transactions: result.acknowledged,
      acknowledged: expect.any(Number),
      lost: 0,
      duplicated: 0,
      applicationErrors: 0,
      unknown: 0,
      stallMillis: { p50: expect.any(Number), max: expect.any(Number) },
    });
    expect(result.acknowledged).toBeGreaterThan(0);
  });

  it('cleans up when it is interrupted', async () => {
    const { code, stdout } = await runDemo([], /SIGKILL to all/);
    expect(code).toBe(130);
    expect(stdout).toMatch(/interrupted, cleaning up\n$/);
  });

  it('says what is wrong with its command line', async () => {
    const { code, stderr } = await runDemo(['--rounds', 'many']);
    expect(code).toBe(2);
    expect(stderr).toContain("--rounds must be a whole number from 1 to 10000, not 'many'");
  });
});
