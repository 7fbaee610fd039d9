import { abortable } from './abortable.ts';

/** Waits longer each time, so that a server that takes connections and drops them is not hammered. */
export function pauseBeforeAttempt(
  attempt: number,
  { retryMinMillis, retryMaxMillis }: { readonly retryMinMillis: number; readonly retryMaxMillis: number },
  signal: AbortSignal,
): Promise<void> {
  const millis = Math.min(retryMaxMillis, retryMinMillis * 2 ** Math.min(attempt - 2, 10));
  return abortable(new Promise((resolve) => setTimeout(resolve, millis)), signal);
}
