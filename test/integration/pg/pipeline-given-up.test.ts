import { describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { loseAnswers, onMessage } from '../../support/on-message.ts';
import { settle } from '../../support/settle.ts';

describe('a pipeline whose recovery is given up', () => {
  const lab = FailoverLab.forThisSuite({ standbys: 0 });

  it('says of each statement what is known of it', async () => {
    const client = await lab.connect({ pipeline: true, failover: { timeoutMillis: 1_000 } });
    await client.query('SELECT 1');
    await client.query('SELECT 1'); // Behind it the first one is judged.
    const ended = new Promise((resolve) => client.once('end', resolve));
    const sent = onMessage(lab.proxy, { from: 'server', type: 'C', text: 'INSERT' }, (from) =>
      loseAnswers(lab.proxy, from),
    );
    const first = settle(client.query(`INSERT INTO note VALUES ('a')`));
    const second = settle(client.query(`INSERT INTO note VALUES ('b')`));
    const read = settle(client.query('SELECT 1'));
    await sent;
    await lab.proxy.refuse();
    lab.proxy.cut();
    expect((await first).error).toMatchObject({ kind: 'outcome-unknown', code: '08007' });
    expect((await second).error).toMatchObject({ kind: 'outcome-unknown', code: '08007' });
    expect((await read).error).toMatchObject({ kind: 'failover-failed' });
    await ended;
  });
});
