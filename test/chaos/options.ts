import { parseArgs } from 'node:util';
import { COMMIT_OUTCOMES, LOST_COMMITS } from '../../src/options.ts';
import type { CommitOutcomePolicy, LostCommits } from '../../src/options.ts';
import { oneOf, wholeNumber } from '../support/option-values.ts';

export const REPLICATIONS = ['asynchronous', 'synchronous'] as const;
export const ENGINES = ['pg', 'mssql'] as const;
export type Replication = (typeof REPLICATIONS)[number];

export interface ChaosOptions {
  readonly engine: (typeof ENGINES)[number];
  readonly seed: number;
  readonly seconds: number;
  readonly workers: number;
  readonly replications: readonly Replication[];
  /** As `failover.commitOutcome`. With `auto` and `token` the database has what tokens need. */
  readonly commitOutcome: CommitOutcomePolicy;
  /** As `failover.lostCommits`; undefined leaves it to the driver. */
  readonly lostCommits: LostCommits | undefined;
  /** Acts of the nemesis by name; empty for all. */
  readonly acts: readonly string[];
  /** Where the histories go, and stay; undefined for a temporary directory that goes away if all is well. */
  readonly history: string | undefined;
  /** A history that is checked again, and nothing else. */
  readonly check: string | undefined;
  readonly json: boolean;
  readonly help: boolean;
}

export const HELP = `Usage: npm run chaos -- [options]

Starts a PostgreSQL primary and two standbys, lets workers use them through holdfast, does to them what
befalls clusters, and holds everything that the workers were told against each other and against the database.

  --engine <e>          pg (default), or mssql: holdfast/tedious in front of the test server that speaks TDS
  --seed <n>            draws the same transactions, faults and moments again (the servers' timing is their own)
  --seconds <n>         how long the workers work (default 60)
  --workers <n>         how many there are (default 16)
  --replication <r>     asynchronous, synchronous or both by turns (default both)
  --commit-outcome <m>  failover.commitOutcome: token (default), auto, logPosition or none;
                        with the first two no outcome may be unknown
  --lost-commits <m>    failover.lostCommits: report (the driver's default), reapply or ignore
  --acts <a,b>          only these faults (default all; 'npm run chaos -- --acts help' names them)
  --history <dir>       keeps the histories there; default: kept in a temporary directory if anything is wrong
  --check <file>        checks a kept history again
  --json                prints only the last line
  --help                prints this

The last line is JSON. The exit code is 1 if anything is wrong, and 2 if the options are.
`;

/** Reads the command line; throws with a message that quotes what is wrong. */
export function parseOptions(args: readonly string[]): ChaosOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      engine: { type: 'string', default: 'pg' },
      seed: { type: 'string', default: String(1 + Math.floor(Math.random() * 1_000_000)) },
      seconds: { type: 'string', default: '60' },
      workers: { type: 'string', default: '16' },
      replication: { type: 'string', default: 'both' },
      'commit-outcome': { type: 'string', default: 'token' },
      'lost-commits': { type: 'string' },
      acts: { type: 'string', default: '' },
      history: { type: 'string' },
      check: { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false, short: 'h' },
    },
  });
  const replication = oneOf('replication', [...REPLICATIONS, 'both'] as const, values.replication)!;
  return {
    engine: oneOf('engine', ENGINES, values.engine)!,
    seed: wholeNumber('seed', values.seed, 0, 2 ** 32 - 1),
    seconds: wholeNumber('seconds', values.seconds, 1, 1_000_000),
    workers: wholeNumber('workers', values.workers, 1, 200),
    replications: replication === 'both' ? ['synchronous', 'asynchronous'] : [replication],
    commitOutcome: oneOf('commit-outcome', COMMIT_OUTCOMES, values['commit-outcome'])!,
    lostCommits: oneOf('lost-commits', LOST_COMMITS, values['lost-commits']),
    acts: values.acts.split(',').filter((name) => name !== ''),
    history: values.history,
    check: values.check,
    json: values.json,
    help: values.help,
  };
}
