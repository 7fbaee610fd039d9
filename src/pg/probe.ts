/**
 * Asks a server, over a live connection, who it is and what it may be used for.
 *
 * What a topology provider says is a hint; this decides (design.md section 6). The probe is one statement, needs
 * nothing but an ordinary role, writes nothing, and runs on primaries and standbys of PostgreSQL 14 to 18. A server
 * that refuses one of its functions (Aurora, a hardened installation) is asked for less: then the log positions are
 * unknown and everything that rests on them is off, but no user ever sees an error (design review D1).
 */
import type { Lsn } from './lsn.ts';
import { parseLsn } from './lsn.ts';
import type { SqlRow, SqlRunner } from './sql-runner.ts';
import { SqlError } from './sql-runner.ts';

/** A backend as the server knows it. Both are needed: process ids are used again (design review A16). */
export interface BackendIdentity {
  /** pg_backend_pid(), not the protocol's: a pooler makes that one up. */
  readonly pid: string;
  /** Seconds since 1970 with microseconds, as text, compared bytewise. */
  readonly backendStart: string;
  /** A pooler stands in front of it: when our session has ended it may work for another one, so it must not be ended. */
  readonly isPooled?: boolean;
}

/** What one probe saw. `null` is "the server did not say". */
export interface ProbeResult {
  readonly inRecovery: boolean;
  /** Not in recovery, and transactions here may write by default. */
  readonly writable: boolean;
  /** The same for all servers of one physical cluster. */
  readonly systemIdentifier: string | null;
  /** `null` also while in recovery, where an ordinary role can't read it. */
  readonly timeline: number | null;
  /**
   * Names one life of one server: the time from one start or crash recovery or promotion to the next. Equal for two
   * connections only if nothing of the server's memory was lost between them. `null` where it can't be told.
   */
  readonly incarnation: string | null;
  /** Seconds since 1970 with microseconds, as text. Not changed by a promotion nor by the recovery from a backend's crash. */
  readonly startTime: string | null;
  /**
   * Where recovery stands, or ended: the switch point of a promoted standby, the end of the recovered log after a
   * crash. `null` for a server that never recovered since its start.
   */
  readonly replayLsn: Lsn | null;
  /** Not null while in recovery with a walreceiver, and for the rest of that life if it was promoted. */
  readonly receiveLsn: Lsn | null;
  /** Timelines that this server's log is known to contain, in no order; not all of them. */
  readonly logTimelines: readonly number[];
  /** Where the next record goes; `null` in recovery. */
  readonly insertLsn: Lsn | null;
  readonly backend: BackendIdentity | null;
  /** pg_backend_pid(). */
  readonly backendPid: string | null;
  /** Its session was given another process id: somebody stands in between who makes them up. */
  readonly isPooled: boolean;
  /** Such as 170010. */
  readonly serverVersionNum: number | null;
  readonly searchPath: string | null;
  /** `default_transaction_isolation`, such as 'read committed'. */
  readonly defaultIsolation: string | null;
  /** True if a COMMIT waits for a standby: `synchronous_standby_names` is not empty. */
  readonly synchronousStandbys: boolean;
  /** True if this role may execute what the commit mark is made of. */
  readonly canMark: boolean;
  readonly databaseName: string | null;
  readonly sessionUser: string | null;
  readonly currentUser: string | null;
}

// Every name is qualified: the application's search_path is in force when this runs.
const BARE = [
  'r.in_recovery::pg_catalog.text',
  `pg_catalog.current_setting('transaction_read_only')`,
  `pg_catalog.current_setting('server_version_num')`,
  `pg_catalog.current_setting('search_path')`,
  `pg_catalog.current_setting('default_transaction_isolation')`,
  'pg_catalog.current_database()::pg_catalog.text',
  'session_user::pg_catalog.text',
  'current_user::pg_catalog.text',
];

const PID = ['pg_catalog.pg_backend_pid()::pg_catalog.text'];

const BACKEND = [
  // As seconds, because DateStyle and TimeZone change how a timestamp is written.
  `(SELECT extract(epoch FROM a.backend_start)::pg_catalog.text
    FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid()) AS a)`,
  `(pg_catalog.current_setting('synchronous_standby_names') OPERATOR(pg_catalog.<>) '')::pg_catalog.text`,
];

const POSITIONS = [
  '(SELECT c.system_identifier::pg_catalog.text FROM pg_catalog.pg_control_system() AS c)',
  // Not pg_control_checkpoint(): that one is stale from the promotion to the next checkpoint. It fails in recovery.
  `CASE WHEN r.in_recovery THEN NULL ELSE pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()) END`,
  'extract(epoch FROM pg_catalog.pg_postmaster_start_time())::pg_catalog.text',
  'pg_catalog.pg_last_wal_replay_lsn()::pg_catalog.text',
  'pg_catalog.pg_last_wal_receive_lsn()::pg_catalog.text',
  'CASE WHEN r.in_recovery THEN NULL ELSE pg_catalog.pg_current_wal_insert_lsn()::pg_catalog.text END',
  // The second signature is that of PostgreSQL 16 and older. Looking the function up in pg_proc costs 0.7 ms more.
  `(pg_catalog.has_function_privilege('pg_catalog.pg_current_xact_id_if_assigned()', 'EXECUTE')
    AND pg_catalog.has_function_privilege(coalesce(
      pg_catalog.to_regprocedure('pg_catalog.pg_logical_emit_message(pg_catalog.bool, pg_catalog.text, pg_catalog.text, pg_catalog.bool)'),
      pg_catalog.to_regprocedure('pg_catalog.pg_logical_emit_message(pg_catalog.bool, pg_catalog.text, pg_catalog.text)')), 'EXECUTE'))::pg_catalog.text`,
  // The first two lag behind by up to a checkpoint, and the last is NULL without pg_read_all_stats.
  `pg_catalog.concat_ws(',',
    (SELECT c.timeline_id FROM pg_catalog.pg_control_checkpoint() AS c),
    (SELECT c.min_recovery_end_timeline FROM pg_catalog.pg_control_recovery() AS c),
    (SELECT w.received_tli FROM pg_catalog.pg_stat_get_wal_receiver() AS w))`,
];

// in_recovery is read once and first, so that all columns agree about it. It turns false for good when the replay
// position has come to its end: 17,000 samples in tight loops through promotions, none early.
const FROM = ' FROM (SELECT pg_catalog.pg_is_in_recovery() AS in_recovery OFFSET 0) AS r';

function statement(columns: readonly string[]): string {
  return `SELECT ${columns.join(', ')}${FROM}`;
}

/** Everything, in one statement. */
export const PROBE_SQL = statement([...BARE, ...PID, ...BACKEND, ...POSITIONS]);

/** From the most telling to what any server answers. */
const PROBES = [
  PROBE_SQL,
  statement([...BARE, ...PID, ...BACKEND]),
  statement([...BARE, ...PID]),
  statement(BARE),
];

/** A server that is promoted in the middle of the statement may say 55000; a moment later it does not. */
const ATTEMPTS = 4;

/**
 * What the answer to a probe says about the server's state rather than about the statement. These are passed on; any
 * other error means that the server does not have, or does not let us have, something that was asked for.
 */
const PASSED_ON = [
  '08', // connection
  '53', // too many connections, out of memory, disk full
  '57', // shutting down, starting up, cancelled
  '58', // I/O error
  '25P02', // the caller's mistake: not outside a transaction
];

/**
 * Rejects as `runner.run` does if the connection or the server is going down, never because a function is refused.
 *
 * @param processId - what BackendKeyData said; without it nobody takes the connection for pooled
 */
export async function runProbe(runner: SqlRunner, processId?: number): Promise<ProbeResult> {
  let refused: unknown;
  for (const sql of PROBES) {
    for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
      try {
        const rows = await runner.run(sql);
        return readProbe(rows[0] ?? [], processId);
      } catch (error) {
        if (!(error instanceof SqlError) || PASSED_ON.some((code) => error.code.startsWith(code)))
          throw error;
        refused = error;
        if (error.code !== '55000') break;
      }
    }
  }
  throw refused;
}

/** Reads the row of any of the probes: the columns that were not asked for are absent. */
function readProbe(row: SqlRow, processId: number | undefined): ProbeResult {
  const text = (index: number): string | null => row[index] ?? null;
  const lsn = (index: number): Lsn | null => {
    const value = text(index);
    return value === null ? null : parseLsn(value);
  };
  const inRecovery = text(0) === 'true';
  const pid = text(8);
  const isPooled = pid !== null && processId !== undefined && pid !== String(processId);
  const backendStart = text(9);
  const timeline = text(12);
  const known = {
    inRecovery,
    systemIdentifier: text(11),
    timeline: timeline === null ? null : Number.parseInt(timeline.slice(0, 8), 16),
    startTime: text(13),
    replayLsn: lsn(14),
  };
  // 0 stands for "none": min_recovery_end_timeline is 0 on a primary.
  const logTimelines = (text(18) ?? '')
    .split(',')
    .map(Number)
    .filter((number) => number > 0);
  return {
    ...known,
    writable: !inRecovery && text(1) === 'off',
    incarnation: incarnationOf(known),
    receiveLsn: lsn(15),
    logTimelines,
    insertLsn: lsn(16),
    backend: pid === null || backendStart === null ? null : { pid, backendStart, isPooled },
    backendPid: pid,
    isPooled,
    serverVersionNum: numberOrNull(text(2)),
    searchPath: text(3),
    defaultIsolation: text(4),
    synchronousStandbys: text(10) === 'true',
    canMark: text(17) === 'true',
    databaseName: text(5),
    sessionUser: text(6),
    currentUser: text(7),
  };
}

/**
 * The start time alone does not do: a server whose backend crashed recovers without a new one, and only its replay
 * position moves. On a standby that position always moves and is left out; its promotion changes the name anyhow.
 */
function incarnationOf(known: {
  inRecovery: boolean;
  systemIdentifier: string | null;
  timeline: number | null;
  startTime: string | null;
  replayLsn: Lsn | null;
}): string | null {
  const { inRecovery, systemIdentifier, timeline, startTime, replayLsn } = known;
  if (systemIdentifier === null || startTime === null) return null;
  if (inRecovery) return `${systemIdentifier}/standby/${startTime}`;
  if (timeline === null) return null;
  return `${systemIdentifier}/${timeline}/${startTime}/${replayLsn === null ? 'none' : replayLsn.toString(16)}`;
}

function numberOrNull(text: string | null): number | null {
  return text === null ? null : Number(text);
}
