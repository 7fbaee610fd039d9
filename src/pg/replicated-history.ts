/**
 * A server's timeline history by the replication protocol. Its file is for superusers only, but any role that may
 * replicate can ask for it (TIMELINE_HISTORY), over a connection of another kind than the application's.
 */
import { abortable } from '../cluster/abortable.ts';
import { runProbe, type ProbeResult } from './probe.ts';
import type { ServerConnection } from './server-connection.ts';
import type { SqlRunner } from './sql-runner.ts';
import { parseTimelineHistory, type TimelineHistory } from './timeline-history.ts';

/** By the role that logs in: SET ROLE and SET SESSION AUTHORIZATION give no right to replicate. */
const MAY_REPLICATE_SQL =
  'SELECT (r.rolreplication OR r.rolsuper)::pg_catalog.text FROM pg_catalog.pg_roles AS r ' +
  'WHERE r.rolname OPERATOR(pg_catalog.=) $1::pg_catalog.name';

/** Whether it is worth trying. Rejects as `runner.run` does. */
export async function mayReplicate(runner: SqlRunner, server: ProbeResult): Promise<boolean> {
  // A pooler would take such a connection anywhere, or refuse it.
  if (server.isPooled || server.sessionUser === null) return false;
  const [row] = await runner.run(MAY_REPLICATE_SQL, [server.sessionUser]);
  return row?.[0] === 'true';
}

/** What is needed of a connection for replication. */
export type ReplicationConnection = Pick<
  ServerConnection,
  'processId' | 'runSimple' | 'destroy' | 'terminate'
>;

export interface ReplicatedHistoryQuestion {
  /** The server, and the life of it, whose history is wanted. */
  readonly server: ProbeResult;
  /** Opens a connection for replication to the same address. */
  readonly open: (signal: AbortSignal) => Promise<ReplicationConnection>;
  /** Of all probes it is told, as there can't be too many of them (`lineage.ts`). */
  readonly record: (probe: ProbeResult) => void;
  readonly signal: AbortSignal;
}

/** Never rejects: null if the history can't be had, or if it is another server that answers. */
export async function askReplicatedHistory({
  server,
  open,
  record,
  signal,
}: ReplicatedHistoryQuestion): Promise<TimelineHistory | null> {
  const { timeline, incarnation } = server;
  if (timeline === null || incarnation === null) return null;
  let connection: ReplicationConnection | null = null;
  try {
    connection = await open(signal);
    const { processId } = connection;
    // It knows no other than the simple protocol.
    const run = connection.runSimple.bind(connection);
    const probe = await abortable(runProbe({ run }, processId), signal);
    record(probe);
    // Behind one address there may be several servers, and a crash may have come in between.
    if (probe.incarnation !== incarnation) return null;
    const [row] = await abortable(run(`TIMELINE_HISTORY ${timeline}`), signal);
    const content = row?.[1];
    return typeof content === 'string' ? parseTimelineHistory(content) : null;
  } catch {
    // Refused by pg_hba.conf, no walsender left, lost, too slow: then it stays unknown.
    return null;
  } finally {
    if (signal.aborted) connection?.destroy();
    else connection?.terminate();
  }
}
