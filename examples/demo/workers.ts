import { randomUUID } from 'node:crypto';
import type { Pool } from 'pg';
import { ACCOUNTS, transfer } from './bank.ts';
import { Ledger } from './ledger.ts';
import type { Random } from './random.ts';
import { seededRandom } from './random.ts';
import { Stalls } from './stalls.ts';
import { within } from './within.ts';

/** A transaction that takes longer than this is shown as waiting. */
const WAITING_MILLIS = 50;
/** So that a driver that refuses everything at once does not make millions of errors. */
const PAUSE_AFTER_ERROR_MILLIS = 20;

/** Sessions that transfer money, each one transaction after the other. */
export class Workers {
  readonly ledger = new Ledger();
  readonly stalls = new Stalls();
  readonly #pool: Pool;
  readonly #running: Promise<void>[] = [];
  readonly #begun = new Map<number, number>();
  #stopped = false;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  start(count: number, seed: number): void {
    for (let worker = 0; worker < count; worker++) {
      this.#running.push(this.#work(worker, seededRandom(seed * 1_000 + worker)));
    }
  }

  /** Workers whose transaction takes suspiciously long at the moment. */
  get waiting(): number {
    const now = performance.now();
    return [...this.#begun.values()].filter((begun) => now - begun > WAITING_MILLIS).length;
  }

  /** Lets each finish its transaction; false if one of them did not within the time. */
  async stop(timeoutMillis: number): Promise<boolean> {
    this.#stopped = true;
    return await within(Promise.all(this.#running), timeoutMillis);
  }

  async #work(worker: number, random: Random): Promise<void> {
    while (!this.#stopped) {
      const source = 1 + Math.floor(random() * ACCOUNTS);
      const target = 1 + ((source + Math.floor(random() * (ACCOUNTS - 1))) % ACCOUNTS);
      const order = { id: randomUUID(), source, target, amount: 1 + Math.floor(random() * 100) };
      const begun = performance.now();
      this.#begun.set(worker, begun);
      let commitWasSent = false;
      try {
        await transfer(this.#pool, order, () => (commitWasSent = true));
        this.ledger.acknowledge(order.id);
      } catch (error) {
        this.ledger.reject(order.id, error, commitWasSent);
        await new Promise((resolve) => setTimeout(resolve, PAUSE_AFTER_ERROR_MILLIS));
      }
      this.#begun.delete(worker);
      this.stalls.record(worker, performance.now() - begun);
    }
  }
}
