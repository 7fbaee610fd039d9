import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import pg from '../../../src/pg.ts';
import { PostgresCluster } from '../../support/postgres-cluster.ts';

describe('a session that wants a standby', () => {
  let cluster: PostgresCluster;

  beforeAll(async () => {
    cluster = await PostgresCluster.start({ standbys: 2 });
    await cluster.primary.query('CREATE TABLE note (id int PRIMARY KEY)');
    await cluster.primary.query('INSERT INTO note SELECT generate_series(1, 3)');
    await cluster.primary.query('GRANT ALL ON note TO app');
    await cluster.waitForReplay();
  });

  afterAll(async () => {
    await cluster.stop();
  });

  it('goes on with its open transaction on the other standby when the first one dies', async () => {
    const client = new pg.Client({
      connectionString: cluster.connectionString({ parameters: { target_session_attrs: 'standby' } }),
    });
    await client.connect();
    await client.query('BEGIN READ ONLY');
    const before = await client.query('SELECT count(*)::int AS count, inet_server_port() AS port FROM note');
    expect(before.rows[0].count).toBe(3);
    await client.query('COMMIT');
    await client.query('BEGIN READ ONLY');
    expect((await client.query('SELECT count(*)::int AS count FROM note')).rows).toEqual([{ count: 3 }]);

    const lost = cluster.standbys.find((node) => node.port === before.rows[0].port);
    await lost?.kill();

    expect((await client.query('SELECT max(id) AS max FROM note')).rows).toEqual([{ max: 3 }]);
    await client.query('COMMIT');
    const after = await client.query('SELECT inet_server_port() AS port, pg_is_in_recovery() AS standby');
    expect(after.rows[0].standby).toBe(true);
    expect(after.rows[0].port).not.toBe(before.rows[0].port);
    await client.end();
  });
});
