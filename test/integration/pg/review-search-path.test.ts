import { beforeAll, describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { loseAnswers, onMessage } from '../../support/on-message.ts';
import { settle } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

describe('review: a session with a search_path of its own', () => {
  const lab = FailoverLab.forThisSuite({ standbys: 0 });
  beforeAll(async () => {
    await lab.primary.withClient(async (superuser) => {
      await superuser.query(`CREATE SCHEMA tenant; GRANT USAGE ON SCHEMA tenant TO app;
        CREATE FUNCTION public.f() RETURNS int LANGUAGE sql STABLE AS 'SELECT 1';
        CREATE FUNCTION tenant.f() RETURNS int LANGUAGE sql VOLATILE AS
          $$ INSERT INTO public.note VALUES ('f'); SELECT 1 $$`);
    });
  });

  it('F5: does not run a writing function again that it took for one of another schema', async () => {
    const client = await lab.connect();
    await client.query('SET search_path = tenant, public');
    await client.query('SELECT 1');
    lab.proxy.cut();
    await client.query('SELECT 1');
    await client.query('SELECT f()');
    await client.query('SELECT 1');
    expect(await lab.notes()).toEqual(['f']);
    const { proxy } = lab;
    const pending = settle(client.query('SELECT f()'));
    await onMessage(proxy, { from: 'server', type: 'T' }, (connection) => loseAnswers(proxy, connection));
    await waitFor(async () => (await lab.notes()).length === 2, { message: 'the write' });
    proxy.onBackendMessage = undefined;
    proxy.cut();
    const { error } = await pending;
    expect(await lab.notes()).toEqual(['f', 'f']);
    expect(error).toMatchObject({ outcome: 'unknown' });
  });
});
