import { parseArgs } from 'node:util';
import { wholeNumber } from '../../test/support/option-values.ts';

export interface DemoOptions {
  readonly rounds: number;
  readonly workers: number;
  readonly seed: number;
  /** Synchronous replication to one standby; `--async` switches it off. */
  readonly synchronous: boolean;
  readonly json: boolean;
  readonly help: boolean;
}

export const HELP = `Usage: npm run demo -- [options]

Starts a PostgreSQL primary and two standbys, lets workers transfer money with plain pg code,
kills the primary again and again, and then asks the database whether everything is right.

  --rounds <n>    how often the primary is killed (default 5)
  --workers <n>   sessions that transfer money at the same time (default 8)
  --async         asynchronous replication: what the standbys have not received yet is lost with the primary
  --seed <n>      repeats the accounts, amounts and pauses of an earlier run
  --json          prints the result as one line of JSON at the end
  --help          prints this

The exit code is 1 if anything is wrong.
`;

/** Reads the command line; throws with a message that quotes what is wrong. */
export function parseOptions(args: readonly string[]): DemoOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: 'string', default: '5' },
      workers: { type: 'string', default: '8' },
      seed: { type: 'string', default: String(Math.floor(Math.random() * 1_000_000)) },
      async: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false, short: 'h' },
    },
  });
  return {
    rounds: wholeNumber('rounds', values.rounds, 1, 10_000),
    workers: wholeNumber('workers', values.workers, 1, 200),
    seed: wholeNumber('seed', values.seed, 0, 2 ** 32 - 1),
    synchronous: !values.async,
    json: values.json,
    help: values.help,
  };
}
