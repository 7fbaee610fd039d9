import { setTimeout as sleep } from 'node:timers/promises';

export interface WaitForOptions {
  /** How long to keep asking. Default 10 000. */
  readonly timeoutMillis?: number;
  /** Pause between two questions. Default 5. */
  readonly intervalMillis?: number;
  /** What was waited for; the error says it. */
  readonly message?: string;
}

type Truthy<T> = Exclude<T, false | null | undefined | 0 | ''>;

/**
 * Asks again and again until `condition` gives something truthy, and returns that.
 *
 * A condition that throws counts as "not yet" (the server asked may still be starting up); its last error is the
 * `cause` of the time-out.
 */
export async function waitFor<T>(
  condition: () => T | Promise<T>,
  { timeoutMillis = 10_000, intervalMillis = 5, message = 'the condition' }: WaitForOptions = {},
): Promise<Truthy<T>> {
  const deadline = performance.now() + timeoutMillis;
  for (;;) {
    let cause: unknown;
    try {
      const value = await condition();
      if (value) return value as Truthy<T>;
    } catch (error) {
      cause = error;
    }
    if (performance.now() >= deadline) {
      throw new Error(`waited ${timeoutMillis} ms in vain for ${message}`, { cause });
    }
    await sleep(intervalMillis);
  }
}
