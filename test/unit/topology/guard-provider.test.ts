import { getEventListeners } from 'node:events';

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { guardProvider } from '../../../src/topology/guard-provider.ts';
import type { GuardedProvider } from '../../../src/topology/guard-provider.ts';
import type { TopologyProvider, TopologyView } from '../../../src/topology/topology-provider.ts';

const A = { host: 'a', port: 1 };
const B = { host: 'b', port: 2 };
const C = { host: 'c', port: 3 };

interface Guarded {
  guarded: GuardedProvider;
  errors: string[];
  /** What the provider answers from now on. */
  answer: (discover: (signal: AbortSignal) => unknown) => void;
  discover: () => Promise<TopologyView>;
}

function guard(fallback?: TopologyView): Guarded {
  const errors: string[] = [];
  let current: (signal: AbortSignal) => unknown = () => Promise.resolve({ hosts: [A, B] });
  const provider = { discover: (signal: AbortSignal) => current(signal) } as TopologyProvider;
  const guarded = guardProvider(provider, {
    timeoutMillis: 100,
    fallback,
    onError: (error) => errors.push(error.message),
  });
  return {
    guarded,
    errors,
    answer: (discover) => (current = discover),
    discover: () => guarded.discover(new AbortController().signal),
  };
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('a provider that behaves', () => {
  it.each([
    ['hosts without a primary', { hosts: [A, B] }, { hosts: [A, B] }],
    ['a primary among the hosts', { hosts: [A, B], primary: B }, { hosts: [A, B], primary: B }],
    ['a primary that is not among the hosts', { hosts: [A], primary: C }, { hosts: [C, A], primary: C }],
    ['a primary beside an empty list', { hosts: [], primary: C }, { hosts: [C], primary: C }],
    ['null for no primary', { hosts: [A], primary: null }, { hosts: [A] }],
    ['the same host twice', { hosts: [A, B, { host: 'A', port: 1 }] }, { hosts: [A, B] }],
  ])('gives %s', async (_name, answer, view) => {
    const { answer: set, discover, errors } = guard();
    set(() => Promise.resolve(answer));
    expect(await discover()).toEqual(view);
    expect(errors).toEqual([]);
  });

  it('is believed anew each time, as a whole', async () => {
    const { answer, discover } = guard();
    await discover();
    answer(() => Promise.resolve({ hosts: [C] }));
    expect(await discover()).toEqual({ hosts: [C] });
  });

  it('can not change a view that it gave', async () => {
    const { answer, guarded, discover } = guard();
    const mine = { hosts: [{ ...A }] };
    answer(() => Promise.resolve(mine));
    await discover();
    mine.hosts[0]!.port = 9;
    mine.hosts.push(B);
    expect(guarded.lastGoodView).toEqual({ hosts: [A] });
  });

  it('has its signal aborted when its answer is in, and leaves no timer behind', async () => {
    const { answer, discover } = guard();
    let signal: AbortSignal | undefined;
    answer((given) => {
      signal = given;
      expect(given.aborted).toBe(false);
      return Promise.resolve({ hosts: [A] });
    });
    await discover();
    expect(signal?.aborted).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('a provider that fails leaves the last good view in place, and the failure is reported', () => {
  it.each<[name: string, discover: () => unknown, reported: string]>([
    ['rejects', () => Promise.reject(new Error('down')), 'down'],
    ['rejects with no error', vi.fn().mockRejectedValue('down'), '"down"'],
    [
      'throws at once',
      () => {
        throw new Error('at once');
      },
      'at once',
    ],
    ['answers undefined', () => Promise.resolve(undefined), 'undefined'],
    ['answers without a promise', () => 5, '5'],
    ['answers without hosts', () => Promise.resolve({}), 'undefined'],
    ['answers an empty list', () => Promise.resolve({ hosts: [] }), 'empty'],
    ['answers a bad port', () => Promise.resolve({ hosts: [A, { host: 'b', port: 0 }] }), '0'],
    ['answers a bad primary', () => Promise.resolve({ hosts: [A], primary: 5 }), 'primary'],
    [
      'answers more hosts than a cluster has',
      () => Promise.resolve({ hosts: Array.from({ length: 1e5 }, (_, index) => `h${index}`) }),
      '100000',
    ],
  ])('%s', async (_name, discover, reported) => {
    const provider = guard();
    await provider.discover();
    provider.answer(discover);
    expect(await provider.discover()).toEqual({ hosts: [A, B] });
    expect(provider.errors).toHaveLength(1);
    expect(provider.errors[0]).toContain(reported);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('before any good view it gives the fallback', async () => {
    const provider = guard({ hosts: [C] });
    provider.answer(() => Promise.reject(new Error('down')));
    expect(await provider.discover()).toEqual({ hosts: [C] });
  });

  it('and without a fallback, nobody', async () => {
    const provider = guard();
    provider.answer(() => Promise.reject(new Error('down')));
    expect(await provider.discover()).toEqual({ hosts: [] });
  });

  it('a listener that throws is not felt', async () => {
    const guarded = guardProvider(
      { discover: () => Promise.reject(new Error('down')) },
      {
        timeoutMillis: 100,
        onError: () => {
          throw new Error('listener');
        },
      },
    );
    expect(await guarded.discover(new AbortController().signal)).toEqual({ hosts: [] });
  });
});

describe('a provider that hangs', () => {
  it('is given up after its time, told so, and its late answer is not believed', async () => {
    const provider = guard();
    await provider.discover();
    let signal: AbortSignal | undefined;
    let answerLate: (view: TopologyView) => void = () => undefined;
    provider.answer((given) => {
      signal = given;
      return new Promise<TopologyView>((resolve) => (answerLate = resolve));
    });
    const view = provider.discover();
    await vi.advanceTimersByTimeAsync(99);
    expect(signal?.aborted).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    expect(await view).toEqual({ hosts: [A, B] });
    expect(signal?.aborted).toBe(true);
    expect(provider.errors[0]).toContain('100 ms');
    answerLate({ hosts: [C] });
    await vi.advanceTimersByTimeAsync(1);
    expect(provider.guarded.lastGoodView).toEqual({ hosts: [A, B] });
  });

  it('may reject when told, and nobody hears of it twice', async () => {
    const unhandled = vi.fn();
    process.on('unhandledRejection', unhandled);
    const provider = guard();
    provider.answer(
      (signal) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => {
            reject(new Error('aborted'));
          });
        }),
    );
    const view = provider.discover();
    await vi.advanceTimersByTimeAsync(100);
    await view;
    vi.useRealTimers();
    await new Promise((resolve) => setImmediate(resolve));
    process.off('unhandledRejection', unhandled);
    expect(provider.errors).toHaveLength(1);
    expect(unhandled).not.toHaveBeenCalled();
  });

  it('is not waited for when nobody needs the answer any more, and that is no error', async () => {
    const provider = guard();
    await provider.discover();
    provider.answer(() => new Promise(() => undefined));
    const controller = new AbortController();
    const view = provider.guarded.discover(controller.signal);
    controller.abort();
    expect(await view).toEqual({ hosts: [A, B] });
    expect(await provider.guarded.discover(controller.signal)).toEqual({ hosts: [A, B] });
    expect(provider.errors).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('leaves no listener behind on a signal that lives on', async () => {
    const { guarded } = guard();
    const { signal } = new AbortController();
    await guarded.discover(signal);
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  it('is not called without end: at most eight calls hang at a time, and it is asked again when one ends', async () => {
    const provider = guard();
    const finish: (() => void)[] = [];
    provider.answer(
      () =>
        new Promise<TopologyView>((resolve) =>
          finish.push(() => {
            resolve({ hosts: [C] });
          }),
        ),
    );
    for (let call = 0; call < 20; call += 1) {
      const view = provider.discover();
      await vi.advanceTimersByTimeAsync(100);
      await view;
    }
    expect(finish).toHaveLength(8);
    expect(provider.errors).toHaveLength(20);
    finish[0]!();
    await vi.advanceTimersByTimeAsync(1);
    provider.answer(() => Promise.resolve({ hosts: [B] }));
    expect(await provider.discover()).toEqual({ hosts: [B] });
  });
});

describe('watching', () => {
  function watch(provider: Partial<TopologyProvider>): {
    stop: () => void;
    changes: () => number;
    errors: string[];
  } {
    const errors: string[] = [];
    let changes = 0;
    const guarded = guardProvider(
      { discover: () => Promise.resolve({ hosts: [A] }), ...provider },
      { timeoutMillis: 100, onError: (error) => errors.push(error.message) },
    );
    const stop = guarded.watch(() => (changes += 1));
    return { stop, changes: () => changes, errors };
  }

  it('passes changes on, also at once, until it is stopped, and stops the provider once', () => {
    let change: () => void = () => undefined;
    const stopped = vi.fn();
    const { stop, changes, errors } = watch({
      watch: (onChange) => {
        change = onChange;
        onChange();
        return stopped;
      },
    });
    change();
    expect(changes()).toBe(2);
    stop();
    stop();
    change();
    expect(changes()).toBe(2);
    expect(stopped).toHaveBeenCalledTimes(1);
    expect(errors).toEqual([]);
  });

  it.each<[name: string, provider: Partial<TopologyProvider>, errors: number]>([
    ['is absent', {}, 0],
    [
      'throws',
      {
        watch: () => {
          throw new Error('no');
        },
      },
      1,
    ],
    ['returns nothing', { watch: (() => undefined) as unknown as () => () => void }, 1],
    [
      'gives a stop function that throws',
      {
        watch: () => () => {
          throw new Error('no');
        },
      },
      1,
    ],
  ])('does no harm if it %s', (_name, provider, count) => {
    const { stop, errors } = watch(provider);
    stop();
    expect(errors).toHaveLength(count);
  });
});
