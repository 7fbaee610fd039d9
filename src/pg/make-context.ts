import type { Coordinator } from '../cluster/coordinator.ts';
import { coordinatorForHosts, coordinatorForProvider } from '../cluster/coordinator-registry.ts';
import { ConfigurationError } from '../errors.ts';
import { FailoverEvents } from '../events.ts';
import { guardProvider } from '../topology/guard-provider.ts';
import { hostKey } from '../topology/host-address.ts';
import { staticHosts } from '../topology/static-hosts.ts';
import { clusterMemory } from './cluster-memory.ts';
import type { ResolvedConnection } from './connection-hosts.ts';
import { DatabaseMemory } from './database-memory.ts';
import type { SessionContext } from './session-context.ts';

/** Where a pool hands its context to the clients that it makes. Not enumerable, so that no copy of options carries it. */
export const POOL_CONTEXT = Symbol('holdfast.pool-context');

const databases = new WeakMap<Coordinator, Map<string, DatabaseMemory>>();

/**
 * What the sessions of one client or pool share; null with `failover: false` and for replication connections.
 *
 * @param events - where its sessions report to; default: events of its own
 */
export function makeContext(resolved: ResolvedConnection, events?: FailoverEvents): SessionContext | null {
  const options = resolved.failover;
  if (options === false) return null;
  // A walsender speaks another protocol: there is nothing to journal, and hidden statements would break it.
  if (Boolean(resolved.clientConfig['replication'])) return null;
  refuseOwnTransport(resolved.clientConfig);
  const coordinator =
    options.provider === undefined
      ? coordinatorForHosts(hostsKey(resolved), () => staticHosts(resolved.hosts), options)
      : coordinatorForProvider(
          options.provider,
          (provider) =>
            guardProvider(provider, {
              timeoutMillis: options.dialTimeoutMillis,
              fallback: { hosts: resolved.hosts },
              onError: (error) => {
                coordinator.publish('providerFailed', { reason: error.message });
              },
            }),
          options,
        );
  return {
    coordinator,
    memory: clusterMemory(coordinator),
    database: databaseOf(coordinator, resolved),
    resolved,
    options,
    events: events ?? new FailoverEvents(() => coordinator.snapshot()),
  };
}

/** True for what a pool left at `POOL_CONTEXT`. */
export function isPoolContext(value: unknown): value is SessionContext {
  return typeof value === 'object' && value !== null && 'coordinator' in value && 'resolved' in value;
}

function hostsKey(resolved: ResolvedConnection): string {
  return resolved.hosts.map(hostKey).sort().join(',');
}

function databaseOf(
  coordinator: Coordinator,
  { clientConfig, targetSessionAttrs }: ResolvedConnection,
): DatabaseMemory {
  let known = databases.get(coordinator);
  if (known === undefined) {
    known = new Map();
    databases.set(coordinator, known);
  }
  const { database, user } = clientConfig;
  const name = [database, process.env['PGDATABASE'], user].find(
    (one) => typeof one === 'string' && one !== '',
  );
  // A standby may be behind: what its sessions learn of the catalogue is not for sessions of the primary.
  const isPrimary = targetSessionAttrs === 'read-write' || targetSessionAttrs === 'primary';
  const key = `${isPrimary ? 'primary' : 'any'} ${typeof name === 'string' ? name : ''}`;
  let memory = known.get(key);
  if (memory === undefined) {
    memory = new DatabaseMemory();
    known.set(key, memory);
  }
  return memory;
}

/** The driver brings its own socket (trap T12): another one can't be under it. */
function refuseOwnTransport(clientConfig: Readonly<Record<string, unknown>>): void {
  for (const key of ['stream', 'connection']) {
    if (clientConfig[key] !== undefined && clientConfig[key] !== null) {
      throw new ConfigurationError(
        `'${key}' can't be given together with failover, which brings its own: leave '${key}' out, or set failover: false`,
      );
    }
  }
}
