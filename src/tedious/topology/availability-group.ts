import { setMaxListeners } from 'node:events';
import type { ConnectionConfiguration } from 'tedious';
import { abortable } from '../../cluster/abortable.ts';
import { deadlineSignal } from '../../cluster/deadline-signal.ts';
import { ConfigurationError } from '../../errors.ts';
import { nearestWord } from '../../nearest-word.ts';
import { quoteValue } from '../../quote-value.ts';
import {
  hostKey,
  parseHostAddress,
  type HostAddress,
  type HostAddressInput,
} from '../../topology/host-address.ts';
import { parseHostList } from '../../topology/host-list.ts';
import type { TopologyProvider, TopologyView } from '../../topology/topology-provider.ts';
import { DEFAULT_PORT } from '../default-port.ts';
import { ServerConnection } from '../link/server-connection.ts';
import { ServerLink } from '../link/server-link.ts';
import { Connection } from '../stock-tedious.ts';
import { askGroups, type GroupRows } from './group-question.ts';
import { addressOfReplica, groupView, type AvailabilityReplica, type GroupAnswer } from './group-view.ts';

export interface AvailabilityGroupOptions {
  /** Replicas or listeners to begin with; the others are learned from them. Port 1433 where none is given. */
  readonly hosts: readonly HostAddressInput[];
  /**
   * tedious's configuration of the questions: `authentication`, and `options` such as `encrypt`. Without `options.database` they are
   * asked in `master`, which every replica lets logins into. The login needs VIEW SERVER STATE and VIEW ANY DEFINITION.
   */
  readonly connection: Pick<ConnectionConfiguration, 'authentication' | 'options'>;
  /** Name of the group; needed only where the servers are in several. */
  readonly group?: string;
  /**
   * Where a replica is reached from here; null to leave it out. Default: its read-only routing URL, else where it has answered, else
   * the host of its endpoint URL at port 1433.
   */
  readonly addressOf?: (replica: AvailabilityReplica) => HostAddressInput | null;
  /** Milliseconds for all questions of one `discover`, 1 to 60,000. Default 2,000. */
  readonly timeoutMillis?: number;
}

const OPTIONS = ['hosts', 'connection', 'group', 'addressOf', 'timeoutMillis'];
const DEFAULT_TIMEOUT_MILLIS = 2_000;
const MAX_TIMEOUT_MILLIS = 60_000;
/** Once a server has said that it is the primary, another one that says so too is waited for. */
const SETTLE_MILLIS = 100;
/** Nobody has asked for so long: the connections are closed. */
const IDLE_MILLIS = 60_000;

/**
 * A provider that asks the servers of an Always On availability group for its replicas and their roles, by the system's
 * views, over one connection to each that is kept while it is asked. Like every provider it only suggests.
 *
 * A login that may not look there makes it a list of hosts: the driver then asks each one whether it takes writes, which needs
 * no permission. Two servers that both call themselves primary: none is named.
 *
 * @throws ConfigurationError for options that can't be
 */
export function availabilityGroup(options: AvailabilityGroupOptions): TopologyProvider {
  const group = new AvailabilityGroup(options);
  return Object.freeze({ discover: (signal: AbortSignal) => group.discover(signal) });
}

class AvailabilityGroup {
  readonly #options: AvailabilityGroupOptions;
  readonly #configured: readonly HostAddress[];
  readonly #timeoutMillis: number;
  readonly #connections = new Map<string, ServerConnection>();
  readonly #asked = new Map<string, Promise<GroupRows | null>>();
  #known: readonly HostAddress[];
  #running: Promise<TopologyView> | null = null;
  #idle: NodeJS.Timeout | undefined;

  constructor(options: AvailabilityGroupOptions) {
    for (const name of Object.keys(options)) {
      if (OPTIONS.includes(name)) continue;
      const nearest = nearestWord(name, OPTIONS) ?? '';
      throw new ConfigurationError(
        `availabilityGroup has no option ${quoteValue(name)}; did you mean '${nearest}'?`,
      );
    }
    const { timeoutMillis = DEFAULT_TIMEOUT_MILLIS } = options;
    const connection: unknown = options.connection;
    if (!Number.isInteger(timeoutMillis) || timeoutMillis < 1 || timeoutMillis > MAX_TIMEOUT_MILLIS) {
      throw new ConfigurationError(
        `availabilityGroup.timeoutMillis is ${quoteValue(timeoutMillis)}: it is not a whole number from 1 to ${MAX_TIMEOUT_MILLIS}`,
      );
    }
    if (typeof connection !== 'object' || connection === null) {
      throw new ConfigurationError(
        "availabilityGroup.connection is missing: give it tedious's 'authentication' and 'options'",
      );
    }
    const { group, addressOf }: { readonly group?: unknown; readonly addressOf?: unknown } = options;
    if (group !== undefined && (typeof group !== 'string' || group === '')) {
      throw new ConfigurationError(
        `availabilityGroup.group is ${quoteValue(group)}: it is not the name of a group`,
      );
    }
    if (addressOf !== undefined && typeof addressOf !== 'function') {
      throw new ConfigurationError(
        `availabilityGroup.addressOf is ${quoteValue(addressOf)}: it is not a function`,
      );
    }
    this.#options = options;
    this.#timeoutMillis = timeoutMillis;
    this.#configured = parseHostList(options.hosts, DEFAULT_PORT, 'availabilityGroup.hosts');
    this.#known = this.#configured;
  }

  /** Those who ask at the same time share the answer. */
  async discover(signal: AbortSignal): Promise<TopologyView> {
    if (this.#running === null) {
      this.#running = this.#discover().finally(() => {
        this.#running = null;
      });
      // Whoever asked may have gone by then.
      this.#running.catch(() => undefined);
    }
    return await abortable(this.#running, signal);
  }

  async #discover(): Promise<TopologyView> {
    const late = deadlineSignal(this.#timeoutMillis);
    // Each host listens to it: more than the ten that Node takes for a leak.
    setMaxListeners(0, late);
    const seen = new Map<string, GroupRows>();
    await this.#askAll(this.#known, seen, late);
    let view = this.#viewOf(seen);
    const isNew = ({ host, port }: HostAddress): boolean => !seen.has(hostKey({ host, port }));
    if (view.primary === undefined && view.hosts.some(isNew)) {
      const others = view.hosts.filter(
        (one) => isNew(one) && !this.#known.some((known) => hostKey(known) === hostKey(one)),
      );
      await this.#askAll(others, seen, late);
      view = this.#viewOf(seen);
    }
    this.#known = view.hosts;
    this.#rest();
    return view;
  }

  /** Until all have answered, or a primary has and the others had a moment to contradict. */
  async #askAll(
    hosts: readonly HostAddress[],
    seen: Map<string, GroupRows>,
    late: AbortSignal,
  ): Promise<void> {
    await new Promise<void>((resolve) => {
      let left = hosts.length;
      if (left === 0) resolve();
      let timer: NodeJS.Timeout | undefined;
      for (const address of hosts) {
        void this.#ask(address, late).then((rows) => {
          if (rows !== null) seen.set(hostKey(address), rows);
          if (rows !== null && this.#claims(rows)) timer ??= setTimeout(resolve, SETTLE_MILLIS);
          if (--left > 0) return;
          clearTimeout(timer);
          resolve();
        });
      }
    });
  }

  /** The server says that it is the primary of the group that is meant. */
  #claims(rows: GroupRows): boolean {
    return rows.groups.some((group) => this.#isMeant(group) && rows.answerOf(group).isPrimary);
  }

  #isMeant(name: string): boolean {
    const { group } = this.#options;
    return group === undefined || group.toLowerCase() === name.toLowerCase();
  }

  #viewOf(seen: ReadonlyMap<string, GroupRows>): TopologyView {
    if (seen.size === 0) throw new Error('no server of the availability group answers');
    const group = this.#groupOf(seen);
    const answers: GroupAnswer[] =
      group === null ? [] : [...seen.values()].map((rows) => rows.answerOf(group));
    const { addressOf } = this.#options;
    return groupView(this.#configured, answers, (replica) => {
      if (addressOf === undefined) return addressOfReplica(replica, answers, DEFAULT_PORT);
      const given = addressOf(replica);
      return given === null ? null : parseHostAddress(given, DEFAULT_PORT, 'what addressOf has returned');
    });
  }

  /** @throws ConfigurationError if it can't be told which group is meant */
  #groupOf(seen: ReadonlyMap<string, GroupRows>): string | null {
    const told = [...seen.values()].flatMap((rows) => rows.groups);
    const groups = [...new Set(told.filter((name) => this.#isMeant(name)))];
    if (groups.length > 1) {
      throw new ConfigurationError(
        `the servers are in several availability groups (${groups.map(quoteValue).join(', ')}): name one with availabilityGroup's 'group'`,
      );
    }
    return groups[0] ?? null;
  }

  /** Null if it does not answer in time. A silent host is asked once at a time, however often it is looked for. */
  #ask(address: HostAddress, late: AbortSignal): Promise<GroupRows | null> {
    const key = hostKey(address);
    let asked = this.#asked.get(key);
    if (asked === undefined) {
      asked = this.#question(address, late).finally(() => this.#asked.delete(key));
      this.#asked.set(key, asked);
    }
    return asked;
  }

  async #question(address: HostAddress, late: AbortSignal): Promise<GroupRows | null> {
    let connection: ServerConnection | null = null;
    const giveUp = (): void => {
      connection?.destroy();
    };
    late.addEventListener('abort', giveUp, { once: true });
    try {
      connection = await this.#connect(address, late);
      return await askGroups(connection, address);
    } catch {
      connection?.destroy();
      return null;
    } finally {
      late.removeEventListener('abort', giveUp);
    }
  }

  async #connect(address: HostAddress, late: AbortSignal): Promise<ServerConnection> {
    const key = hostKey(address);
    const known = this.#connections.get(key);
    if (known !== undefined && !known.isLost) return known;
    const { connection } = this.#options;
    const config = {
      ...connection,
      server: address.host,
      options: { database: 'master', ...connection.options },
    };
    const link = await ServerLink.dial(
      { Connection, config, address, dialTimeoutMillis: this.#timeoutMillis },
      late,
    );
    link.unref();
    const made = new ServerConnection(link, address);
    this.#connections.get(key)?.destroy();
    this.#connections.set(key, made);
    return made;
  }

  #rest(): void {
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => {
      for (const connection of this.#connections.values()) connection.destroy();
      this.#connections.clear();
    }, IDLE_MILLIS);
    this.#idle.unref();
  }
}
