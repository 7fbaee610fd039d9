import pg from '../../src/pg.ts';
import { staticHosts } from '../../src/topology/static-hosts.ts';
import { PostgresCluster } from '../support/postgres-cluster.ts';
import { APPLICATION } from '../support/postgres-template.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import { median } from './statistics.ts';

/** From the cut to the answer of the transaction's next statement. */
export interface FailoverTime {
  readonly variant: string;
  readonly cuts: number;
  readonly medianMillis: number;
  readonly maxMillis: number;
}

const STATEMENTS: readonly string[] = [
  'UPDATE account SET balance = balance - 1 WHERE id = 1',
  'SELECT balance FROM account WHERE id = 1',
  'UPDATE account SET balance = balance + 1 WHERE id = 2',
  'SELECT balance FROM account WHERE id = 2',
  "INSERT INTO entry (what) VALUES ('transfer')",
];
/** What the application asks next, without knowing of the cut. */
const NEXT = 'SELECT count(*) FROM entry';

/**
 * Cuts the connection under an open transaction of five statements, again and again, while a server that takes writes
 * is there already: what is measured is the driver, not the promotion.
 */
export async function measureFailovers(cuts: number, durable: boolean): Promise<readonly FailoverTime[]> {
  const cluster = await PostgresCluster.start({ standbys: 1, durable });
  const [first, second] = await Promise.all(cluster.nodes.map(async (node) => await TcpProxy.start(node)));
  try {
    await cluster.primary.query(`
      CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL);
      CREATE TABLE entry (what text);
      INSERT INTO account VALUES (1, 1000), (2, 1000);
      GRANT ALL ON account, entry TO app`);
    await cluster.waitForReplay();
    const same = await measureSameServer(first!, cuts);
    await cluster.failover();
    const promoted = await measurePromoted(first!, second!, { cuts, isFirst: false });
    const cold = await measurePromoted(first!, second!, { cuts, isFirst: true });
    return [same, promoted, cold];
  } finally {
    await Promise.all([first?.stop(), second?.stop()]);
    await cluster.stop();
  }
}

/** One connection is reset; its server goes on and takes the session's next connection. */
async function measureSameServer(proxy: TcpProxy, cuts: number): Promise<FailoverTime> {
  const client = new pg.Client({ host: proxy.host, port: proxy.port, ...APPLICATION });
  await client.connect();
  const times: number[] = [];
  try {
    for (let cut = 0; cut < cuts; cut++) {
      const millis = await timeToNextAnswer(client, () => {
        proxy.cut();
      });
      times.push(millis);
    }
  } finally {
    await client.end();
  }
  return summary('connection reset, server fine', times);
}

/**
 * The session's server is gone and its standby has long been promoted. Each cut has a topology of its own, so that
 * nothing is known of the hosts, and begins on the old primary, which still lives behind its proxy. `isFirst`: the
 * transaction is the first thing that the process does in this database, so that its statements are judged only now.
 */
async function measurePromoted(
  old: TcpProxy,
  next: TcpProxy,
  { cuts, isFirst }: { cuts: number; isFirst: boolean },
): Promise<FailoverTime> {
  const times: number[] = [];
  for (let cut = 0; cut < cuts; cut++) {
    await old.pass();
    await next.refuse();
    const provider = staticHosts([old, next].map(({ host, port }) => ({ host, port })));
    const client = new pg.Client({ ...APPLICATION, failover: { provider } });
    await client.connect();
    try {
      if (!isFirst) {
        await transaction(client);
        await client.query(NEXT);
        await client.query('ROLLBACK');
      }
      const millis = await timeToNextAnswer(client, async () => {
        await next.pass();
        await old.refuse();
        old.cut();
      });
      times.push(millis);
    } finally {
      await client.end();
    }
  }
  return summary(`server lost, standby promoted${isFirst ? ', first transaction' : ''}`, times);
}

async function timeToNextAnswer(
  client: InstanceType<typeof pg.Client>,
  cut: () => void | Promise<void>,
): Promise<number> {
  await transaction(client);
  await cut();
  const before = performance.now();
  await client.query(NEXT);
  const millis = performance.now() - before;
  await client.query('ROLLBACK');
  return millis;
}

async function transaction(client: InstanceType<typeof pg.Client>): Promise<void> {
  await client.query('BEGIN');
  for (const sql of STATEMENTS) await client.query(sql);
}

function summary(variant: string, times: readonly number[]): FailoverTime {
  return { variant, cuts: times.length, medianMillis: median(times), maxMillis: Math.max(...times) };
}
