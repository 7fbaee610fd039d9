import type { FailoverEvents } from '../../src/events.ts';

/** Counts what the driver says about itself while the demo runs. */
export class DriverEvents {
  #replays = 0;
  #commitsResolved = 0;
  readonly #resolutions = new Map<string, number>();

  /** A pool with `failover: false` has no events. */
  constructor(events: FailoverEvents | null) {
    events
      ?.on('replaySucceeded', () => {
        this.#replays += 1;
      })
      .on('commitResolved', ({ outcome, reason }) => {
        this.#commitsResolved += 1;
        const text = `${outcome}: ${reason}`;
        this.#resolutions.set(text, (this.#resolutions.get(text) ?? 0) + 1);
      });
  }

  /** Open transactions that were brought to where they had been, on another server. */
  get replays(): number {
    return this.#replays;
  }

  /** COMMITs that were in flight when the server died, and whose outcome was found out. */
  get commitsResolved(): number {
    return this.#commitsResolved;
  }

  /** What was found out, why, and how often, the most frequent first. */
  get resolutions(): readonly (readonly [string, number])[] {
    return [...this.#resolutions].sort(([, a], [, b]) => b - a);
  }
}
