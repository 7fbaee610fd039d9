import { parseArgs } from 'node:util';
import { wholeNumber } from '../support/option-values.ts';

export interface BenchOptions {
  /** Compare holdfast/tedious with stock tedious, in front of the test server. */
  readonly mssql: boolean;
  /** Compare what `failover.commitOutcome` costs, instead of holdfast with stock pg. */
  readonly modes: boolean;
  /** How long the comparison runs in all; the failover part comes on top. */
  readonly seconds: number;
  /** Length of one slice of one driver. */
  readonly sliceMillis: number;
  /** Connections cut in each variant of the failover part. */
  readonly cuts: number;
  readonly fsync: boolean;
  /** Leave it to the kernel on which processor client and server run. */
  readonly shareProcessors: boolean;
  /** Only workloads whose name contains this. */
  readonly only: string;
  readonly json: boolean;
  readonly help: boolean;
}

export const HELP = `Usage: npm run bench -- [options]

Runs stock pg and holdfast in turn, slice by slice, on one PostgreSQL server, and prints the ratios; then cuts the
connection under open transactions and measures how long the next statement takes. Machines differ and are busy:
only the ratios mean something.

With --modes it compares holdfast with itself: failover.commitOutcome 'logPosition' and 'token' with 'none', and 'none'
once more with itself, which shows how much of a difference is chance. Transactions of TPC-B, and INSERT, UPDATE and
SELECT outside of transactions, on a server that flushes its log at each COMMIT.

  --mssql         compare holdfast/tedious with stock tedious in front of the test server, with and without tokens
  --modes         compare the values of failover.commitOutcome; no failovers
  --seconds <n>   length of the comparison (default 32; with --modes 64)
  --slice <ms>    length of one slice (default 200)
  --cuts <n>      connections cut in each failover variant (default 40)
  --fsync         a server that flushes its log to the disk at each COMMIT (the default with --modes, unless --no-fsync)
  --share         let client and server use the same processors; else each has its own, where taskset is at hand
  --only <text>   only the workloads whose name contains the text, such as 'tpcb 1', 'select' or 'failover'
  --json          prints the result as one line of JSON at the end
  --help          prints this
`;

/** Reads the command line; throws with a message that quotes what is wrong. */
export function parseOptions(args: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: [...args],
    allowNegative: true,
    options: {
      mssql: { type: 'boolean', default: false },
      modes: { type: 'boolean', default: false },
      seconds: { type: 'string' },
      slice: { type: 'string', default: '200' },
      cuts: { type: 'string', default: '40' },
      fsync: { type: 'boolean' },
      share: { type: 'boolean', default: false },
      only: { type: 'string', default: '' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false, short: 'h' },
    },
  });
  return {
    mssql: values.mssql,
    modes: values.modes,
    seconds: wholeNumber('seconds', values.seconds ?? (values.modes ? '64' : '32'), 1, 7_200),
    sliceMillis: wholeNumber('slice', values.slice, 20, 10_000),
    cuts: wholeNumber('cuts', values.cuts, 1, 10_000),
    fsync: values.fsync ?? values.modes,
    shareProcessors: values.share,
    only: values.only,
    json: values.json,
    help: values.help,
  };
}
