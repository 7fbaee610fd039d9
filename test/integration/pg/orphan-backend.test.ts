import { beforeEach, describe, expect, it } from 'vitest';
import { FailoverLab } from '../../support/failover-lab.ts';
import { settle } from '../../support/settle.ts';
import { waitFor } from '../../support/wait-for.ts';

/** R12: a backend that computes does not notice that its postmaster is dead; it goes on, commits, and answers. */
describe('the postmaster is killed while a backend computes', () => {
  const lab = FailoverLab.forThisSuite({
    setUp: `
        CREATE FUNCTION compute(seconds float) RETURNS int LANGUAGE plpgsql AS $$
        DECLARE until timestamptz := clock_timestamp() + make_interval(secs => seconds);
        BEGIN WHILE clock_timestamp() < until LOOP END LOOP; RETURN 1; END $$;
        CREATE FUNCTION compute_late() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM compute(1.2); RETURN NULL; END $$;
        CREATE TABLE slow (text text);
        CREATE CONSTRAINT TRIGGER late AFTER INSERT ON slow DEFERRABLE INITIALLY DEFERRED
          FOR EACH ROW EXECUTE FUNCTION compute_late()`,
  });
  beforeEach(async () => {
    await lab.primary.query('TRUNCATE slow');
  });

  async function waitForQuery(query: string): Promise<void> {
    await waitFor(async () => {
      const { rowCount } = await lab.primary.query(
        `SELECT FROM pg_stat_activity WHERE query = $1 AND state = 'active' AND wait_event IS NULL`,
        [query],
      );
      return rowCount === 1;
    });
  }

  /** Another session of the process notices at once that the host is gone; the computing one can't. */
  async function killPostmaster(): Promise<readonly number[]> {
    await lab.shipAll();
    const { primary } = lab;
    await primary.killPostmasterOnly();
    const orphans = primary.orphans;
    expect(orphans.length).toBeGreaterThan(0);
    await lab.cluster.failover();
    return orphans;
  }

  it('does not take its result, and runs an open transaction on the new primary', async () => {
    await lab.connect();
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    const sql = `INSERT INTO note SELECT 'b' FROM compute(1.2) RETURNING current_setting('port')`;
    const pending = client.query(sql);
    await waitForQuery(sql);
    await killPostmaster();
    const { rows } = await pending;
    // A RETURNING that names the server shows which of the two answered.
    expect(rows).toEqual([{ current_setting: String(lab.primary.port) }]);
    await client.query('COMMIT');
    expect(await lab.notes()).toEqual(['a', 'b']);
    expect(client.seen.isQuiet).toBe(true);
  });

  it('does not believe its COMMIT, and commits on the new primary', async () => {
    await lab.connect();
    const client = await lab.connect();
    await client.query('BEGIN');
    await client.query(`INSERT INTO note VALUES ('a')`);
    await client.query(`INSERT INTO slow VALUES ('a')`);
    const commit = client.query('COMMIT');
    await waitForQuery('COMMIT');
    await killPostmaster();
    expect((await commit).command).toBe('COMMIT');
    expect(await lab.notes()).toEqual(['a']);
    expect((await lab.primary.query('SELECT FROM slow')).rowCount).toBe(1);
    expect(client.seen.isQuiet).toBe(true);
  });

  it('says of an autocommit write that its outcome is unknown, and does not run it on the new primary', async () => {
    await lab.connect();
    const client = await lab.connect();
    const sql = `INSERT INTO note SELECT 'a' FROM compute(1.2)`;
    const pending = settle(client.query(sql));
    await waitForQuery(sql);
    await killPostmaster();
    expect((await pending).error).toMatchObject({ code: '08007', kind: 'outcome-unknown' });
    expect(await lab.notes()).toEqual([]);
  });
});
