import { FailoverLab } from '../support/failover-lab.ts';
import { Pool } from '../../src/pg.ts';
import { SeededRandom } from '../support/seeded-random.ts';
import { Nemesis } from '../support/torture/nemesis.ts';
import { waitFor } from '../support/wait-for.ts';
import { ApplicationErrors } from './application-errors.ts';
import { checkEpisode, type Verdict } from './check-episode.ts';
import { recordDriverEvents } from './driver-events.ts';
import type { DriverMode } from './driver-mode.ts';
import { readFinalState } from './final-state.ts';
import { History } from './history.ts';
import { ACTS, type Act } from './nemesis/acts.ts';
import type { Replication } from './options.ts';
import type { Violation } from './transaction.ts';
import { Worker } from './worker.ts';
import { Bank } from './workloads/bank.ts';
import { GeneratedIds } from './workloads/generated-ids.ts';
import { ListAppend } from './workloads/list-append.ts';
import { Register } from './workloads/register.ts';

export interface EpisodeOptions {
  readonly seed: number;
  readonly replication: Replication;
  readonly seconds: number;
  readonly workers: number;
  readonly mode: DriverMode;
  /** Names of acts; empty for all. */
  readonly acts: readonly string[];
  /** The file of the history. */
  readonly path: string;
  readonly say: (text: string) => void;
}

export interface EpisodeResult extends Verdict {
  readonly failovers: number;
  readonly transactions: number;
  readonly acknowledged: number;
  readonly applicationErrors: number;
  readonly errorLines: readonly string[];
}

/** Longer than any failover may take. */
const PROGRESS_TIMEOUT_MILLIS = 60_000;
const END_TIMEOUT_MILLIS = 10_000;
const RECOVERY_TIMEOUT_MILLIS = 20_000;

/** One cluster from its start to its end: workers and a nemesis at the same time, then the checks. */
export async function runEpisode(options: EpisodeOptions): Promise<EpisodeResult> {
  const { seed, replication, seconds, mode, path, say } = options;
  const random = new SeededRandom(seed);
  const workloads = [new ListAppend(), new Bank(), new Register(), new GeneratedIds()];
  const { tokens, lostCommits } = mode;
  const history = new History(path, { seed, replication, mayBeUnknown: !tokens, lostCommits });
  const lab = await FailoverLab.start({
    standbys: 2,
    synchronous: replication === 'synchronous',
    tokens,
    setUp: workloads.map(({ setUp }) => setUp).join(';'),
  });
  try {
    const pool = new Pool({
      connectionString: lab.connectionString(),
      max: options.workers,
      failover: mode.failover,
    });
    const errors = new ApplicationErrors();
    pool.on('error', (error) => {
      errors.note("'error' of the pool", error);
    });
    const driver = pool.failover!;
    recordDriverEvents(driver, history);
    const nemesis = new Nemesis(
      lab.cluster,
      random.fork(),
      (node) => lab.proxyOf(node),
      async () => {
        const { host, port } = lab.proxy;
        await waitFor(() => driver.snapshot().primary === `${host}:${port}`, {
          timeoutMillis: RECOVERY_TIMEOUT_MILLIS,
          message: `the driver to go to ${lab.primary.name}`,
        });
      },
    );
    const workers = Array.from(
      { length: options.workers },
      (_, number) => new Worker({ number, pool, random: random.fork(), workloads, history, errors }),
    );
    const running = Promise.all(
      workers.map(async (worker) => {
        await worker.run();
      }),
    );
    const hung: Violation[] = [];
    try {
      const endAt = performance.now() + seconds * 1_000;
      for (const [name, act] of deck(random.fork(), options.acts)) {
        await everybodyGoesOn(workers);
        if (performance.now() >= endAt) break;
        const struck = nemesis.blows.length;
        const begunAt = performance.now();
        await act({ lab, nemesis, random: random.fork(), replication, driver });
        for (const blow of nemesis.blows.slice(struck)) history.blow(blow);
        const names = nemesis.blows.slice(struck).map((blow) => blow.name);
        say(`  ${name}: ${names.join(', ')}, ${((performance.now() - begunAt) / 1_000).toFixed(1)} s`);
      }
      for (const worker of workers) worker.stop();
      await within(running, PROGRESS_TIMEOUT_MILLIS, () => whoIsLate(workers));
      await within(pool.end(), END_TIMEOUT_MILLIS, () => 'the pool does not end');
    } catch (error) {
      if (!(error instanceof Hung)) throw error;
      hung.push({ rule: 'hang', text: error.message });
      for (const worker of workers) worker.abandon();
    }
    const episode = await history.end(await readFinalState(lab.primary));
    const verdict = checkEpisode(episode);
    return {
      ...verdict,
      violations: [
        ...hung,
        ...errors.defects.map((text) => ({ rule: 'defect', text })),
        ...verdict.violations,
      ],
      failovers: nemesis.failovers,
      transactions: episode.transactions.length,
      acknowledged: episode.transactions.filter(({ status }) => status === 'ok').length,
      applicationErrors: errors.total,
      errorLines: errors.lines,
    };
  } finally {
    await lab.stop();
    await history.close();
  }
}

class Hung extends Error {}

/** All acts in a random order, and then again in another one; first the one that nothing else does in passing. */
function* deck(random: SeededRandom, names: readonly string[]): Generator<readonly [string, Act]> {
  const acts = Object.entries<Act>(ACTS).filter(([name]) => names.length === 0 || names.includes(name));
  yield* acts.filter(([name]) => name === 'cutBehindWrites');
  for (;;) {
    const left = [...acts];
    while (left.length > 0) yield left.splice(random.integer(0, left.length - 1), 1)[0]!;
  }
}

/** Nobody hangs: each worker has been told about transactions since. */
async function everybodyGoesOn(workers: readonly Worker[]): Promise<void> {
  const before = workers.map(({ finished }) => finished);
  await waitFor(() => workers.every(({ finished }, index) => finished >= before[index]! + 3), {
    timeoutMillis: PROGRESS_TIMEOUT_MILLIS,
  }).catch((error: unknown) => {
    const late = workers.filter(({ finished }, index) => finished < before[index]! + 3);
    throw new Hung(whoIsLate(late), { cause: error });
  });
}

function whoIsLate(workers: readonly Worker[]): string {
  return `workers do not go on: ${workers.map(({ doing }) => doing).join('; ')}`;
}

async function within(work: Promise<unknown>, millis: number, what: () => string): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Hung(what()));
    }, millis);
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
