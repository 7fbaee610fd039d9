import { setTimeout as sleep } from 'node:timers/promises';
import type { FailoverEvents } from '../../../src/events.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { runStock } from '../../support/sqlserver/run-stock.ts';
import { SqlServerCluster } from '../../support/sqlserver/sql-server-cluster.ts';
import type { ChaosOptions } from '../options.ts';
import { judge, type FinalState, type Work } from './history.ts';
import { nemesisActs } from './nemesis.ts';
import { ACCOUNTS, work } from './worker.ts';

const OPENING_BALANCE = 1_000;
const MOST_SHOWN = 20;

/**
 * `npm run chaos -- --engine mssql`: workers on `holdfast/tedious` in front of the test server, which is not SQL Server:
 * what it shows is that the driver keeps its promise on this wire, with real servers that crash and are promoted behind it.
 */
export async function runMssql(options: ChaosOptions): Promise<number> {
  const say = (text: string): void => {
    if (!options.json) process.stdout.write(`${text}\n`);
  };
  const random = new SeededRandom(options.seed);
  const total = {
    failovers: 0,
    transactions: 0,
    acknowledged: 0,
    lost: 0,
    reportedLost: 0,
    duplicated: 0,
    unknown: 0,
    applicationErrors: 0,
    violations: 0,
  };
  say(`seed ${options.seed}`);
  for (const replication of options.replications) {
    const seconds = options.seconds / options.replications.length;
    const result = await episode(replication === 'synchronous', seconds, options, random, say);
    for (const [key, value] of Object.entries(result) as [keyof typeof total, number][]) total[key] += value;
    say(`${replication}: ${JSON.stringify(result)}`);
  }
  process.stdout.write(`${JSON.stringify(total)}\n`);
  return total.violations === 0 ? 0 : 1;
}

async function episode(
  synchronous: boolean,
  seconds: number,
  { workers, commitOutcome, acts }: ChaosOptions,
  random: SeededRandom,
  say: (text: string) => void,
): Promise<Record<string, number>> {
  const accounts = Array.from({ length: ACCOUNTS }, (_, id) => `(${id}, ${OPENING_BALANCE})`).join(', ');
  const cluster = await SqlServerCluster.start({
    synchronous,
    standbys: 2,
    setUp: [
      'CREATE TABLE account (id int NOT NULL PRIMARY KEY, balance int NOT NULL)',
      `INSERT INTO account (id, balance) VALUES ${accounts}`,
      'CREATE TABLE entry (id nvarchar(40) NOT NULL, sender int NOT NULL, receiver int NOT NULL, amount int NOT NULL)',
      'CREATE TABLE note (id nvarchar(40) NOT NULL)',
    ],
  });
  const done: Work[] = [];
  const reportedLost = new Set<string>();
  const heard = new WeakSet<FailoverEvents>();
  const failovers = new Set<number>();
  let isOver = false;
  try {
    const config = { ...cluster.config(), failover: { hosts: [...cluster.hosts], commitOutcome } };
    const running = Array.from({ length: workers }, (_, index) =>
      work({
        config,
        random: new SeededRandom(random.integer(1, 2 ** 31) + index),
        work: done,
        isOver: () => isOver,
        onConnection: ({ failover }) => {
          if (failover === null || heard.has(failover)) return;
          heard.add(failover);
          failover.on('lostCommit', ({ statements }) => {
            const id = /VALUES \(N'([0-9a-f-]{36})'/.exec(statements.join(';'))?.[1];
            if (id !== undefined) reportedLost.add(id);
          });
          failover.on('failoverSucceeded', ({ id }) => failovers.add(id));
        },
      }),
    );
    const end = performance.now() + seconds * 1_000;
    const chosen = nemesisActs.filter(
      ([name]) => acts.length === 0 || acts.some((one) => name.includes(one)),
    );
    while (performance.now() < end) {
      await sleep(random.integer(100, 700));
      const [, act] = chosen[random.integer(0, chosen.length - 1)]!;
      await act(cluster, random);
    }
    await sleep(500);
    isOver = true;
    await Promise.race([
      Promise.all(running),
      sleep(60_000).then(() => {
        throw new Error('a worker waits for ever');
      }),
    ]);
    const state = await finalState(cluster);
    const verdict = judge(done, state, reportedLost, OPENING_BALANCE);
    for (const text of verdict.violations.slice(0, MOST_SHOWN)) process.stdout.write(`VIOLATION ${text}\n`);
    const errors = new Map<string, number>();
    for (const { outcome, error } of done) {
      if (outcome === 'acknowledged' || error === null) continue;
      const line = error.replaceAll(/[0-9a-f-]{36}/g, '…').slice(0, 110);
      errors.set(line, (errors.get(line) ?? 0) + 1);
    }
    for (const [line, count] of [...errors].sort(([, a], [, b]) => b - a).slice(0, 8))
      say(`  ${count} × ${line}`);
    return {
      failovers: failovers.size,
      transactions: done.length,
      acknowledged: done.filter(({ outcome }) => outcome === 'acknowledged').length,
      lost: verdict.lost,
      reportedLost: [...reportedLost].length,
      duplicated: verdict.duplicated,
      unknown: verdict.unknown,
      applicationErrors: done.filter(({ outcome }) => outcome === 'failed').length,
      violations: verdict.violations.length + (commitOutcome === 'token' ? verdict.unknown : 0),
    };
  } finally {
    isOver = true;
    await cluster.stop();
  }
}

async function finalState(cluster: SqlServerCluster): Promise<FinalState> {
  const config = cluster.stockConfig();
  const balances = await runStock(config, 'SELECT balance FROM account ORDER BY id');
  const entries = (await runStock(config, 'SELECT id, sender, receiver, amount FROM entry')) as [
    string,
    number,
    number,
    number,
  ][];
  const notes = (await runStock(config, 'SELECT id FROM note')) as [string][];
  return {
    balances: balances.map(([balance]) => balance as number),
    ids: [...entries.map(([id]) => id), ...notes.map(([id]) => id)],
    transfers: entries.map(([id, from, to, amount]) => ({ id, from, to, amount })),
  };
}
