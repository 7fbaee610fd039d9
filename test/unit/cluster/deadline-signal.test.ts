import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { deadlineSignal } from '../../../src/cluster/deadline-signal.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

function aborted(signal: AbortSignal): Promise<unknown> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => {
      resolve(signal.reason);
    });
  });
}

describe('a signal with a deadline', () => {
  it('comes after a garbage collection as well, although nobody holds it', async () => {
    const other = new AbortController();
    const all = [aborted(deadlineSignal(60)), aborted(deadlineSignal(60, other.signal))];
    setTimeout(collectGarbage, 5);
    setTimeout(collectGarbage, 30);
    // The timers do not keep the process alive.
    const alive = setTimeout(() => undefined, 5_000);
    for (const reason of await Promise.all(all)) expect(reason).toMatchObject({ name: 'TimeoutError' });
    clearTimeout(alive);
    expect(other.signal.aborted).toBe(false);
  });

  it('aborts with any of the others, and with their reason', async () => {
    const [one, two] = [new AbortController(), new AbortController()];
    const signal = deadlineSignal(60_000, one.signal, two.signal);
    const reason = aborted(signal);
    two.abort('two');
    one.abort('one');
    expect(await reason).toBe('two');
    expect(deadlineSignal(60_000, one.signal).reason).toBe('one');
  });

  it('is the only way to a deadline in the source: what Node.js has is lost with the garbage', () => {
    const root = join(import.meta.dirname, '../../../src');
    const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter(
      (name) => name.endsWith('.ts') && !name.endsWith('deadline-signal.ts'),
    );
    expect(files.length).toBeGreaterThan(100);
    const users = files.filter((name) =>
      /AbortSignal\.(?:any|timeout)\(/.test(readFileSync(join(root, name), 'utf8')),
    );
    expect(users).toEqual([]);
  });
});
