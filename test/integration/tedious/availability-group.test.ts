import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ConfigurationError } from '../../../src/errors.ts';
import { availabilityGroup, Connection } from '../../../src/tedious.ts';
import type { TopologyProvider } from '../../../src/topology/topology-provider.ts';
import { begin, commit, connected, run, runStock } from '../../support/sqlserver/run-stock.ts';
import { SqlServerCluster } from '../../support/sqlserver/sql-server-cluster.ts';

let cluster: SqlServerCluster;

beforeAll(async () => {
  cluster = await SqlServerCluster.start({
    standbys: 2,
    setUp: ['CREATE TABLE dbo.account (id int NOT NULL PRIMARY KEY, balance int NOT NULL)'],
  });
});
afterAll(async () => {
  await cluster.stop();
});
beforeEach(async () => {
  await cluster.ready();
});

/** Knows one host only, a secondary. */
function provider(): TopologyProvider {
  const { authentication, options } = cluster.stockConfig();
  const secondary = cluster.gateways.find((one) => one !== cluster.gateway)!;
  const hosts = [{ host: secondary.host, port: secondary.port }];
  return availabilityGroup({ hosts, connection: { authentication: authentication!, options: options! } });
}

const discover = (from: TopologyProvider): ReturnType<TopologyProvider['discover']> =>
  from.discover(AbortSignal.timeout(5_000));

describe('an availability group', () => {
  it('is learned from one of its secondaries, its primary too', async () => {
    const view = await discover(provider());
    expect([...view.hosts].map(({ port }) => port).sort()).toEqual(
      cluster.hosts.map(({ port }) => port).sort(),
    );
    expect(view.primary?.port).toBe(cluster.gateway.port);
  });

  it('has another primary behind a failover', async () => {
    const from = provider();
    await discover(from);
    await cluster.replacePrimary();
    const view = await discover(from);
    expect(view.primary?.port).toBe(cluster.gateway.port);
  });

  it('leads an open transaction to its new primary', async () => {
    await runStock(cluster.stockConfig(), 'DELETE FROM account;INSERT INTO account VALUES (1, 100)');
    const connection = await connected(
      new Connection({ ...cluster.stockConfig(), failover: { provider: provider() } }),
    );
    await begin(connection);
    await run(connection, 'UPDATE account SET balance = balance - 1 WHERE id = 1');
    await cluster.replacePrimary();
    await commit(connection);
    expect(await runStock(cluster.stockConfig(), 'SELECT balance FROM account')).toEqual([[99]]);
    connection.close();
  });

  it('is a list of hosts for a login that may not look', async () => {
    const views = 'sys.availability_replicas, sys.dm_hadr_availability_replica_states';
    const { primary } = cluster.postgres;
    await primary.query(`REVOKE SELECT ON ${views} FROM PUBLIC`);
    await cluster.ship();
    try {
      const view = await discover(provider());
      expect(view.hosts).toHaveLength(1);
      expect(view.primary).toBeUndefined();
    } finally {
      await primary.query(`GRANT SELECT ON ${views} TO PUBLIC`);
      await cluster.ship();
    }
  });

  it('that is not the named one tells nothing', async () => {
    const { authentication, options } = cluster.stockConfig();
    const connection = { authentication: authentication!, options: options! };
    const other = availabilityGroup({ hosts: [...cluster.hosts], connection, group: 'another' });
    expect((await discover(other)).primary).toBeUndefined();
    const own = availabilityGroup({ hosts: [...cluster.hosts], connection, group: 'GROUP1' });
    expect((await discover(own)).primary?.port).toBe(cluster.gateway.port);
  });

  it('of which nobody answers is an error, for the last good view to be used', async () => {
    const { authentication, options } = cluster.stockConfig();
    const none = availabilityGroup({
      hosts: ['127.0.0.1:1'],
      connection: { authentication: authentication!, options: options! },
      timeoutMillis: 500,
    });
    await expect(discover(none)).rejects.toThrow('no server of the availability group answers');
  });
});

it('nobody is left with the failure of a question whose asker has gone', async () => {
  const failures: unknown[] = [];
  const note = (error: unknown): void => {
    failures.push(error);
  };
  process.on('unhandledRejection', note);
  try {
    const none = availabilityGroup({ hosts: ['127.0.0.1:1'], connection: {}, timeoutMillis: 300 });
    await expect(none.discover(AbortSignal.abort(new Error('gone')))).rejects.toThrow('gone');
    await expect(discover(none)).rejects.toThrow('no server of the availability group answers');
    expect(failures).toEqual([]);
  } finally {
    process.off('unhandledRejection', note);
  }
});

describe('bad options', () => {
  const connection = {};
  it.each([
    [{ hosts: [], connection }, 'availabilityGroup.hosts is an empty list'],
    [{ hosts: ['a:b'], connection }, 'availabilityGroup.hosts[0] is "a:b"'],
    [{ hosts: ['a'] }, 'availabilityGroup.connection is missing'],
    [{ hosts: ['a'], connection, timeoutMillis: 0 }, 'availabilityGroup.timeoutMillis is 0'],
    [{ hosts: ['a'], connection, group: '' }, 'availabilityGroup.group is ""'],
    [{ hosts: ['a'], connection, addressOf: 'a' }, 'availabilityGroup.addressOf is "a"'],
    [{ hosts: ['a'], connection, grup: 'x' }, `no option "grup"; did you mean 'group'?`],
  ])('%o', (options, message) => {
    const make = (): unknown => availabilityGroup(options as never);
    expect(make).toThrow(ConfigurationError);
    expect(make).toThrow(message);
  });
});
