import { DEFAULT_PORT, hostKey, parseHostAddress } from './host-address.ts';
import { parseHostList, withoutRepeatedHosts } from './host-list.ts';
import type { TopologyProvider, TopologyView } from './topology-provider.ts';
import { quoteValue } from '../quote-value.ts';

/** A provider that never rejects, never throws, never answers late, and always has `watch`. */
export interface GuardedProvider extends Required<TopologyProvider> {
  /** The newest good view, or the fallback while there is none. */
  readonly lastGoodView: TopologyView;
}

export interface GuardProviderOptions {
  /** How long one `discover` may take before the last good view is used instead. */
  readonly timeoutMillis: number;
  /** The view until the provider has given a good one. Default: no host is known. */
  readonly fallback?: TopologyView | undefined;
  /** Told of each failure of the provider. What it throws is ignored. Default: nobody is told. */
  readonly onError?: ((error: Error) => void) | undefined;
  /** Calls back once after so many milliseconds; returns how to cancel that. Default: `setTimeout`. */
  readonly startTimer?: ((callback: () => void, millis: number) => () => void) | undefined;
}

/**
 * How many calls that outlived their deadline may be unfinished at a time. A provider that hangs for ever and heeds no
 * signal would otherwise pile up sockets and promises, one for each attempt of each failover.
 */
const MAX_UNFINISHED_CALLS = 8;

/**
 * Wraps a provider so that its author can't get the life cycle wrong: what `TopologyProvider` promises about hanging,
 * throwing and lying providers is kept here, and nowhere else.
 *
 * It risks using a view that is out of date, which is harmless: the probe decides.
 */
export function guardProvider(provider: TopologyProvider, options: GuardProviderOptions): GuardedProvider {
  return new Guard(provider, options);
}

class Guard implements GuardedProvider {
  readonly #provider: TopologyProvider;
  readonly #options: GuardProviderOptions;
  #lastGoodView: TopologyView;
  #unfinishedCalls = 0;

  constructor(provider: TopologyProvider, options: GuardProviderOptions) {
    this.#provider = provider;
    this.#options = options;
    this.#lastGoodView = options.fallback === undefined ? NOBODY : checkView(options.fallback);
  }

  get lastGoodView(): TopologyView {
    return this.#lastGoodView;
  }

  async discover(signal: AbortSignal): Promise<TopologyView> {
    if (signal.aborted) return this.#lastGoodView;
    if (this.#unfinishedCalls >= MAX_UNFINISHED_CALLS) {
      this.#report(new Error(`${this.#unfinishedCalls} calls of the topology provider are still unanswered`));
      return this.#lastGoodView;
    }
    try {
      const answer = await this.#ask(signal);
      if (answer !== GIVEN_UP) this.#lastGoodView = checkView(answer);
    } catch (error) {
      this.#report(error);
    }
    return this.#lastGoodView;
  }

  watch(onChange: () => void): () => void {
    let watching = true;
    let stop: unknown;
    try {
      if (this.#provider.watch !== undefined) {
        stop = this.#provider.watch(() => {
          if (watching) onChange();
        });
        if (typeof stop !== 'function') {
          throw new TypeError(`watch of the topology provider returned ${quoteValue(stop)}, not a function`);
        }
      }
    } catch (error) {
      this.#report(error);
    }
    return () => {
      if (!watching) return;
      watching = false;
      try {
        if (typeof stop === 'function') (stop as () => void)();
      } catch (error) {
        this.#report(error);
      }
    };
  }

  /** The provider's answer, unchecked; rejects as the provider does or at the deadline. */
  async #ask(signal: AbortSignal): Promise<unknown> {
    const { timeoutMillis, startTimer = startSystemTimer } = this.#options;
    const controller = new AbortController();
    let giveUp: () => void = () => undefined;
    let cancelTimer: () => void = () => undefined;
    const givenUp = new Promise<unknown>((resolve, reject) => {
      giveUp = () => {
        resolve(GIVEN_UP);
      };
      cancelTimer = startTimer(() => {
        reject(new Error(`the topology provider gave no answer within ${timeoutMillis} ms`));
      }, timeoutMillis);
    });
    signal.addEventListener('abort', giveUp, { once: true });
    this.#unfinishedCalls += 1;
    const call = this.#call(controller.signal).finally(() => {
      this.#unfinishedCalls -= 1;
    });
    try {
      // The race also handles the rejection of its loser, which nobody else awaits.
      return await Promise.race([call, givenUp]);
    } finally {
      cancelTimer();
      signal.removeEventListener('abort', giveUp);
      controller.abort();
    }
  }

  /** An async function, so that a provider that throws at once rejects instead. */
  async #call(signal: AbortSignal): Promise<unknown> {
    return await this.#provider.discover(signal);
  }

  #report(error: unknown): void {
    try {
      this.#options.onError?.(
        error instanceof Error ? error : new Error(`the topology provider threw ${quoteValue(error)}`),
      );
    } catch {
      // A listener that throws is never felt by a session.
    }
  }
}

const GIVEN_UP = Symbol('nobody waits for the answer any more');

const NOBODY: TopologyView = Object.freeze({ hosts: Object.freeze([]) });

/** A frozen copy of a good view. Throws what is wrong with a bad one. */
function checkView(value: unknown): TopologyView {
  if (typeof value !== 'object' || value === null) {
    throw new TypeError(`the topology provider answered ${quoteValue(value)}, not { hosts, primary }`);
  }
  const { hosts, primary } = value as { hosts?: unknown; primary?: unknown };
  const answer = 'in the answer of the topology provider';
  if (primary === undefined || primary === null) {
    return Object.freeze({ hosts: parseHostList(hosts, DEFAULT_PORT, `hosts ${answer}`) });
  }
  const named = Object.freeze(parseHostAddress(primary, DEFAULT_PORT, `primary ${answer}`));
  const empty = Array.isArray(hosts) && hosts.length === 0;
  const listed = empty ? [] : parseHostList(hosts, DEFAULT_PORT, `hosts ${answer}`);
  const isListed = listed.some((host) => hostKey(host) === hostKey(named));
  return Object.freeze({
    hosts: isListed ? listed : withoutRepeatedHosts([named, ...listed]),
    primary: named,
  });
}

function startSystemTimer(callback: () => void, millis: number): () => void {
  const timer = setTimeout(callback, millis);
  return () => {
    clearTimeout(timer);
  };
}
