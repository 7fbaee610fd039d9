import type { HostAddress } from './host-address.ts';
import { hostKey, parseHostAddress } from './host-address.ts';
import { ConfigurationError } from '../errors.ts';
import { quoteValue } from '../quote-value.ts';

/** Far more than a cluster has. Each failover asks all of them at the same time, so there must be some limit. */
export const MAX_HOSTS = 64;

/**
 * Reads a whole list of hosts; repeated ones are dropped.
 *
 * @param what - how messages name the list, for instance `failover.hosts`
 * @throws ConfigurationError that quotes the value
 */
export function parseHostList(hosts: unknown, defaultPort: number, what: string): readonly HostAddress[] {
  if (!Array.isArray(hosts)) {
    throw new ConfigurationError(`${what} must be an array of hosts, but is ${quoteValue(hosts)}`);
  }
  if (hosts.length === 0) throw new ConfigurationError(`${what} is an empty list: name at least one host`);
  if (hosts.length > MAX_HOSTS) {
    throw new ConfigurationError(`${what} names ${hosts.length} hosts; at most ${MAX_HOSTS} are allowed`);
  }
  return withoutRepeatedHosts(
    hosts.map((host, index) => parseHostAddress(host, defaultPort, `${what}[${index}]`)),
  );
}

/** The same addresses in the same order, each listener once: asking a host twice would only count it twice. */
export function withoutRepeatedHosts(addresses: readonly HostAddress[]): readonly HostAddress[] {
  const byKey = new Map<string, HostAddress>();
  for (const address of addresses) {
    const key = hostKey(address);
    if (!byKey.has(key)) byKey.set(key, Object.freeze({ host: address.host, port: address.port }));
  }
  return Object.freeze([...byKey.values()]);
}
