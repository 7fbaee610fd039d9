/**
 * `npm run chaos`: a real cluster, sixteen workers on `holdfast/pg`, and a nemesis that does to the servers and to their
 * connections what befalls them. Everything that the workers were told is written down and held against itself and
 * against the database in the end. docs/internals/chaos.md says what is checked and how to read a failure.
 *
 * One seed draws the transactions, their forms and levels, the faults, their order and their moments. When servers and
 * kernels answer is theirs: the same seed is the same plan, not the same run.
 *
 * - options.ts, driver-mode.ts: what is asked for, and whether the driver has it
 * - episode.ts: one cluster, from its start to its checks; worker.ts, transaction-run.ts, workloads/: what the workers do
 * - nemesis/: what is done to them
 * - history.ts: what was seen, as a file of JSON lines; final-state.ts: what is there in the end
 * - checks/, check-episode.ts: pure, with tests of their own in test/unit/chaos/
 */
import { mkdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { SeededRandom } from '../support/seeded-random.ts';
import { checkEpisode } from './check-episode.ts';
import { driverMode, type DriverMode } from './driver-mode.ts';
import { runEpisode } from './episode.ts';
import { readEpisode } from './history.ts';
import { ACTS } from './nemesis/acts.ts';
import { runMssql } from './mssql/run.ts';
import { type ChaosOptions, HELP, parseOptions } from './options.ts';
import { addUp, lastLine, NOTHING, type Summary } from './report.ts';
import type { Violation } from './transaction.ts';

/** A cluster, its history and its checks stay small, and both replications get their turns. */
const LONGEST_EPISODE_SECONDS = 60;
const MOST_SHOWN = 20;

async function main(): Promise<number> {
  let options: ChaosOptions;
  let mode: DriverMode;
  try {
    options = parseOptions(process.argv.slice(2));
    for (const name of options.acts)
      if (options.engine === 'pg' && !(name in ACTS))
        throw new Error(`--acts must be of ${Object.keys(ACTS).join(', ')}, not '${name}'`);
    mode = driverMode(options);
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${HELP}`);
    return 2;
  }
  if (options.help) {
    process.stdout.write(HELP);
    return 0;
  }
  if (options.engine === 'mssql') return await runMssql(options);
  if (options.check !== undefined) return checkAgain(options.check);
  return await runAll(options, mode);
}

function checkAgain(path: string): number {
  const { violations } = checkEpisode(readEpisode(path));
  show(violations);
  process.stdout.write(`${violations.length} violations\n`);
  return violations.length === 0 ? 0 : 1;
}

async function runAll(options: ChaosOptions, mode: DriverMode): Promise<number> {
  const { seed, seconds, replications, workers, acts, json } = options;
  const say = (text: string): void => {
    if (!json) process.stdout.write(`${text}\n`);
  };
  const directory = options.history ?? join(tmpdir(), `holdfast-chaos-${seed}-${process.pid}`);
  mkdirSync(directory, { recursive: true });
  const random = new SeededRandom(seed);
  const count = Math.ceil(seconds / LONGEST_EPISODE_SECONDS / replications.length) * replications.length;
  say(`seed ${seed}, ${count} episodes of ${(seconds / count).toFixed(0)} s, history in ${directory}`);
  let summary: Summary = NOTHING;
  for (let number = 1; number <= count; number++) {
    const replication = replications[(number - 1) % replications.length]!;
    say(`episode ${number}: ${replication}`);
    const path = join(directory, `episode-${number}-${replication}.jsonl`);
    const result = await runEpisode({
      ...{ replication, workers, mode, acts, path, say },
      seed: random.integer(1, 2 ** 31),
      seconds: seconds / count,
    }).catch((error: unknown) => {
      throw new Error(`seed ${seed}, episode ${number} (${replication}) broke off, history in ${path}`, {
        cause: error,
      });
    });
    summary = addUp(summary, result);
    for (const line of result.errorLines) say(`  ${line}`);
    say(`  ${lastLine(addUp(NOTHING, result))}`);
    if (result.violations.length > 0) {
      process.stdout.write(`seed ${seed}, episode ${number} (${replication}), history in ${path}\n`);
      show(result.violations);
    } else if (options.history === undefined) {
      rmSync(path);
    }
  }
  if (options.history === undefined && summary.violations === 0) rmSync(directory, { recursive: true });
  process.stdout.write(`${lastLine(summary)}\n`);
  return summary.violations === 0 ? 0 : 1;
}

function show(violations: readonly Violation[]): void {
  for (const { rule, text } of violations.slice(0, MOST_SHOWN))
    process.stdout.write(`VIOLATION ${rule}: ${text}\n`);
  if (violations.length > MOST_SHOWN) process.stdout.write(`… and ${violations.length - MOST_SHOWN} more\n`);
}

// Unless it is proved otherwise; a promise that never settles would end the process in silence.
process.exitCode = 1;
main().then(
  (exitCode) => {
    // A worker that hangs would keep the process alive; that was told above.
    process.exit(exitCode);
  },
  (error: unknown) => {
    process.stderr.write(`${inspect(error)}\n`);
    process.exit(1);
  },
);
