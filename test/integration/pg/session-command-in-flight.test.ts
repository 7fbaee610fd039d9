import { describe, expect, it } from 'vitest';
import type { QueryConfig } from 'pg';
import { FailoverLab } from '../../support/failover-lab.ts';
import { losePrimaryBefore, losePrimaryBehind } from '../../support/lose-primary.ts';
import { onMessage } from '../../support/on-message.ts';
import { settle } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';
import { expectKeptOrRefused } from './kept-or-refused.ts';

/** Run twice they leave the same behind, so nobody need be told that it is not known whether they ran. */
describe('a command about the session is in flight when the primary is lost', () => {
  const lab = FailoverLab.forThisSuite();

  const LOSSES = [
    [
      'before it arrives',
      async (text: string) => {
        await losePrimaryBefore(lab, 'Q', text);
      },
    ],
    [
      'behind its work',
      async (text: string) => {
        await losePrimaryBehind(lab, text.split(' ')[0]!);
      },
    ],
  ] as const;

  it.each(LOSSES)('SET, %s', async (_when, lose) => {
    const client = await lab.connect();
    const lost = lose('SET search_path');
    await client.query('SET search_path TO elsewhere');
    await lost;
    expect((await client.query('SHOW search_path')).rows).toEqual([{ search_path: 'elsewhere' }]);
    expect(client.seen.isQuiet).toBe(true);
  });

  it.each(LOSSES)('RESET, %s', async (_when, lose) => {
    const client = await lab.connect();
    await client.query('SET application_name TO set');
    const lost = lose('RESET application_name');
    await client.query('RESET application_name');
    await lost;
    expect((await client.query('SHOW application_name')).rows).toEqual([{ application_name: '' }]);
    expect(client.seen.isQuiet).toBe(true);
  });

  it.each(LOSSES)('DISCARD ALL, %s', async (_when, lose) => {
    const client = await lab.connect();
    await client.query(`SET search_path TO elsewhere; SET my.own TO 'x'`);
    await client.query('LISTEN news');
    const lost = lose('DISCARD ALL');
    await client.query('DISCARD ALL');
    await lost;
    const { rows } = await client.query(
      `SELECT current_setting('search_path') AS path, current_setting('my.own', true) AS own,
              (SELECT count(*)::int FROM pg_listening_channels()) AS channels`,
    );
    expect(rows[0]).toMatchObject({ path: '"$user", public', channels: 0 });
    expect(rows[0].own ?? '').toBe('');
    expect(client.seen.isQuiet).toBe(true);
  });

  it.each(LOSSES)('LISTEN of several channels, %s', async (_when, lose) => {
    const client = await lab.connect();
    const received: string[] = [];
    client.on('notification', ({ channel }) => received.push(channel));
    const lost = lose('LISTEN news');
    await client.query('LISTEN news; LISTEN weather');
    await lost;
    await waitFor(async () => {
      await lab.primary.query('NOTIFY news; NOTIFY weather');
      return received.includes('news') && received.includes('weather');
    });
    await client.query('UNLISTEN *');
    expect(client.seen.isQuiet).toBe(true);
  });
});

describe('a command about the session is in flight behind something else', () => {
  const lab = FailoverLab.forThisSuite({ standbys: 0 });

  it('does not hide that what was in flight with it may have changed the session (A8)', async () => {
    const client = await lab.connect({ pipeline: true });
    await client.query(`SET my.own = 'before'`);
    const held = onMessage(lab.proxy, { from: 'client', type: 'Q', text: 'SET my.own' }, 'hold');
    const answers = Promise.all([
      settle(client.query(`SET my.own = 'x'`)),
      settle(client.query(`DO $$ BEGIN PERFORM set_config('my.own', 'y', false); END $$`)),
    ]);
    await held;
    lab.proxy.cut();
    for (const { error } of await answers) expect(error).toBeDefined();
    expect((await settle(client.query('SHOW my.own'))).error).toBeDefined();
  });

  it('leaves the tenant that was answered last, if the application has given up on another one (R15)', async () => {
    const client = await lab.connect();
    await client.query(`SET my.own = 'a'`);
    const held = onMessage(lab.proxy, { from: 'client', type: 'Q', text: 'SET my.own' }, 'hold');
    const given = settle(client.query({ text: `SET my.own = 'b'`, query_timeout: 100 } as QueryConfig));
    await held;
    await given;
    lab.proxy.cut();
    await expectKeptOrRefused(lab, client, 'SHOW my.own', [{ 'my.own': 'a' }]);
  });
});
