import { describe, expect, it } from 'vitest';
import { Pool } from '../../src/pg.ts';
import { rejectionOf, settle } from '../support/settle.ts';
import { waitFor } from '../support/wait-for.ts';
import { PoolerLab } from './pooler-lab.ts';

describe.each(['transaction', 'statement'] as const)('PgBouncer in %s mode', (poolMode) => {
  const lab = PoolerLab.forThisSuite({ poolMode, standbys: 0 });

  it('is refused at once, by client and pool, and nothing is left behind', async () => {
    const bouncer = await lab.bouncer({ default_pool_size: 1 });
    const error = await rejectionOf(lab.connect([bouncer], {}));
    expect(error).toMatchObject({ code: 'F0000', kind: 'configuration', outcome: 'not-executed' });
    expect(error.message).toContain('failover: false');
    const pool = new Pool(lab.config([bouncer], {}));
    expect(await rejectionOf(pool.query('SELECT 1'))).toMatchObject({ kind: 'configuration' });
    await pool.end();
    const stranger = await lab.stock(bouncer);
    const { rows } = await stranger.query(
      `SELECT name FROM pg_prepared_statements UNION ALL SELECT name FROM pg_settings WHERE source = 'session' AND name <> 'application_name'`,
    );
    expect(rows).toEqual([]);
  });

  it('works as with pg without failover', async () => {
    const bouncer = await lab.bouncer();
    const client = await lab.connect([bouncer], false);
    await client.query('INSERT INTO note VALUES ($1)', ['a']);
    expect(await lab.notes()).toEqual(['a']);
  });
});

/** The application has promised session mode, and it is not so: no hidden statement may touch what is somebody else's. */
describe('PgBouncer in transaction mode, said to be in session mode', () => {
  const lab = PoolerLab.forThisSuite({ poolMode: 'transaction', standbys: 0 });

  it('is found out when a second session gets the same backend', async () => {
    const bouncer = await lab.bouncer();
    const first = await lab.connect([bouncer]);
    expect(await rejectionOf(lab.connect([bouncer]))).toMatchObject({ kind: 'configuration' });
    await first.query('BEGIN');
    await first.query(`INSERT INTO note VALUES ('a')`);
    await first.query('COMMIT');
    expect(await lab.notes()).toEqual(['a']);
  });

  it.each([
    ['a simple query', (text: string) => [text]],
    ['a parameterised one', (text: string) => [text.replace(`'a'`, '$1'), ['a']]],
  ])('is found out when %s runs on another backend: it is never committed', async (_name, call) => {
    const bouncer = await lab.bouncer();
    const client = await lab.connect([bouncer]);
    const [text, values] = call(`INSERT INTO note VALUES ('a')`) as [string, string[]?];
    // More than once, as a first time the driver makes its statement anew in any case.
    for (let count = 0; count < 3; count++) {
      await client.query('BEGIN');
      await client.query(text, values);
      await client.query('COMMIT');
    }
    await lab.cluster.primary.query('TRUNCATE note');
    const other = await lab.stock(bouncer);
    await other.query('BEGIN');
    const theirs = await lab.backendOf(other); // The one over which the driver has connected.
    await client.query('BEGIN');
    const { error } = await settle(client.query(text, values).then(async () => await client.query('COMMIT')));
    expect(error?.message).toMatch(/shares server connections|Connection terminated|not queryable/);
    await waitFor(() => client.seen.ends === 1);
    expect(client.seen.errors.map(({ message }) => message).join()).toContain('shares server connections');
    expect(await lab.notes()).toEqual([]);
    await other.query(`INSERT INTO note VALUES ('theirs')`);
    expect(await lab.backendOf(other)).toBe(theirs);
    await other.query('COMMIT');
    expect(await lab.notes()).toEqual(['theirs']);
    expect(other.seen.isQuiet).toBe(true);
  });

  it('aborts nobody by its hidden statements, whosever backends they come to', async () => {
    const bouncer = await lab.bouncer();
    for (const text of ['a', 'b', 'c']) {
      const client = await lab.connect([bouncer]);
      await client.query('BEGIN');
      await client.query('INSERT INTO note VALUES ($1)', [text]);
      await client.query('COMMIT');
      await client.end();
    }
    const stranger = await lab.stock(bouncer);
    await stranger.query('BEGIN');
    await stranger.query({ name: 'holdfast_note', text: 'INSERT INTO note VALUES ($1)', values: ['d'] });
    await stranger.query('COMMIT');
    expect(await lab.notes()).toEqual(['a', 'b', 'c', 'd']);
  });
});
