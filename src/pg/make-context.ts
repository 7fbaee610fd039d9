import type { Coordinator } from '../cluster/coordinator.ts';
import { coordinatorForHosts, coordinatorForProvider } from '../cluster/coordinator-registry.ts';
import { ConfigurationError } from '../errors.ts';
import { FailoverEvents } from '../events.ts';
import { guardProvider } from '../topology/guard-provider.ts';
import { hostKey } from '../topology/host-address.ts';
import { staticHosts } from '../topology/static-hosts.ts';
import { CommitAgent } from './commit-agent.ts';
import { clusterMemory } from './cluster-memory.ts';
import type { ResolvedConnection } from './connection-hosts.ts';
import { DatabaseMemory } from './database-memory.ts';
import { refuseForcedNative } from './native-module.ts';
import { RecordedTexts } from './pinning/recorded-texts.ts';
import type { SessionContext } from './session-context.ts';
import { DatabaseTokens } from './token/database-tokens.ts';
import { tokenMemory, type TokenContext } from './token/token-memory.ts';
import { streamFunctionOf } from './transport.ts';

/** Where a pool hands its context to the clients that it makes. Not enumerable, so that no copy of options carries it. */
export const POOL_CONTEXT = Symbol('holdfast.pool-context');

const databases = new WeakMap<Coordinator, Map<string, DatabaseMemory>>();
const tokens = new WeakMap<Coordinator, Map<string, DatabaseTokens>>();

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
  refuseForcedNative();
  refuseReadyTransport(resolved.clientConfig);
  const coordinator =
    options.provider === undefined
      ? coordinatorForHosts(
          hostsKey(resolved),
          streamFunctionOf(resolved.clientConfig),
          () => staticHosts(resolved.hosts),
          options,
        )
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
    tokens: tokensOf({ coordinator, resolved, options }),
    recordedTexts: options.recordGeneratedValues ? new RecordedTexts() : null,
    resolved,
    options,
    events: events ?? new FailoverEvents(() => coordinator.snapshot()),
    committed: new CommitAgent({
      clientConfig: resolved.clientConfig,
      coordinator,
      memory: clusterMemory(coordinator),
      dialTimeoutMillis: options.dialTimeoutMillis,
    }),
  };
}

/** True for what a pool left at `POOL_CONTEXT`. */
export function isPoolContext(value: unknown): value is SessionContext {
  return typeof value === 'object' && value !== null && 'coordinator' in value && 'resolved' in value;
}

function hostsKey(resolved: ResolvedConnection): string {
  return resolved.hosts.map(hostKey).sort().join(',');
}

/** Rights differ from role to role. */
function tokensOf(context: TokenContext): DatabaseTokens {
  const { coordinator, resolved, options } = context;
  let known = tokens.get(coordinator);
  if (known === undefined) {
    known = new Map();
    tokens.set(coordinator, known);
  }
  const { database, user } = resolved.clientConfig;
  const key = JSON.stringify([
    database,
    user,
    process.env['PGDATABASE'],
    process.env['PGUSER'],
    options.tokenSchema,
  ]);
  let found = known.get(key);
  if (found === undefined) {
    found = new DatabaseTokens(options.tokenSchema, tokenMemory(context));
    known.set(key, found);
  }
  return found;
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

/** Trap T12: what is ready-made leads to one server, and can't be opened again. */
function refuseReadyTransport(clientConfig: Readonly<Record<string, unknown>>): void {
  const { stream, connection } = clientConfig;
  if (Boolean(stream) && typeof stream !== 'function') {
    throw new ConfigurationError(
      "'stream' is a ready-made stream, which can't be opened again on another server: give a function that makes a new one each time, or set failover: false",
    );
  }
  if (Boolean(connection)) {
    throw new ConfigurationError(
      "'connection' is a ready-made connection, which can't be opened again on another server: leave it out ('stream' may be a function that makes streams), or set failover: false",
    );
  }
}
