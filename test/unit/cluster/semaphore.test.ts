import { describe, expect, it } from 'vitest';
import { Semaphore } from '../../../src/cluster/semaphore.ts';

const never = new AbortController().signal;

function gate(): { readonly promise: Promise<void>; readonly open: () => void } {
  let open = (): void => undefined;
  const promise = new Promise<void>((resolve) => (open = resolve));
  return { promise, open };
}

describe('a semaphore', () => {
  it('lets so many at once, the others in the order in which they came', async () => {
    const semaphore = new Semaphore(2);
    let running = 0;
    let most = 0;
    const order: number[] = [];
    const gates = Array.from({ length: 6 }, gate);
    const all = gates.map((one, i) =>
      semaphore.run(async () => {
        order.push(i);
        most = Math.max(most, ++running);
        await one.promise;
        running--;
      }, never),
    );
    for (const one of gates) {
      await Promise.resolve();
      one.open();
    }
    await Promise.all(all);
    expect(most).toBe(2);
    expect(order).toEqual([0, 1, 2, 3, 4, 5]);
  });

  it('gives a permit back when the work fails', async () => {
    const semaphore = new Semaphore(1);
    await expect(semaphore.run(() => Promise.reject(new Error('failed')), never)).rejects.toThrow('failed');
    await expect(semaphore.run(() => Promise.resolve('done'), never)).resolves.toBe('done');
  });

  it('lets go of who gives up while waiting, and of nobody else', async () => {
    const semaphore = new Semaphore(1);
    const first = gate();
    const work = semaphore.run(() => first.promise, never);
    const abort = new AbortController();
    const impatient = semaphore.run(() => Promise.resolve('ran'), abort.signal);
    const patient = semaphore.run(() => Promise.resolve('ran'), never);
    abort.abort(new Error('gave up'));
    await expect(impatient).rejects.toThrow('gave up');
    first.open();
    await work;
    await expect(patient).resolves.toBe('ran');
    await expect(semaphore.run(() => Promise.resolve('ran'), never)).resolves.toBe('ran');
  });

  it('does not begin for who has given up before', async () => {
    const semaphore = new Semaphore(1);
    await expect(
      semaphore.run(() => Promise.resolve(), AbortSignal.abort(new Error('gave up'))),
    ).rejects.toThrow('gave up');
    await expect(semaphore.run(() => Promise.resolve('ran'), never)).resolves.toBe('ran');
  });
});
