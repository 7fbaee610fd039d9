import { setTimeout as sleep } from 'node:timers/promises';
import type { Pool } from '../../src/pg.ts';
import type { SeededRandom } from '../support/seeded-random.ts';
import { settle } from '../support/settle.ts';
import type { ApplicationErrors } from './application-errors.ts';
import { toWords } from './application-errors.ts';
import type { History } from './history.ts';
import type { Isolation, Status } from './transaction.ts';
import { ISOLATION_LEVELS } from './transaction.ts';
import { markerComment, TransactionRun } from './transaction-run.ts';
import type { Body, Workload } from './workloads/workload.ts';

export interface WorkerOptions {
  readonly number: number;
  readonly pool: Pool;
  readonly random: SeededRandom;
  readonly workloads: readonly Workload[];
  readonly history: History;
  readonly errors: ApplicationErrors;
}

/** What is noted when a transaction is over. */
interface Ending {
  readonly status: Status;
  readonly endSentAt: number | null;
  readonly end?: string | null;
  readonly error: unknown;
}

const LONGEST_PAUSE_MILLIS = 30;

/** An application: draws transactions, runs them through the pool, and notes what it is told. */
export class Worker {
  readonly #options: WorkerOptions;
  #stopped = false;
  #finished = 0;
  #count = 0;
  #doing = 'nothing yet';
  /** Notes the transaction that is under way as one that nobody was told about. */
  #abandon: (() => void) | null = null;

  constructor(options: WorkerOptions) {
    this.#options = options;
  }

  /** Transactions that it has been told about. */
  get finished(): number {
    return this.#finished;
  }

  /** What it waits for. */
  get doing(): string {
    return `worker ${this.#options.number}: ${this.#doing}`;
  }

  stop(): void {
    this.#stopped = true;
  }

  /** It hangs: what it waits for may be there or not. */
  abandon(): void {
    this.stop();
    this.#abandon?.();
  }

  /** Ends when it is stopped, with its last transaction told. */
  async run(): Promise<void> {
    const { random, workloads } = this.#options;
    const drawn = workloads.flatMap((workload) => Array.from({ length: workload.weight }, () => workload));
    while (!this.#stopped) {
      // All is drawn before anything runs: what comes next does not depend on how long an answer takes.
      const workload = random.pick(drawn);
      const forked = random.fork();
      const pauseMillis = random.next() * LONGEST_PAUSE_MILLIS;
      if (random.chance(0.3)) await this.#statement(workload, workload.statement(forked), forked);
      else await this.#transaction(workload, workload.transaction(forked), forked);
      this.#finished++;
      this.#doing = 'pausing';
      await sleep(pauseMillis);
    }
  }

  /** Autocommit. */
  async #statement(workload: Workload, body: Body, random: SeededRandom): Promise<void> {
    const { pool } = this.#options;
    await this.#note(workload, 'READ COMMITTED', random, pool, async (run, beganAt) => {
      const { error } = await settle(body(run));
      return {
        status: error === undefined ? 'ok' : statusOf(error),
        endSentAt: beganAt,
        end: run.end,
        error,
      };
    });
  }

  async #transaction(workload: Workload, body: Body, random: SeededRandom): Promise<void> {
    const isolation = random.pick(ISOLATION_LEVELS);
    const { pool } = this.#options;
    const { value: client, error: refusal } = await settle(pool.connect());
    if (client === undefined) {
      this.#options.errors.note('connecting', refusal);
      return;
    }
    const clientErrors: Error[] = [];
    const listener = (error: Error): number => clientErrors.push(error);
    client.on('error', listener);
    await this.#note(workload, isolation, random, client, async (run) => {
      let endSentAt: number | null = null;
      const end = drawEnd(random, run.marker);
      const ending = { end: end.text };
      try {
        await client.query(`BEGIN ISOLATION LEVEL ${isolation}`);
        await body(run);
        await run.think();
        this.#doing = `${end.text} of ${run.marker}`;
        endSentAt = performance.now();
        const answer = await client.query(end);
        return {
          ...ending,
          status: commandOf(answer) === 'COMMIT' ? 'ok' : 'fail',
          endSentAt,
          error: undefined,
        };
      } catch (error) {
        // Before its COMMIT was sent nothing can have committed it, whatever is said.
        return { ...ending, status: endSentAt === null ? 'fail' : statusOf(error), endSentAt, error };
      }
    });
    this.#doing = 'ROLLBACK behind an error';
    const { error } = await settle(client.query('ROLLBACK'));
    client.off('error', listener);
    for (const clientError of clientErrors) this.#options.errors.note("'error' of a client", clientError);
    client.release(error);
  }

  async #note(
    { name }: Workload,
    isolation: Isolation,
    random: SeededRandom,
    session: ConstructorParameters<typeof TransactionRun>[3],
    act: (run: TransactionRun, beganAt: number) => Promise<Ending>,
  ): Promise<void> {
    const { number, history, errors, pool } = this.#options;
    const run = new TransactionRun(`w${number}-${++this.#count}`, isolation, random, session);
    const { marker, observations, effects, possibleEffects } = run;
    this.#doing = `${name} ${marker}`;
    const autocommit = session === pool;
    const beganAt = performance.now();
    const complete = ({ status, endSentAt, end = null, error }: Ending): void => {
      const told = { status, beganAt, endSentAt, end, endedAt: performance.now() };
      const seen = {
        observations,
        effects,
        possibleEffects,
        error: error === undefined ? null : toWords(error),
      };
      history.complete({ marker, process: number, workload: name, isolation, autocommit, ...told, ...seen });
    };
    history.invoke(number, marker);
    this.#abandon = () => {
      complete({ status: 'info', endSentAt: null, error: new Error('no answer came') });
    };
    const ending = await act(run, beganAt);
    this.#abandon = null;
    const { endSentAt, error } = ending;
    if (error !== undefined)
      errors.note(endSentAt === null ? 'inside a transaction' : 'at its end', error, isolation);
    complete(ending);
  }
}

/** The forms of COMMIT; and some transactions are not meant to stay. */
function drawEnd(random: SeededRandom, marker: string): { text: string; queryMode?: 'extended' } {
  if (random.chance(0.05)) return { text: 'ROLLBACK' };
  if (random.chance(0.1)) return { text: 'END' };
  if (random.chance(0.1)) return { text: `SELECT 1; ${markerComment(marker)} COMMIT` };
  return random.chance(0.1) ? { text: 'COMMIT', queryMode: 'extended' } : { text: 'COMMIT' };
}

function commandOf(answer: unknown): string {
  const last: unknown = Array.isArray(answer) ? answer.at(-1) : answer;
  return (last as { readonly command: string }).command;
}

/** What an error says about what it was the answer to. */
function statusOf(error: unknown): Status {
  const { outcome, code, kind } = toWords(error);
  if (kind !== null) return outcome === 'committed' ? 'ok' : outcome === 'unknown' ? 'info' : 'fail';
  // Only an error of a server that goes on says that nothing has happened.
  return code !== null && /^[0-9A-Z]{5}$/.test(code) && !/^(08|57P|58|F0|XX)/.test(code) ? 'fail' : 'info';
}
