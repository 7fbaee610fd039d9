import { beforeAll, describe, expect, it } from 'vitest';
import { FailoverLab, type WatchedClient } from '../../support/failover-lab.ts';
import { onMessage } from '../../support/on-message.ts';
import { settle } from '../../support/settle.ts';

const WAYS = [
  'SET LOCAL search_path = tenant',
  `SELECT set_config('search_path', 'tenant', true)`,
  'SELECT enter_tenant()',
  'SET search_path = tenant',
  'SET LOCAL ROLE tenant',
];

describe('a transaction changes what its names mean: touch() reads in one schema and writes in the other', () => {
  const lab = FailoverLab.forThisSuite({ standbys: 0 });
  beforeAll(async () => {
    await lab.primary.query(`
      CREATE ROLE tenant; CREATE SCHEMA tenant;
      GRANT ALL ON SCHEMA tenant TO PUBLIC; GRANT ALL ON note TO tenant;
      DO $$ BEGIN
        EXECUTE format('GRANT tenant TO %I', (SELECT tableowner FROM pg_tables WHERE tablename = 'note'));
      END $$;
      CREATE FUNCTION public.touch() RETURNS void LANGUAGE sql AS 'SELECT count(*) FROM public.note';
      CREATE FUNCTION tenant.touch() RETURNS void LANGUAGE sql AS $$INSERT INTO public.note VALUES ('once')$$;
      CREATE FUNCTION public.enter_tenant() RETURNS void LANGUAGE plpgsql AS
        $$BEGIN SET LOCAL search_path = tenant; END$$;
      CREATE FUNCTION public.login() RETURNS void LANGUAGE sql AS 'SELECT count(*) FROM public.note';
      CREATE FUNCTION tenant.login() RETURNS text LANGUAGE sql AS
        $$SELECT set_config('work_mem', '7777kB', false)$$`);
  });

  /** In the end the driver has judged everything that runs, each in a transaction of its own. */
  async function knowAll(client: WatchedClient, way: string): Promise<void> {
    for (const sql of [way, 'SELECT touch()', way, 'SELECT touch()']) {
      await client.query('BEGIN');
      await client.query(sql);
      await client.query('ROLLBACK');
    }
  }

  it.each(WAYS)('takes effect once behind %s if the answer to its COMMIT is lost', async (way) => {
    const client = await lab.connect();
    await knowAll(client, way);
    await client.query('BEGIN');
    await client.query(way);
    await client.query('SELECT touch()');
    const lost = onMessage(lab.proxy, { from: 'server', type: 'C', text: 'COMMIT' }, 'cut-before');
    const pending = settle(client.query('COMMIT'));
    await lost;
    await pending;
    expect(await lab.notes()).toEqual(['once']);
  });

  it.each(WAYS)('is not called committed behind %s if its COMMIT never arrived', async (way) => {
    const client = await lab.connect();
    await knowAll(client, way);
    await client.query('BEGIN');
    await client.query(way);
    await client.query('SELECT touch()');
    const lost = onMessage(lab.proxy, { from: 'client', type: 'Q', text: 'COMMIT' }, 'drop');
    const pending = settle(client.query('COMMIT'));
    await lost;
    lab.proxy.cut();
    const { error } = await pending;
    expect(await lab.notes()).toEqual(error === undefined ? ['once'] : []);
  });

  it.each(WAYS)('is not said to be rolled back behind %s once its journal is over its limit', async (way) => {
    const client = await lab.connect({ failover: { maxJournalStatements: 4 } });
    await knowAll(client, way);
    await client.query('BEGIN');
    await client.query(way);
    await client.query('SELECT touch()');
    for (let count = 0; count < 6; count++) await client.query('SELECT 1');
    const lost = onMessage(lab.proxy, { from: 'server', type: 'C', text: 'COMMIT' }, 'cut-before');
    const pending = settle(client.query('COMMIT'));
    await lost;
    const { error } = await pending;
    expect(error?.outcome).not.toBe('rolled-back');
    expect(await lab.notes()).toEqual(['once']);
  });

  it.each([
    [
      'one after the other',
      ['BEGIN', `SELECT set_config('search_path', 'tenant', true)`, 'SELECT login()', 'COMMIT'],
    ],
    ['by a function', ['BEGIN', 'SELECT enter_tenant()', 'SELECT login()', 'COMMIT']],
    ['in one string', [`SET LOCAL search_path = tenant; SELECT login()`]],
    ['in one string, by a call', [`SELECT set_config('search_path', 'tenant', true); SELECT login()`]],
  ])('never goes on without the settings that a function made under other names: %s', async (_how, work) => {
    for (const isFirst of [true, false]) {
      const client = await lab.connect();
      if (!isFirst) {
        // The function of the session's own path is known as harmless.
        await client.query('SELECT login()');
        await client.query('SELECT login()');
      }
      for (const sql of work) await client.query(sql);
      await client.query('SELECT 1');
      const before = (await client.query('SHOW work_mem')).rows;
      expect(before).toEqual([{ work_mem: '7777kB' }]);
      lab.proxy.cut();
      const { value, error } = await settle(client.query('SHOW work_mem'));
      if (error === undefined) expect(value?.rows).toEqual(before);
    }
  });
});
