/**
 * How fast the driver is beside stock pg, or one of its modes beside the others (`npm run bench`), and how soon an open
 * transaction goes on when its connection is cut.
 */
import stock from 'pg';
import type { CommitOutcomePolicy } from '../../src/options.ts';
import holdfast from '../../src/pg.ts';
import { createTokenObjectsSql } from '../../src/pg/token/token-objects.ts';
import { PostgresNode } from '../support/postgres-node.ts';
import { compare, type Comparison, type Contestant } from './comparison.ts';
import { measureFailovers, type FailoverTime } from './failover-time.ts';
import { compareMssql } from './mssql.ts';
import { HELP, parseOptions, type BenchOptions } from './options.ts';
import { separateProcessors, shareProcessors } from './processors.ts';
import { comparisonTable, failoverTable } from './report.ts';
import { createTables, MODE_WORKLOADS, WORKLOADS, type Workload } from './workloads.ts';

/** One of those that are compared, before it is connected. */
interface Entrant {
  readonly name: string;
  readonly connectTo: (node: PostgresNode) => stock.Client;
}

const DRIVERS: readonly Entrant[] = [
  { name: 'pg', connectTo: (node) => new stock.Client(node.connectionConfig()) },
  { name: 'holdfast', connectTo: (node) => new holdfast.Client(node.connectionConfig()) },
];

const MODES: readonly Entrant[] = [
  mode('none', 'none'),
  mode('logPosition', 'logPosition'),
  mode('token', 'token'),
  mode('none again', 'none'),
];

function mode(name: string, commitOutcome: CommitOutcomePolicy): Entrant {
  return {
    name,
    connectTo: (node) => new holdfast.Client({ ...node.connectionConfig(), failover: { commitOutcome } }),
  };
}

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2));
  if (options.help) {
    console.log(HELP);
    return;
  }
  if (options.mssql) {
    console.log(comparisonTable(await compareMssql(options)));
    return;
  }
  const all = options.modes ? MODE_WORKLOADS : WORKLOADS;
  const workloads = all.filter(({ name }) => name.includes(options.only));
  const comparisons = workloads.length === 0 ? [] : await compareAll(workloads, options);
  if (comparisons.length > 0) console.log(comparisonTable(comparisons));
  const failovers: readonly FailoverTime[] =
    !options.modes && 'failover'.includes(options.only)
      ? await measureFailovers(options.cuts, options.fsync)
      : [];
  if (failovers.length > 0) console.log(`\n${failoverTable(failovers)}`);
  if (options.json) console.log(JSON.stringify({ fsync: options.fsync, comparisons, failovers }));
}

async function compareAll(workloads: readonly Workload[], options: BenchOptions): Promise<Comparison[]> {
  const entrants = options.modes ? MODES : DRIVERS;
  const node = await PostgresNode.create({
    durable: options.fsync,
    settings: { shared_buffers: '128MB', autovacuum: false },
  });
  let separate = false;
  try {
    await node.start();
    await createTables(node);
    if (options.modes) await node.query(createTokenObjectsSql({ schema: 'holdfast' }));
    // The background processes of the server began before, and stay where they are.
    separate = !options.shareProcessors && separateProcessors(node.pid!);
    console.log(`client and server ${separate ? 'have processors of their own' : 'share the processors'}`);
    const perWorkload = (options.seconds * 1_000) / workloads.length;
    const rounds = Math.max(3, Math.floor(perWorkload / (entrants.length * options.sliceMillis)) - 1);
    const results: Comparison[] = [];
    for (const workload of workloads) {
      const clients: stock.Client[] = [];
      try {
        const contestants: Contestant[] = [];
        for (const entrant of entrants) contestants.push(await connect(workload, clients, entrant, node));
        results.push(await compare(workload, contestants, { rounds, sliceMillis: options.sliceMillis }));
      } finally {
        await Promise.allSettled(
          clients.map(async (client) => {
            await client.end();
          }),
        );
      }
    }
    return results;
  } finally {
    if (separate) shareProcessors();
    await node.destroy();
  }
}

async function connect(
  workload: Workload,
  all: stock.Client[],
  { name, connectTo }: Entrant,
  node: PostgresNode,
): Promise<Contestant> {
  const clients = Array.from({ length: workload.clients }, () => connectTo(node));
  all.push(...clients);
  await Promise.all(clients.map(async (client) => await client.connect()));
  return { name, clients };
}

await main();
