import { deadlineSignal } from './deadline-signal.ts';
import { hostKey } from '../topology/host-address.ts';
import type { HostAddress } from '../topology/host-address.ts';
import type { TopologyView } from '../topology/topology-provider.ts';
import type { Member } from './member.ts';

/** Pauses before the looks at those that have not answered yet: a deposed primary comes back as a standby some time. */
const PAUSES_MILLIS = [0, 250, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000];

/**
 * Looks once at every other host when a timeline is first seen. What a standby says of itself before it is promoted may
 * later be the proof that a COMMIT in doubt was carried over to it (R6): during the failover it is too late to ask.
 *
 * In the background, over short connections; it keeps no process alive. At once, be it with a session that is still
 * reconnecting, and all hosts side by side, as a dead one may take long to answer: what a standby receives proves
 * something only if it was seen before.
 */
export class Survey {
  readonly #discover: (signal: AbortSignal) => Promise<TopologyView>;
  readonly #pickMember: () => Member | null;
  readonly #observeMillis: number;
  readonly #isNeeded: () => boolean;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    discover: (signal: AbortSignal) => Promise<TopologyView>,
    pickMember: () => Member | null,
    observeMillis: number,
    isNeeded: () => boolean,
  ) {
    this.#isNeeded = isNeeded;
    this.#discover = discover;
    this.#pickMember = pickMember;
    this.#observeMillis = observeMillis;
  }

  /** A new timeline is in force; `primary` need not be asked. Who has just looked for it may have connections left. */
  begin(primary: HostAddress, scout: Member | null): void {
    clearTimeout(this.#timer);
    this.#schedule(new Set([hostKey(primary)]), 0, scout);
  }

  #schedule(done: ReadonlySet<string>, attempt: number, scout: Member | null = null): void {
    if (!this.#isNeeded()) return;
    const pause = PAUSES_MILLIS[attempt];
    if (pause === undefined) return;
    this.#timer = setTimeout(() => {
      void this.#look(done, attempt, scout);
    }, pause);
    this.#timer.unref();
  }

  async #look(done: ReadonlySet<string>, attempt: number, scout: Member | null): Promise<void> {
    const timer = this.#timer;
    const member = scout ?? this.#pickMember();
    if (member === null) {
      this.#schedule(done, attempt === 0 ? 1 : attempt);
      return;
    }
    const known = new Set(done);
    try {
      const { hosts } = await this.#discover(deadlineSignal(this.#observeMillis));
      await Promise.all(
        hosts.map(async (address) => {
          const key = hostKey(address);
          if (known.has(key)) return;
          const seen = await member.look(address, deadlineSignal(this.#observeMillis));
          if (seen.kind === 'reachable') known.add(key);
        }),
      );
      if (hosts.every((address) => known.has(hostKey(address)))) return;
    } catch {
      // Asked again below.
    }
    if (this.#timer === timer) this.#schedule(known, attempt + 1);
  }
}
