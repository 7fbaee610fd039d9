import pg from '../../src/pg.ts';
import { PostgresCluster } from '../../test/support/postgres-cluster.ts';
import { audit, readBooks } from './audit.ts';
import { SCHEMA } from './bank.ts';
import { DriverEvents } from './driver-events.ts';
import type { DemoOptions } from './options.ts';
import type { Result } from './report.ts';
import type { RoundListener } from './rounds.ts';
import { runRounds } from './rounds.ts';
import type { View } from './view.ts';
import { within } from './within.ts';
import { Workers } from './workers.ts';

const REFRESH_MILLIS = 200;
/** More than a failover may take. */
const LAST_TRANSACTION_MILLIS = 40_000;
const END_MILLIS = 5_000;

/** Starts the servers, attacks them, and reads the result from the database. Everything is gone afterwards. */
export async function run(options: DemoOptions, view: View, signal: AbortSignal): Promise<Result> {
  const { synchronous } = options;
  view.say(
    `starting a primary and two standbys, ${synchronous ? 'synchronous' : 'asynchronous'} replication`,
  );
  const cluster = await PostgresCluster.start({ standbys: 2, synchronous });
  try {
    signal.throwIfAborted();
    await cluster.primary.query(SCHEMA);
    const places = cluster.nodes.map(({ name, port }) => `${name} on port ${port}`);
    view.say(`PostgreSQL ${cluster.primary.version} is up: ${places.join(', ')}`);
    return await attack(cluster, options, view, signal);
  } finally {
    await cluster.stop();
  }
}

async function attack(
  cluster: PostgresCluster,
  options: DemoOptions,
  view: View,
  signal: AbortSignal,
): Promise<Result> {
  const pool = new pg.Pool({ connectionString: cluster.connectionString(), max: options.workers });
  // As in any program with pg: without a listener a lost idle connection would end the process.
  pool.on('error', (error) => {
    view.say(`an idle connection was lost: ${error.message}`);
  });
  // The same for one that is in use; the statement that meets it rejects as well, and is counted there.
  pool.on('connect', (client) => {
    client.on('error', () => undefined);
  });
  const events = new DriverEvents(pool.failover);
  const workers = new Workers(pool);
  const progress = new Progress(options, view, workers, events);
  try {
    view.say(`${options.workers} workers transfer money, seed ${options.seed}`);
    workers.start(options.workers, options.seed);
    await runRounds(cluster, options, progress, signal);
    if (!(await workers.stop(LAST_TRANSACTION_MILLIS)))
      throw new Error('a worker hangs in its last transaction');
    if (!(await within(pool.end(), END_MILLIS))) throw new Error('the pool does not end');
  } catch (error) {
    await workers.stop(END_MILLIS);
    if (!pool.ending) await within(pool.end(), END_MILLIS);
    throw error;
  } finally {
    progress.stop();
  }
  return {
    failovers: progress.failovers,
    synchronous: options.synchronous,
    ledger: workers.ledger,
    audit: audit(await cluster.primary.withClient(readBooks), workers.ledger.told),
    stallMillis: workers.stalls.summary(),
    replays: events.replays,
    commitsResolved: events.commitsResolved,
    resolutions: events.resolutions,
  };
}

/** Tells the view what happens. */
class Progress implements RoundListener {
  failovers = 0;
  readonly #options: DemoOptions;
  readonly #view: View;
  readonly #workers: Workers;
  readonly #events: DriverEvents;
  readonly #timer: NodeJS.Timeout;
  #round = 0;
  #acknowledgedBefore = 0;

  constructor(options: DemoOptions, view: View, workers: Workers, events: DriverEvents) {
    this.#options = options;
    this.#view = view;
    this.#workers = workers;
    this.#events = events;
    this.#timer = setInterval(() => {
      this.#show();
    }, REFRESH_MILLIS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  roundBegan(round: number): void {
    this.#round = round;
  }

  primaryDies(name: string): void {
    this.#workers.stalls.begin();
    this.say(`${this.#prefix()}SIGKILL to all processes of the primary, ${name}`);
  }

  failedOver(next: string, durationMillis: number): void {
    this.failovers += 1;
    this.say(`${this.#prefix()}${next} is the primary after ${durationMillis.toFixed(0)} ms`);
  }

  roundEnded(): void {
    const { ledger, stalls } = this.#workers;
    stalls.end();
    this.say(
      `${this.#prefix()}${ledger.counts.acknowledged} transfers acknowledged so far, ` +
        `${this.#events.replays} transactions replayed; longest stall ${(stalls.lastMillis ?? 0).toFixed(0)} ms`,
    );
  }

  say(text: string): void {
    this.#view.say(text);
  }

  #prefix(): string {
    return `round ${this.#round} of ${this.#options.rounds}: `;
  }

  #show(): void {
    const { acknowledged, failed, unknown } = this.#workers.ledger.counts;
    this.#view.show({
      round: this.#round,
      rounds: this.#options.rounds,
      transactions: acknowledged,
      transactionsPerSecond: ((acknowledged - this.#acknowledgedBefore) * 1_000) / REFRESH_MILLIS,
      waiting: this.#workers.waiting,
      lastStallMillis: this.#workers.stalls.lastMillis,
      replays: this.#events.replays,
      errors: failed + unknown,
    });
    this.#acknowledgedBefore = acknowledged;
  }
}
