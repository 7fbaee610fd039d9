import type { ReachableHost } from '../../cluster/host-observation.ts';
import type { HostAddress } from '../../topology/host-address.ts';
import { mustRun } from '../link/batch.ts';
import type { ServerConnection } from '../link/server-connection.ts';

/** What a server says of itself over the very connection that is to be used. */
export interface ProbeResult {
  /** The database takes writes here: this is the primary replica, or there is no availability group. */
  readonly isWritable: boolean;
  /** Identity of the database in its availability group; null outside of one. */
  readonly groupDatabaseId: string | null;
  /** Equal only for one life of one instance: its name and the moment at which it made its tempdb. */
  readonly incarnation: string;
  readonly sessionId: string;
  /** DISABLED, ALLOWED or FORCED; null if it is not told. */
  readonly delayedDurability: string | null;
}

/**
 * Updateability needs no permission but to use the database (facts on SQL Server, section 4); tempdb is made anew at
 * each start of an instance.
 */
const PROBE =
  "SELECT CAST(DATABASEPROPERTYEX(DB_NAME(), 'Updateability') AS nvarchar(60)), CAST(@@SERVERNAME AS nvarchar(128)), " +
  'CONVERT(nvarchar(40), t.create_date, 126), CONVERT(nvarchar(40), d.group_database_id), CAST(@@SPID AS nvarchar(20)), ' +
  'CAST(d.delayed_durability_desc AS nvarchar(60)) FROM sys.databases AS d CROSS JOIN sys.databases AS t ' +
  "WHERE d.name = DB_NAME() AND t.name = N'tempdb'";

/** @throws Error if the server does not answer it as SQL Server does */
export async function runProbe(connection: ServerConnection): Promise<ProbeResult> {
  const [row] = await mustRun(connection, PROBE);
  if (row === undefined) throw new Error('the server told nothing of its database');
  const [updateability, serverName, startedAt, groupDatabaseId, sessionId, delayedDurability] = row;
  return {
    isWritable: updateability === 'READ_WRITE',
    groupDatabaseId: groupDatabaseId ?? null,
    incarnation: `${serverName ?? ''}/${startedAt ?? ''}`,
    sessionId: sessionId ?? '',
    delayedDurability: delayedDurability ?? null,
  };
}

export function observationOf(address: HostAddress, probe: ProbeResult): ReachableHost {
  return {
    kind: 'reachable',
    address,
    systemIdentifier: probe.groupDatabaseId,
    // SQL Server numbers no timelines: where two hosts are writable it stays ambiguous until a provider says which.
    timeline: null,
    inRecovery: !probe.isWritable,
    writable: probe.isWritable,
    incarnation: probe.incarnation,
  };
}
