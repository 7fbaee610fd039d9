import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MARK_SQL, parseMark, tryMark } from '../../../src/pg/commit-mark.ts';
import { parseLsn } from '../../../src/pg/lsn.ts';
import { runProbe } from '../../../src/pg/probe.ts';
import type { SqlRunner } from '../../../src/pg/sql-runner.ts';
import type { PostgresNode } from '../../support/postgres-node.ts';
import { ResolverLab } from '../../support/resolver-lab.ts';
import { sqlRunnerOver } from '../../support/sql-runner-over.ts';

describe.each(['14', '15', '16', '17', '18'])('PostgreSQL %s', (version) => {
  let lab: ResolverLab;
  beforeAll(async () => {
    lab = await ResolverLab.start({ version, standbys: 1 });
  });
  afterAll(async () => {
    await lab.stop();
  });

  async function runnerOn(node: PostgresNode, config: pg.ClientConfig = {}): Promise<SqlRunner> {
    return sqlRunnerOver(await lab.dial(node, config));
  }

  async function markOf(client: pg.Client): Promise<ReturnType<typeof parseMark>> {
    const { rows } = await client.query<(string | null)[]>({
      name: 'mark',
      text: MARK_SQL,
      rowMode: 'array',
    });
    return parseMark(rows[0]!);
  }

  it('says who a primary is', async () => {
    const client = await lab.dial(lab.cluster.primary);
    const probe = await runProbe(sqlRunnerOver(client));
    expect(probe).toMatchObject({
      inRecovery: false,
      writable: true,
      systemIdentifier: String(lab.cluster.primary.systemIdentifier),
      timeline: 1,
      replayLsn: null,
      receiveLsn: null,
      logTimelines: [1],
      searchPath: '"$user", public',
      defaultIsolation: 'read committed',
      synchronousStandbys: false,
      canMark: true,
      databaseName: 'app',
      sessionUser: 'app',
      currentUser: 'app',
    });
    expect(probe.incarnation).not.toBeNull();
    expect(probe.serverVersionNum).toBeGreaterThanOrEqual(Number(version) * 10_000);
    const { rows } = await client.query<{ pid: string; same: boolean }>(
      `SELECT pid::text, extract(epoch FROM backend_start)::text = $1 AS same
       FROM pg_stat_activity WHERE pid = pg_backend_pid()`,
      [probe.backend!.backendStart],
    );
    expect(rows).toEqual([{ pid: probe.backend!.pid, same: true }]);
    expect(probe.backend!.backendStart).toMatch(/^\d{10}\.\d{6}$/);
  });

  it('says who a standby is', async () => {
    const probe = await runProbe(await runnerOn(lab.cluster.standbys[0]!));
    expect(probe).toMatchObject({ inRecovery: true, writable: false, timeline: null, insertLsn: null });
    expect(probe.systemIdentifier).toBe(String(lab.cluster.primary.systemIdentifier));
    expect(probe.replayLsn).not.toBeNull();
    expect(probe.receiveLsn).not.toBeNull();
    expect(probe.logTimelines).toContain(1);
  });

  it('does not depend on the settings of the session, nor on what lies in its search_path', async () => {
    const client = await lab.dial(lab.cluster.primary);
    const plain = await runProbe(sqlRunnerOver(client));
    await client.query(`
      CREATE SCHEMA trap;
      CREATE FUNCTION trap.pg_is_in_recovery() RETURNS boolean LANGUAGE sql AS 'SELECT true';
      CREATE FUNCTION trap.pg_current_xact_id_if_assigned() RETURNS xid8 LANGUAGE sql AS $$ SELECT '1'::xid8 $$;
      CREATE DOMAIN trap.text AS pg_catalog.text CHECK (VALUE IS NULL);
      CREATE FUNCTION trap.never(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT false';
      CREATE OPERATOR trap.<> (LEFTARG = pg_catalog.text, RIGHTARG = pg_catalog.text, FUNCTION = trap.never);
      CREATE OPERATOR trap.= (LEFTARG = pg_catalog.text, RIGHTARG = pg_catalog.text, FUNCTION = trap.never);
      SET search_path = trap, pg_catalog;
      SET DateStyle = 'German'; SET IntervalStyle = 'sql_standard'; SET TimeZone = 'Asia/Kathmandu';
      SET extra_float_digits = -15; SET default_transaction_isolation = 'serializable'`);
    const probe = await runProbe(sqlRunnerOver(client));
    expect(probe).toEqual({
      ...plain,
      searchPath: 'trap, pg_catalog',
      defaultIsolation: 'serializable',
      insertLsn: probe.insertLsn,
    });
    expect(await markOf(client)).toBeNull();
    await client.query('RESET search_path; DROP SCHEMA trap CASCADE');
  });

  it('is not writable where transactions are read-only by default', async () => {
    const runner = await runnerOn(lab.cluster.primary, { options: '-c default_transaction_read_only=on' });
    expect(await runProbe(runner)).toMatchObject({ inRecovery: false, writable: false, canMark: true });
  });

  it('does with less where a function is refused, and takes no mark where that one is', async () => {
    const { primary } = lab.cluster;
    const refuse = async (what: string): Promise<void> => {
      await primary.query(`REVOKE EXECUTE ON FUNCTION ${what} FROM PUBLIC`);
    };
    await refuse(
      'pg_logical_emit_message(boolean, text, text' + (Number(version) >= 17 ? ', boolean)' : ')'),
    );
    const unmarked = await runnerOn(primary);
    expect(await runProbe(unmarked)).toMatchObject({ canMark: false, timeline: 1 });
    expect(await tryMark(unmarked)).toBe(false);
    await refuse('pg_control_system()');
    const positionless = await runProbe(await runnerOn(primary));
    expect(positionless).toMatchObject({ writable: true, timeline: null, incarnation: null, canMark: false });
    expect(positionless.backend).not.toBeNull();
    await refuse('pg_stat_get_activity(integer)');
    const bare = await runProbe(await runnerOn(primary));
    expect(bare).toMatchObject({ inRecovery: false, writable: true, backend: null, sessionUser: 'app' });
    await primary.query('GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA pg_catalog TO PUBLIC');
  });

  it('gives a mark to a transaction that writes, and leaves the others as they are', async () => {
    const { primary } = lab.cluster;
    const client = await lab.dial(primary);
    expect(await tryMark(sqlRunnerOver(client))).toBe(true);
    const xid = async (): Promise<unknown> =>
      (await client.query('SELECT pg_current_xact_id_if_assigned()::text AS xid')).rows[0].xid;

    for (const begin of [
      'BEGIN',
      'BEGIN READ ONLY',
      'BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE',
    ]) {
      await client.query(begin);
      await client.query('SELECT count(*) FROM note');
      expect(await markOf(client)).toBeNull();
      expect(await xid()).toBeNull();
      await client.query('COMMIT');
    }
    for (const begin of ['BEGIN', 'BEGIN ISOLATION LEVEL SERIALIZABLE', 'BEGIN; SAVEPOINT s']) {
      await client.query(begin);
      await client.query(`INSERT INTO note VALUES ('x')`);
      const mark = (await markOf(client))!;
      expect(mark.xid).toBe(await xid());
      const { rows } = await client.query<{ at: string }>('SELECT pg_current_wal_insert_lsn()::text AS at');
      expect(parseLsn(rows[0]!.at) >= mark.lsn).toBe(true);
      // Each is the end of one record of some 50 bytes; other processes write between them, though not each time.
      const positions: bigint[] = [];
      for (let count = 0; count < 5; count += 1) positions.push((await markOf(client))!.lsn);
      const distances = positions.slice(1).map((lsn, index) => Number(lsn - positions[index]!));
      expect(Math.min(...distances)).toBeGreaterThan(0);
      expect(Math.min(...distances)).toBeLessThan(100);
      await client.query('ROLLBACK');
    }
    // An xid can be assigned in a READ ONLY transaction, and then be marked.
    await client.query('BEGIN READ ONLY');
    await client.query('SELECT pg_current_xact_id()');
    expect((await markOf(client))?.xid).toBe(await xid());
    await client.query('COMMIT');
  });

  it('tells a promoted standby by its switch point, over a session from before the promotion', async () => {
    const standby = lab.cluster.standbys[0]!;
    // What the tests before took from its functions' rights, they gave back on the primary.
    await lab.cluster.waitForReplay();
    const runner = await runnerOn(standby);
    const before = await runProbe(runner);
    expect((await runner.run(MARK_SQL))[0]).toEqual([null, null]);
    expect(await tryMark(runner)).toBe(true);
    await lab.cluster.waitForReplay();
    await lab.cluster.primary.kill();
    const next = await lab.cluster.failover();
    const after = await runProbe(runner);
    expect(after).toMatchObject({
      inRecovery: false,
      writable: true,
      timeline: 2,
      startTime: before.startTime,
    });
    expect(after.incarnation).not.toBe(before.incarnation);
    expect(after.receiveLsn).not.toBeNull();
    const { rows } = await next.query<{ history: string }>(
      `SELECT pg_read_file('pg_wal/00000002.history') AS history`,
    );
    const [, at] = rows[0]!.history.split('\t');
    expect(after.replayLsn!.toString(16).toUpperCase()).toBe(at!.replace('0/', '').trim());
    await next.query('CHECKPOINT');
    expect((await runProbe(await runnerOn(next))).incarnation).toBe(after.incarnation);
  });
});
