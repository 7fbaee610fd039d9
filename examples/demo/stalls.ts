/** How long a failover keeps the application waiting: the slowest transaction of each worker after each kill. */
export class Stalls {
  readonly #finished: number[] = [];
  #round = new Map<number, number>();
  #lastMillis: number | undefined;

  /** Called right before a primary is killed. */
  begin(): void {
    this.#round = new Map();
    this.#lastMillis = undefined;
  }

  record(worker: number, millis: number): void {
    this.#round.set(worker, Math.max(millis, this.#round.get(worker) ?? 0));
    this.#lastMillis = Math.max(millis, this.#lastMillis ?? 0);
  }

  end(): void {
    this.#finished.push(...this.#round.values());
  }

  /** The longest one since the last kill. */
  get lastMillis(): number | undefined {
    return this.#lastMillis;
  }

  summary(): { readonly p50: number; readonly max: number } {
    const sorted = this.#finished.toSorted((a, b) => a - b);
    return {
      p50: Math.round(sorted[Math.floor((sorted.length - 1) / 2)] ?? 0),
      max: Math.round(sorted.at(-1) ?? 0),
    };
  }
}
