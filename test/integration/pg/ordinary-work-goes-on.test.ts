import { beforeAll, describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { rejectionOf, settle } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

/** What the driver's caution must not cost: each of these was refused, cut or killed at one time. */
describe('ordinary work goes on', () => {
  const lab = FailoverLab.forThisSuite({
    standbys: 1,
    setUp: `CREATE TABLE item (id int PRIMARY KEY); CREATE SCHEMA tenant; CREATE TABLE tenant.item (id int)`,
  });
  beforeAll(async () => {
    await lab.primary.query(
      'CREATE FOREIGN DATA WRAPPER nowhere; CREATE SERVER nobody FOREIGN DATA WRAPPER nowhere',
    );
  });

  it.each([
    ['a plain session', ''],
    ['one with a temporary table', 'CREATE TEMP TABLE kept (id int)'],
  ])('on the same connection behind a statement that has failed: %s', async (_what, first) => {
    const client = await lab.connect();
    if (first !== '') await client.query(first);
    await client.query('DELETE FROM item');
    await client.query('INSERT INTO item VALUES (1)');
    const { accepted } = lab.proxy;
    for (let id = 2; id < 6; id++) {
      await client.query('BEGIN');
      expect(await rejectionOf(client.query('INSERT INTO item VALUES ($1)', [1]))).toMatchObject({
        code: '23505',
      });
      await client.query('ROLLBACK');
      await client.query('BEGIN');
      await client.query('INSERT INTO item VALUES ($1)', [id]);
      await client.query('SAVEPOINT attempt');
      await rejectionOf(client.query('INSERT INTO item VALUES ($1)', [1]));
      await client.query('ROLLBACK TO attempt');
      await client.query('INSERT INTO note VALUES ($1)', [id]);
      await client.query('COMMIT');
    }
    expect(await lab.notes()).toEqual(['2', '3', '4', '5']);
    expect(lab.proxy.accepted).toBe(accepted);
  });

  it.each([
    ['SET LOCAL search_path = tenant, public'],
    [`SET lock_timeout = '5s'`],
    ['LISTEN channel'],
    [`SELECT set_config('app.tenant', $1, true)`, 'a'],
    [`SELECT set_config($1, 'a', true)`, 'app.tenant'],
    [`INSERT INTO note VALUES ('how to do it: execute set_config( name, value )') ON CONFLICT DO NOTHING`],
  ])(
    'although something in the database could act outside of it: behind %s',
    async (sql: string, value?: string) => {
      const client = await lab.connect();
      const work = async (): Promise<void> => {
        await client.query('BEGIN');
        await client.query('INSERT INTO note VALUES ($1)', ['a']);
        await client.query(sql, value === undefined ? [] : [value]);
      };
      for (let count = 0; count < 2; count++) {
        await work();
        await client.query('ROLLBACK');
      }
      await work();
      lab.proxy.cut();
      await client.query('COMMIT');
      expect(await lab.notes()).toContain('a');
      expect(client.seen.errors).toEqual([]);
    },
  );

  it('and who was killed is told so, over a slow network as well (R14)', async () => {
    const client = await lab.connect();
    const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    for (const proxy of lab.proxies) proxy.latency(20);
    const pending = settle(client.query('SELECT pg_sleep(10)'));
    await waitFor(async () => {
      const { rowCount } = await lab.primary.query(
        `SELECT FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(10)'`,
      );
      return rowCount === 1;
    });
    await lab.primary.query('SELECT pg_terminate_backend($1)', [rows[0]!.pid]);
    expect((await pending).error).toMatchObject({ code: '57P01' });
  });
});

describe('names of settings', () => {
  const lab = FailoverLab.forThisSuite({ standbys: 0 });

  it('beyond those that are kept are not lost in silence, though others were told', async () => {
    const client = await lab.connect({ failover: { sessionVariables: ['app.told'] } });
    for (let count = 0; count < 260; count++) await client.query(`SET app.setting${count} = 'a'`);
    const read = `SELECT current_setting('app.setting259', true) AS value`;
    lab.proxy.cut();
    const { value, error } = await settle(client.query<{ value: string }>(read));
    if (error === undefined) expect(value?.rows).toEqual([{ value: 'a' }]);
    else
      await waitFor(() => client.seen.errors.some((one) => 'kind' in one && one.kind === 'session-closed'));
  });
});
