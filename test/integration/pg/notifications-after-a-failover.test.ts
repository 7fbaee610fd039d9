import { describe, expect, it } from 'vitest';
import { FailoverLab, type WatchedClient } from '../../support/failover-lab.ts';
import { waitFor } from '../../support/wait-for.ts';

describe('a session listens while its primary is lost', () => {
  const lab = FailoverLab.forThisSuite();

  function listen(client: WatchedClient): { heard: string[]; gaps: (readonly string[])[] } {
    const heard: string[] = [];
    const gaps: (readonly string[])[] = [];
    client.on('notification', ({ channel, payload }) => heard.push(`${channel}: ${payload ?? ''}`));
    client.failover!.on('notificationGap', ({ channels }) => gaps.push(channels));
    return { heard, gaps };
  }

  it.each([
    ['the primary is replaced', 'replace'],
    ['only the connection is cut', 'cut'],
  ] as const)('and %s: each notification behind it comes once', async (_what, how) => {
    const client = await lab.connect();
    const { heard, gaps } = listen(client);
    await client.query('LISTEN news');
    await client.query('LISTEN "Other News"');
    await client.query('LISTEN past');
    await client.query('UNLISTEN past');
    await lab.primary.query(`NOTIFY news, 'before'`);
    await waitFor(() => heard.length === 1);
    if (how === 'replace') await lab.replacePrimary();
    else lab.proxy.cut();
    await waitFor(() => gaps.length > 0, { message: 'the event' });
    // The event tells that it listens again: from here on nothing may be missed, or come twice.
    for (let i = 1; i <= 20; i++) {
      await lab.primary.query(`SELECT pg_notify($1, $2)`, [i % 2 === 0 ? 'news' : 'Other News', String(i)]);
      await lab.primary.query(`NOTIFY past, 'nobody listens'`);
    }
    await waitFor(() => heard.length >= 21, { message: 'all of them' });
    // Behind its own statement whatever had been sent before has come.
    await client.query('SELECT 1');
    const numbers = Array.from({ length: 20 }, (_, i) => i + 1);
    expect(heard).toEqual([
      'news: before',
      ...numbers.map((i) => `${i % 2 === 0 ? 'news' : 'Other News'}: ${i}`),
    ]);
    expect(gaps.map((channels) => [...channels].sort())).toEqual([['Other News', 'news']]);
    const { rows } = await client.query('SELECT pg_listening_channels() AS channel ORDER BY channel');
    expect(rows).toEqual([{ channel: 'Other News' }, { channel: 'news' }]);
    expect(client.seen.isQuiet).toBe(true);
  });

  it('in an open transaction: what it notifies itself comes once, behind its COMMIT', async () => {
    const client = await lab.connect();
    const { heard } = listen(client);
    await client.query('LISTEN own');
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    await client.query(`NOTIFY own, 'one'`);
    await client.query(`SELECT pg_notify('own', 'two')`);
    await lab.replacePrimary();
    await client.query(`NOTIFY own, 'three'`);
    expect(heard).toEqual([]);
    await client.query('COMMIT');
    await waitFor(() => heard.length >= 3);
    await client.query('SELECT 1');
    expect(heard).toEqual(['own: one', 'own: two', 'own: three']);
    expect(await lab.notes()).toEqual(['a']);
    expect(client.seen.isQuiet).toBe(true);
  });

  it('and a LISTEN of the transaction that is replayed takes effect with it, one that was rolled back does not', async () => {
    const client = await lab.connect();
    const { heard } = listen(client);
    await client.query('BEGIN');
    await client.query('LISTEN never');
    await client.query('ROLLBACK');
    await client.query('BEGIN');
    await client.query('LISTEN inside');
    await client.query(`INSERT INTO note VALUES ('a')`);
    await lab.replacePrimary();
    await client.query('COMMIT');
    await lab.primary.query(`NOTIFY never, 'x'`);
    await lab.primary.query(`NOTIFY inside, 'y'`);
    await waitFor(() => heard.length > 0);
    await client.query('SELECT 1');
    expect(heard).toEqual(['inside: y']);
    expect(client.seen.isQuiet).toBe(true);
  });
});
