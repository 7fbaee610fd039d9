import type { HostAddressInput } from './host-address.ts';
import { DEFAULT_PORT } from './host-address.ts';
import { parseHostList } from './host-list.ts';
import type { TopologyProvider } from './topology-provider.ts';

/**
 * A provider whose hosts never change and which has no opinion about the primary.
 *
 * @param hosts - one to 64 hosts, as `'name'`, `'name:port'`, `'[IPv6]:port'`, `'/socket/directory'` or
 *   `{ host, port }`; the port is 5432 if none is given. A repeated host counts once. The order decides only which
 *   of several equally good hosts is used.
 * @throws ConfigurationError for a list that is empty, too long, or holds something that is no host; it quotes the value
 */
export function staticHosts(hosts: readonly HostAddressInput[]): TopologyProvider {
  const view = Object.freeze({ hosts: parseHostList(hosts, DEFAULT_PORT, 'staticHosts') });
  return Object.freeze({ discover: () => Promise.resolve(view) });
}
