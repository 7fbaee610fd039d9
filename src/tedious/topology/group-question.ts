import { runBatch } from '../link/batch.ts';
import type { ServerConnection } from '../link/server-connection.ts';
import type { HostAddress } from '../../topology/host-address.ts';
import type { GroupAnswer } from './group-view.ts';

/**
 * Replicas stand in catalog views, which every replica has; of roles each server knows its own for certain
 * (sys.dm_hadr_availability_replica_states: "is_local"). Needs VIEW SERVER STATE and VIEW ANY DEFINITION.
 */
const QUESTION =
  'SELECT CAST(r.replica_server_name AS nvarchar(256)), CAST(r.read_only_routing_url AS nvarchar(256)), ' +
  'CAST(r.endpoint_url AS nvarchar(256)), CAST(g.name AS nvarchar(128)), CAST(s.is_local AS nvarchar(5)), ' +
  'CAST(s.role_desc AS nvarchar(60)) FROM sys.availability_replicas AS r ' +
  'JOIN sys.availability_groups AS g ON g.group_id = r.group_id ' +
  'LEFT JOIN sys.dm_hadr_availability_replica_states AS s ON s.replica_id = r.replica_id';

/** What a server tells of its availability groups. */
export interface GroupRows {
  /** Names of the groups that it is in; empty where it tells nothing, or is in none. */
  readonly groups: readonly string[];
  answerOf(group: string): GroupAnswer;
}

/** A server that refuses the question tells nothing. Rejects if the connection is lost. */
export async function askGroups(connection: ServerConnection, address: HostAddress): Promise<GroupRows> {
  const { rows, errors } = await runBatch(connection, QUESTION);
  const told = errors.length > 0 ? [] : rows;
  return {
    groups: [...new Set(told.flatMap(([, , , group]) => group ?? []))],
    answerOf: (group) => {
      const own = told.filter((row) => row[3] === group);
      const local = own.find((row) => row[4] === '1');
      return {
        address,
        replicas: own.map(([name, readOnlyRoutingUrl, endpointUrl]) => ({
          name: name ?? '',
          readOnlyRoutingUrl: readOnlyRoutingUrl ?? null,
          endpointUrl: endpointUrl ?? null,
        })),
        localName: local?.[0] ?? null,
        isPrimary: local?.[5] === 'PRIMARY',
      };
    },
  };
}
