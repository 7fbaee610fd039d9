import { describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { settle } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

describe('a session with a temporary table', () => {
  const lab = FailoverLab.forThisSuite({ standbys: 0 });

  it('is not read back behind each of its statements, since no other server has that table', async () => {
    const client = await lab.connect();
    await client.query('CREATE TEMP TABLE kept (id int)');
    for (let id = 0; id < 3; id++) await client.query('INSERT INTO kept VALUES ($1)', [id]);
    let checks = 0;
    lab.proxy.onFrontendMessage = (_type, body) => {
      if (body.includes('pg_listening_channels')) checks++;
      return undefined;
    };
    const startedAt = performance.now();
    for (let id = 0; id < 50; id++) await client.query('INSERT INTO kept VALUES ($1)', [id]);
    const seconds = (performance.now() - startedAt) / 1_000;
    // One in front of the next statement each second; what is looked after in idle moments comes on top at the end.
    expect(checks).toBeLessThanOrEqual(2 + seconds);
  });

  it('is refused by that name when it is lost', async () => {
    const client = await lab.connect();
    await client.query('CREATE TEMP TABLE kept (id int)');
    for (let id = 0; id < 3; id++) await client.query('INSERT INTO kept VALUES ($1)', [id]);
    lab.proxy.cut();
    await settle(client.query('SELECT 1'));
    await waitFor(() => client.seen.errors.length > 0);
    expect(client.seen.errors[0]?.message).toContain('kept');
  });
});
