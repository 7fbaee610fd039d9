/**
 * Aborts after so many milliseconds, or with one of the others if that comes first. Keeps no process alive.
 *
 * Not `AbortSignal.any([…, AbortSignal.timeout(…)])`: nothing but that holds the timeout, and it only weakly, so that
 * after a garbage collection it never comes (Node.js 20, by test).
 */
export function deadlineSignal(millis: number, ...others: readonly AbortSignal[]): AbortSignal {
  const controller = new AbortController();
  const abort = (reason: unknown): void => {
    clearTimeout(timer);
    for (const [other, listener] of listeners) other.removeEventListener('abort', listener);
    controller.abort(reason);
  };
  const timer = setTimeout(() => {
    abort(new DOMException(`it took longer than ${millis} ms`, 'TimeoutError'));
  }, millis);
  timer.unref();
  const listeners = others.map((other) => {
    const listener = (): void => {
      abort(other.reason);
    };
    other.addEventListener('abort', listener, { once: true });
    return [other, listener] as const;
  });
  const aborted = others.find((other) => other.aborted);
  if (aborted !== undefined) abort(aborted.reason);
  return controller.signal;
}
