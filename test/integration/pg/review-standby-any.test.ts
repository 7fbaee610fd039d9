import { describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { onMessage } from '../../support/on-message.ts';
import { settle } from '../../support/settle.ts';

describe('review: a session that began on a standby', () => {
  const lab = FailoverLab.forThisSuite({ standbys: 1 });

  it('F2: is not told COMMIT for what was never committed, once it is on the primary', async () => {
    const [standby] = lab.cluster.standbys;
    const hosts = [lab.proxyOf(standby!), lab.proxy];
    const client = await lab.connect({
      connectionString: lab.cluster.connectionString({
        hosts,
        parameters: { target_session_attrs: 'prefer-standby' },
      }),
    });
    const at = await client.query('SELECT pg_is_in_recovery() AS standby');
    expect(at.rows).toEqual([{ standby: true }]);
    await standby!.kill();
    const now = await client.query('SELECT pg_is_in_recovery() AS standby');
    expect(now.rows).toEqual([{ standby: false }]);
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    const { proxy } = lab;
    const pending = settle(client.query('COMMIT'));
    await onMessage(proxy, { from: 'client', type: 'Q', text: 'COMMIT' }, 'hold');
    proxy.cut();
    const { error } = await pending;
    const notes = await lab.notes();
    if (error === undefined) expect(notes).toEqual(['a']);
  });
});
