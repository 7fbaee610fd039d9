import { hostFault, isPort, type HostAddress } from '../../topology/host-address.ts';
import { MAX_HOSTS, withoutRepeatedHosts } from '../../topology/host-list.ts';
import type { TopologyView } from '../../topology/topology-provider.ts';

/** A replica of an availability group, as one server tells of it. */
export interface AvailabilityReplica {
  /** `replica_server_name`: `NODE1`, or `NODE1\INSTANCE`. */
  readonly name: string;
  /** `read_only_routing_url`: `TCP://node1.example.com:1433`, for clients; null if none is set. */
  readonly readOnlyRoutingUrl: string | null;
  /** `endpoint_url`: `TCP://node1.example.com:5022`, for the servers among themselves. */
  readonly endpointUrl: string | null;
}

/** One server's answer. */
export interface GroupAnswer {
  /** Where it was asked. */
  readonly address: HostAddress;
  readonly replicas: readonly AvailabilityReplica[];
  /** Name of the server that answered; null if it may not tell. */
  readonly localName: string | null;
  /** It says of itself that it is the primary replica. What it says of others may be old. */
  readonly isPrimary: boolean;
}

/** Where a replica is; null to leave it out. */
export type AddressOfReplica = (replica: AvailabilityReplica) => HostAddress | null;

/**
 * What the answers come to: the hosts that were asked first, then those that were learned. A primary is named only if
 * exactly one server says that it is one: of two, one may be cut off from its cluster, and nobody here can tell which.
 */
export function groupView(
  asked: readonly HostAddress[],
  answers: readonly GroupAnswer[],
  addressOf: AddressOfReplica,
): TopologyView {
  const replicas = new Map<string, AvailabilityReplica>();
  for (const replica of answers.flatMap((answer) => answer.replicas)) replicas.set(replica.name, replica);
  const learned = [...replicas.values()].flatMap((replica) => addressOf(replica) ?? []);
  const hosts = withoutRepeatedHosts([...asked, ...learned]).slice(0, MAX_HOSTS);
  const claims = answers.filter(({ isPrimary }) => isPrimary);
  const [claim] = claims;
  const isOne = new Set(claims.map(({ localName }) => localName)).size === 1;
  return claim !== undefined && isOne ? { hosts, primary: claim.address } : { hosts };
}

/**
 * Where clients reach a replica: its read-only routing URL, else where it has answered, else the host of its endpoint at
 * SQL Server's own port, as that URL's port is for servers only.
 */
export function addressOfReplica(
  replica: AvailabilityReplica,
  answers: readonly GroupAnswer[],
  defaultPort: number,
): HostAddress | null {
  const routed = readUrl(replica.readOnlyRoutingUrl);
  if (routed?.port !== undefined) return { host: routed.host, port: routed.port };
  const answer = answers.find(({ localName }) => localName === replica.name);
  if (answer !== undefined) return answer.address;
  // The port of a named instance is not known.
  if (replica.name.includes('\\')) return null;
  const endpoint = readUrl(replica.endpointUrl);
  return endpoint === null ? null : { host: endpoint.host, port: defaultPort };
}

/** `TCP://host:port` */
function readUrl(url: string | null): { readonly host: string; readonly port: number | undefined } | null {
  const found = /^tcp:\/\/(?:\[([^\]]+)\]|([^:/]+))(?::(\d+))?\/?$/i.exec(url?.trim() ?? '');
  if (found === null) return null;
  const host = found[1] ?? found[2]!;
  if (hostFault(host) !== undefined) return null;
  const port = Number(found[3]);
  return { host, port: isPort(port) ? port : undefined };
}
