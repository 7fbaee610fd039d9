import type { ConnectionConfiguration } from 'tedious';
import type { Coordinator } from '../cluster/coordinator.ts';
import { coordinatorForHosts, coordinatorForProvider } from '../cluster/coordinator-registry.ts';
import { ConfigurationError } from '../errors.ts';
import { FailoverEvents } from '../events.ts';
import type { FailoverOptions, ResolvedFailoverOptions } from '../options.ts';
import { quoteValue } from '../quote-value.ts';
import { resolveFailoverOptions } from '../resolve-options.ts';
import { guardProvider } from '../topology/guard-provider.ts';
import { hostKey, isPort, parseHostAddress, type HostAddress } from '../topology/host-address.ts';
import { parseHostList } from '../topology/host-list.ts';
import { staticHosts } from '../topology/static-hosts.ts';
import { AcknowledgedCommits } from './lost-commits/acknowledged-commits.ts';
import { DEFAULT_PORT } from './default-port.ts';
import type { ConnectionClass } from './link/server-link.ts';
import type { SessionContext } from './session/session-context.ts';

/** tedious's configuration, with the one key that holdfast adds: beside `server`, or among the `options`. */
export type FailoverConfiguration = ConnectionConfiguration & {
  readonly failover?: FailoverOptions | boolean;
};

/** Options that have no meaning for SQL Server, or are not there yet, and the value that asks for nothing. */
const NOT_AVAILABLE: readonly (readonly [keyof ResolvedFailoverOptions, unknown])[] = [
  ['recordGeneratedValues', false],
  ['onReconnect', undefined],
  ['acknowledge', 'local'],
];

/**
 * What the sessions of this configuration share; null with `failover: false`.
 *
 * @param events - where its sessions report to; default: events of its own
 * @throws ConfigurationError for settings that can't be, or contradict each other
 */
export function makeContext(
  config: FailoverConfiguration,
  Connection: ConnectionClass,
  events?: FailoverEvents,
): SessionContext | null {
  const raw = failoverOf(config);
  const options = resolveFailoverOptions(raw);
  if (options === false) return null;
  refuseUnavailable(options, raw);
  const { hosts, isAddressOfConfig } = hostsOf(config, options);
  const coordinator =
    options.provider === undefined
      ? coordinatorForHosts(
          `mssql:${hosts.map(hostKey).sort().join(',')}`,
          null,
          () => staticHosts(hosts),
          options,
        )
      : coordinatorForProvider(
          options.provider,
          (provider) =>
            guardProvider(provider, {
              timeoutMillis: options.dialTimeoutMillis,
              fallback: { hosts },
              onError: (error) => {
                coordinator.publish('providerFailed', { reason: error.message });
              },
            }),
          options,
        );
  return {
    coordinator,
    events: events ?? new FailoverEvents(() => coordinator.snapshot()),
    options,
    Connection,
    config: withoutOwnKeys(config),
    isAddressOfConfig,
    hosts,
    acknowledged: acknowledgedOf(coordinator, options),
    wantsPrimary: config.options?.readOnlyIntent !== true,
  };
}

const acknowledged = new WeakMap<Coordinator, AcknowledgedCommits>();

/** The first one's options hold for all. */
function acknowledgedOf(coordinator: Coordinator, options: ResolvedFailoverOptions): AcknowledgedCommits {
  let known = acknowledged.get(coordinator);
  if (known === undefined) {
    known = new AcknowledgedCommits(coordinator, options);
    acknowledged.set(coordinator, known);
  }
  return known;
}

type OwnOptions = NonNullable<ConnectionConfiguration['options']> & { failover?: unknown };

function failoverOf(config: FailoverConfiguration): unknown {
  const inside = (config.options as OwnOptions | undefined)?.failover;
  if (config.failover !== undefined && inside !== undefined) {
    throw new ConfigurationError(
      "'failover' stands beside 'server' and among the 'options' as well: leave one of them out",
    );
  }
  return config.failover ?? inside;
}

/** Without the key that tedious does not know. */
export function withoutFailover(config: FailoverConfiguration): ConnectionConfiguration {
  const own: Record<string, unknown> = { ...config, options: { ...config.options } };
  delete own['failover'];
  delete (own['options'] as OwnOptions).failover;
  return own as unknown as ConnectionConfiguration;
}

/** For the hidden connections: tedious's own keys only. */
function withoutOwnKeys(config: FailoverConfiguration): ConnectionConfiguration {
  const own = withoutFailover(config);
  const { connector } = own.options ?? {};
  if (connector !== undefined) {
    throw new ConfigurationError(
      "'options.connector' makes a stream to one server, which can't be opened to another one: leave it out, or set failover: false",
    );
  }
  const columnEncryption = (own.options as { columnEncryptionSetting?: unknown } | undefined)
    ?.columnEncryptionSetting;
  if (columnEncryption === true) {
    throw new ConfigurationError(
      "'options.columnEncryptionSetting' is not supported: column encryption is agreed upon in the login, which is the driver's; set failover: false for such connections",
    );
  }
  return own;
}

function refuseUnavailable(options: ResolvedFailoverOptions, raw: unknown): void {
  for (const [name, nothing] of NOT_AVAILABLE) {
    if (options[name] !== nothing) {
      throw new ConfigurationError(
        `failover.${name} is ${quoteValue(options[name])}: it is not available for SQL Server, leave it out`,
      );
    }
  }
  const given = typeof raw === 'object' && raw !== null ? (raw as FailoverOptions) : {};
  if (options.lostCommits === 'reapply') {
    throw new ConfigurationError("failover.lostCommits is 'reapply': it is not available for SQL Server");
  }
  if (given.commitOutcome === 'logPosition') {
    throw new ConfigurationError(
      "failover.commitOutcome is 'logPosition': SQL Server tells no client the position of its transaction; use 'token'",
    );
  }
}

function hostsOf(
  { server, options: own = {} }: FailoverConfiguration,
  options: ResolvedFailoverOptions,
): { readonly hosts: readonly HostAddress[]; readonly isAddressOfConfig: boolean } {
  const { port, instanceName } = own;
  if (port !== undefined && !isPort(port)) {
    throw new ConfigurationError(
      `options.port is ${quoteValue(port)}: it is not a whole number from 1 to 65535`,
    );
  }
  if (options.hosts === undefined) {
    const host = parseHostAddress({ host: server, port: port ?? DEFAULT_PORT }, DEFAULT_PORT, 'server');
    return { hosts: [host], isAddressOfConfig: instanceName !== undefined };
  }
  if (instanceName !== undefined) {
    throw new ConfigurationError(
      "options.instanceName together with failover.hosts: give each host's port in failover.hosts and leave the instance's name out",
    );
  }
  const hosts = parseHostList(options.hosts, port ?? DEFAULT_PORT, 'failover.hosts');
  const isListed = hosts.some(
    (one) =>
      hostKey({ host: server, port: one.port }) === hostKey(one) && (port === undefined || one.port === port),
  );
  if (!isListed) {
    throw new ConfigurationError(
      `server names the host ${quoteValue(server)}, but failover.hosts lists ${quoteValue(hosts.map(hostKey).join(','))}: name it there too`,
    );
  }
  return { hosts, isAddressOfConfig: false };
}
