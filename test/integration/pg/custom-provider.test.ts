import { describe, expect, it } from 'vitest';
import type { TopologyProvider, TopologyView } from '../../../src/index.ts';
import type { ClientConfig } from '../../../src/pg.ts';
import { FailoverLab } from '../../support/failover-lab.ts';
import { APPLICATION } from '../../support/postgres-template.ts';

/** The interface is public: any object that says where the servers are. */
describe("the application's own topology provider", () => {
  const lab = FailoverLab.forThisSuite({ standbys: 1 });

  /** Who connects, and nothing about where. */
  function withProvider(discover: () => TopologyView): ClientConfig {
    const provider: TopologyProvider = {
      async discover() {
        return await Promise.resolve(discover());
      },
    };
    return { ...APPLICATION, connectionString: '', failover: { provider } };
  }

  const hosts = (): TopologyView['hosts'] => lab.proxies.map(({ host, port }) => ({ host, port }));

  it('is asked for the new primary, whatever it believes about it', async () => {
    const { host, port } = lab.proxy;
    const client = await lab.connect(withProvider(() => ({ hosts: hosts(), primary: { host, port } })));
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('x')`);
    await lab.replacePrimary();
    // Its word is out of date by now: the host that it names is dead.
    await client.query('COMMIT');
    expect(await lab.notes()).toEqual(['x']);
  });

  it('may learn of the new primary later than the driver needs it', async () => {
    let view: TopologyView['hosts'] = hosts().filter(({ port }) => port === lab.proxy.port);
    const client = await lab.connect(withProvider(() => ({ hosts: view })));
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('x')`);
    await lab.replacePrimary();
    const commit = client.query('COMMIT');
    await new Promise((resolve) => setTimeout(resolve, 500));
    view = hosts();
    await commit;
    expect(await lab.notes()).toEqual(['x']);
  });

  it('may fail: what it said last stays in use, and an event tells of it', async () => {
    let isBroken = false;
    const client = await lab.connect(
      withProvider(() => {
        if (isBroken) throw new Error('the registry is down');
        return { hosts: hosts() };
      }),
    );
    const reasons: string[] = [];
    client.failover!.on('providerFailed', ({ reason }) => reasons.push(reason));
    isBroken = true;
    await lab.replacePrimary();
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    expect(reasons[0]).toBe('the registry is down');
  });

  it('can not make the driver write to a standby', async () => {
    const standby = { host: lab.standbyProxies[0]!.host, port: lab.standbyProxies[0]!.port };
    const client = await lab.connect(withProvider(() => ({ hosts: hosts(), primary: standby })));
    await client.query(`INSERT INTO note VALUES ('x')`);
    expect(await lab.notes()).toEqual(['x']);
  });
});
