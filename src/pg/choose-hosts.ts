import type { HostNames } from './connection-url.ts';
import { splitList } from './connection-url.ts';
import { ConfigurationError } from '../errors.ts';
import { quoteValue } from '../quote-value.ts';
import type { HostAddress, HostAddressInput } from '../topology/host-address.ts';
import { DEFAULT_PORT, hostKey, isPort } from '../topology/host-address.ts';
import { parseHostList } from '../topology/host-list.ts';

/** One place of the settings that names hosts. */
export interface HostStatement extends HostNames {
  /** How messages name the place, for instance `the connection URL`. */
  readonly place: string;
  readonly quote: (part: string) => string;
}

export interface HostChoices {
  /** Every place that names hosts and that pg would heed, or that holds a list; the one that counts most first. */
  readonly statements: readonly HostStatement[];
  /** `failover.hosts`; counts more than all statements. */
  readonly failoverHosts: readonly HostAddressInput[] | undefined;
  /** The ports of the connection settings where no host is named beside them. */
  readonly ports: readonly string[];
  /** PGHOST, or what pg takes without it. */
  readonly environmentHost: string;
  /** PGPORT, or what pg takes without it. */
  readonly environmentPort: string;
}

/**
 * The one list of hosts that all the settings together mean.
 *
 * @throws ConfigurationError if they mean different lists, or one that can't be
 */
export function chooseHosts(choices: HostChoices): readonly HostAddress[] {
  const { statements, failoverHosts } = choices;
  if (failoverHosts !== undefined) {
    const place = 'failover.hosts';
    const hosts = parseHostList(failoverHosts, defaultPortOf(choices), place);
    for (const statement of statements) requireAgreement(statement, { place, quote: quoteValue }, hosts);
    return hosts;
  }
  const list = statements.find((statement) => statement.hosts.length > 1);
  if (list !== undefined) {
    const hosts = toAddresses(list, choices);
    for (const statement of statements) if (statement !== list) requireAgreement(statement, list, hosts);
    return hosts;
  }
  const environment = {
    place: 'PGHOST',
    hosts: splitList(choices.environmentHost),
    ports: [],
    quote: quoteValue,
  };
  return toAddresses(statements[0] ?? environment, choices);
}

/** libpq's rule: as many ports as hosts, or one port for all, or none. */
function toAddresses(statement: HostStatement, choices: HostChoices): readonly HostAddress[] {
  const { place, hosts, quote } = statement;
  const own = statement.ports.length > 0 ? statement.ports : choices.ports;
  const ports = own.length > 0 ? own : splitList(choices.environmentPort);
  const source = own.length > 0 ? '' : ' (from PGPORT)';
  const shownPorts = quote(ports.join(','));
  if (ports.length !== 1 && ports.length !== hosts.length) {
    throw new ConfigurationError(
      `could not match ${ports.length} ports to ${hosts.length} hosts: ${place} names ${quote(hosts.join(','))}, the ports are ${shownPorts}${source}`,
    );
  }
  const [host, port] = [hosts[0], ports[0]];
  // A single host is pg's own business: whatever it would try to reach, it is let try.
  if (hosts.length === 1)
    return Object.freeze([Object.freeze({ host: host!, port: parsePgPort(port!, shownPorts) })]);
  const inputs = hosts.map((name, index) => {
    const text = ports.length === 1 ? port! : ports[index]!;
    if (name === '') {
      throw new ConfigurationError(`${place} lists an empty host: ${quote(hosts.join(','))}`);
    }
    return { host: name, port: text === '' ? DEFAULT_PORT : parseListedPort(text, shownPorts) };
  });
  return parseHostList(inputs, DEFAULT_PORT, `the list ${quote(hosts.join(','))} of ${place}`);
}

/** As pg reads it, with parseInt; but what no server can listen on is refused now and not at the first connect. */
function parsePgPort(text: string, shown: string): number {
  const port = Number.parseInt(text, 10);
  if (isPort(port)) return port;
  throw new ConfigurationError(`the port ${shown} is not a number from 1 to 65535`);
}

function parseListedPort(text: string, shown: string): number {
  const port = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (isPort(port)) return port;
  throw new ConfigurationError(`one of the ports ${shown} is not a number from 1 to 65535`);
}

/** The port of those `failover.hosts` that have none. */
function defaultPortOf(choices: HostChoices): number {
  const statement = choices.statements[0];
  const own = statement !== undefined && statement.ports.length > 0 ? statement.ports : choices.ports;
  const ports = own.length > 0 ? own : splitList(choices.environmentPort);
  // Several ports belong to the hosts they were given for, and to no others.
  return ports.length === 1 ? parsePgPort(ports[0]!, quoteValue(ports[0])) : DEFAULT_PORT;
}

/** Every host that `statement` names must be in the list; so a driver or ORM may name one of them once more. */
function requireAgreement(
  statement: HostStatement,
  list: Pick<HostStatement, 'place' | 'quote'>,
  addresses: readonly HostAddress[],
): void {
  statement.hosts.forEach((host, index) => {
    const port = statement.ports.length === 1 ? statement.ports[0] : statement.ports[index];
    const isListed = addresses.some(
      (address) =>
        hostKey({ host, port: address.port }) === hostKey(address) &&
        (port === undefined || port === '' || Number.parseInt(port, 10) === address.port),
    );
    if (isListed) return;
    const named = statement.quote(port === undefined || port === '' ? host : `${host}:${port}`);
    const listed = list.quote(addresses.map(hostKey).join(','));
    throw new ConfigurationError(
      `${statement.place} names the host ${named}, but ${list.place} lists ${listed}: name it in both or in one only`,
    );
  });
}
