import { describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { onMessage } from '../../support/on-message.ts';
import { waitFor } from '../../support/wait-for.ts';

describe('review: the deposed primary comes back, writable', () => {
  const lab = FailoverLab.forThisSuite({ standbys: 1 });

  it('F4: a new session does not write to it', async () => {
    const old = lab.primary;
    const first = await lab.connect();
    await first.query(`INSERT INTO note VALUES ('a')`);
    await lab.replacePrimary();
    await first.query(`INSERT INTO note VALUES ('b')`);
    await old.start();
    const second = await lab.connect();
    await second.query(`INSERT INTO note VALUES ('c')`);
    await first.query(`INSERT INTO note VALUES ('d')`);
    expect(await lab.notes()).toEqual(['a', 'b', 'c', 'd']);
  });

  it('a new session that is being set up there when it is replaced works on the next one', async () => {
    const [old, standby] = [lab.primary, lab.cluster.standbys[0]!];
    const [there, next] = [lab.proxyOf(old), lab.proxyOf(standby)];
    const first = await lab.connect();
    await first.query('SELECT 1');
    // Nobody can be reached: it joins a search.
    for (const proxy of lab.proxies) await proxy.refuse();
    const second = lab.connect({ failover: { tokenSchema: 'elsewhere' } });
    const settingUp = onMessage(there, { from: 'client', type: 'B', text: 'elsewhere' }, 'hold');
    await waitFor(() => first.failover!.snapshot().waitingSessions === 1);
    await there.pass();
    const held = await settingUp;
    await there.refuse();
    await lab.shipAll();
    await lab.cluster.failover();
    await next.pass();
    for (const one of there.connections) if (one !== held) one.cut();
    await first.query(`INSERT INTO note VALUES ('a')`);
    held.release();
    await (await second).query(`INSERT INTO note VALUES ('b')`);
    expect(await lab.notes()).toEqual(['a', 'b']);
    await old.kill();
  });
});
