// Not `pg-connection-string`: it is pg's dependency and not ours, so a strict package manager hides it, and a bundler
// can't follow a require made at run time. This class is an exported sub-path of pg; it is where a stock Client gets
// its host, user, database, password and ssl from; it opens no socket, and nobody patches it as they do `pg.Client`.
import ConnectionParameters from 'pg/lib/connection-parameters';

import { chooseHosts } from './choose-hosts.ts';
import type { HostStatement } from './choose-hosts.ts';
import { makeClientConfig, makePlainConfig } from './client-config.ts';
import type { Settings } from './client-config.ts';
import { splitConnectionUrl, splitList } from './connection-url.ts';
import type { ConnectionUrl } from './connection-url.ts';
import { pg } from './stock-pg.ts';
import { ConfigurationError } from '../errors.ts';
import { resolveFailoverOptions } from '../resolve-options.ts';
import type { ResolvedFailoverOptions } from '../options.ts';
import { quoteValue } from '../quote-value.ts';
import type { HostAddress } from '../topology/host-address.ts';
import { DEFAULT_PORT } from '../topology/host-address.ts';
import { TARGET_SESSION_ATTRS } from '../topology/target-session-attrs.ts';
import type { TargetSessionAttrs } from '../topology/target-session-attrs.ts';

/** libpq's `load_balance_hosts`: try the hosts in the order of the list, or in a random order. */
export const LOAD_BALANCE_HOSTS = ['disable', 'random'] as const;
export type LoadBalanceHosts = (typeof LOAD_BALANCE_HOSTS)[number];

/** Where and how to connect, read out of all that a stock `pg.Client` accepts and libpq's host lists besides. */
export interface ResolvedConnection {
  /** At least one, none twice, in the order in which to try them. */
  readonly hosts: readonly HostAddress[];
  /**
   * A configuration for a stock `pg.Client` or `pg.Pool`: it has the first host and its port, and neither
   * `connectionString` nor `failover` nor libpq's host keys. The password is an enumerable property, so that a copy
   * made by spreading keeps it; `inspect` and `JSON.stringify` leave it out. Frozen.
   */
  readonly clientConfig: Settings;
  /**
   * Which host a new session wants. Default: `any` for a single fixed host, as with pg; `read-write` where there are
   * several hosts or a provider, since the driver's business is to find the primary among them (libpq: `any`).
   */
  readonly targetSessionAttrs: TargetSessionAttrs;
  /** Default `disable`. */
  readonly loadBalanceHosts: LoadBalanceHosts;
  readonly failover: ResolvedFailoverOptions | false;
}

/**
 * Reads the configuration that an application gave to `Client` or `Pool`.
 *
 * One host resolves exactly as in stock pg: URL before keys before environment before `pg.defaults`. Several hosts
 * come from a libpq URL (`postgres://a:5432,b:5433/db`, `?host=a,b&port=1,2`), from `host: 'a,b'` with `port: '1,2'`
 * or one port for all, from `PGHOST` and `PGPORT`, or from `failover.hosts`, which goes before the others. As in libpq
 * there are as many ports as hosts, or one, or none, and a port left out in a list is 5432. Unlike in libpq an empty
 * host in a list is an error, as it comes from an unset variable more often than it means the local server.
 * With `failover: false` pg gets everything as it is.
 *
 * @param environment - PGHOST, PGPORT, PGTARGETSESSIONATTRS and PGLOADBALANCEHOSTS are read from here; the others pg
 *   itself reads from `process.env`
 * @throws ConfigurationError for bad or contradictory settings, quoting them, but never the password
 * @throws what pg throws for a configuration that it can't read
 */
export function resolveConnection(
  config: string | object | undefined,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): ResolvedConnection {
  const given = (typeof config === 'string' ? {} : (config ?? {})) as Settings;
  const failover = resolveFailoverOptions(given['failover']);
  if (failover === false) return resolvePlain(given);

  const text = typeof config === 'string' ? config : given['connectionString'];
  const isTextGiven = typeof config === 'string' || Boolean(text);
  const url = isTextGiven && typeof text === 'string' ? splitConnectionUrl(text) : undefined;
  const stock = readAsPg(config, url);
  const hosts = chooseHosts({
    statements: isTextGiven ? statementsOfText(url, given, stock) : statementsOfKeys(given),
    failoverHosts: failover.hosts,
    ports: isTextGiven ? (url?.query.ports ?? []) : portsOf(given),
    environmentHost: nonEmpty(environment['PGHOST']) ?? nonEmpty(pg.defaults.host) ?? 'localhost',
    environmentPort: nonEmpty(environment['PGPORT']) ?? String(pg.defaults.port ?? DEFAULT_PORT),
  });
  const isFixedHost = hosts.length === 1 && failover.provider === undefined;
  if (isFixedHost && failover.acknowledge === 'replicated') {
    throw new ConfigurationError(
      `failover.acknowledge is 'replicated', but there is only one host, so no standby can be asked: name the standbys as well, or leave it at 'local'`,
    );
  }
  return Object.freeze({
    hosts,
    clientConfig: makeClientConfig(given, hosts[0]!, isTextGiven ? stock : undefined),
    targetSessionAttrs:
      chooseWord('target_session_attrs', TARGET_SESSION_ATTRS, environment['PGTARGETSESSIONATTRS'], [
        { value: url?.targetSessionAttrs, quote: url?.quote },
        { value: given['target_session_attrs'] },
        { value: given['targetSessionAttrs'] },
      ]) ?? (isFixedHost ? 'any' : 'read-write'),
    loadBalanceHosts:
      chooseWord('load_balance_hosts', LOAD_BALANCE_HOSTS, environment['PGLOADBALANCEHOSTS'], [
        { value: url?.loadBalanceHosts, quote: url?.quote },
        { value: given['load_balance_hosts'] },
        { value: given['loadBalanceHosts'] },
      ]) ?? 'disable',
    failover,
  });
}

function resolvePlain(given: Settings): ResolvedConnection {
  const clientConfig = makePlainConfig(given);
  const stock = readAsPg(clientConfig, undefined);
  const address = Object.freeze({
    host: nonEmpty(stock['host']) ?? 'localhost',
    port: Number(stock['port']),
  });
  return Object.freeze({
    hosts: Object.freeze([address]),
    clientConfig,
    targetSessionAttrs: 'any',
    loadBalanceHosts: 'disable',
    failover: false,
  });
}

function readAsPg(config: string | object | undefined, url: ConnectionUrl | undefined): Settings {
  let forPg = config;
  if (url !== undefined) {
    forPg = typeof config === 'string' ? url.forPg : { ...config, connectionString: url.forPg };
  }
  return new ConnectionParameters(forPg) as unknown as Settings;
}

/** Of the places that pg does not heed beside others, a single host counts only where it may contradict a list. */
function statementsOfText(url: ConnectionUrl | undefined, given: Settings, stock: Settings): HostStatement[] {
  const stockHost = String(stock['host']);
  if (url === undefined) {
    const ports = [String(stock['port'])];
    return [{ place: 'the connection string', hosts: [stockHost], ports, quote: quoteValue }];
  }
  const { authority, query, quote } = url;
  const statements: HostStatement[] = [];
  if (query.hosts.length > 0) {
    const ports = query.ports.length > 0 ? query.ports : authority.ports;
    statements.push({
      place: 'the parameter "host" of the connection URL',
      hosts: query.hosts,
      ports,
      quote,
    });
  }
  if (authority.hosts.length > 0) {
    statements.push({
      place: 'the connection URL',
      hosts: authority.hosts,
      ports: portsOfAuthority(url),
      quote,
    });
  }
  const isHostInUrl = statements.length > 0;
  const all = [...statements, ...statementsOfKeys(given)];
  if (all.some((statement) => statement.hosts.length > 1)) return all;
  // pg has its own way of decoding a single host, so it is taken from there.
  return isHostInUrl ? [{ ...all[0]!, hosts: [stockHost] }] : [];
}

function portsOfAuthority({ authority, query, quote }: ConnectionUrl): readonly string[] {
  if (authority.hosts.length === 1) return query.ports.length > 0 ? query.ports : authority.ports;
  if (authority.ports.length > 0 && query.ports.length > 0) {
    const [inAuthority, inQuery] = [authority.ports.join(','), query.ports.join(',')];
    if (inAuthority !== inQuery) {
      throw new ConfigurationError(
        `the connection URL gives its hosts the ports ${quote(inAuthority)} and also the parameter "port" ${quote(inQuery)}`,
      );
    }
  }
  // As in libpq, PGPORT is not for the hosts that a URL lists.
  return [authority.ports, query.ports].find((ports) => ports.length > 0) ?? [String(DEFAULT_PORT)];
}

function statementsOfKeys(given: Settings): HostStatement[] {
  const host = given['host'];
  if (host === undefined || host === null || host === '') return [];
  if (typeof host !== 'string')
    throw new ConfigurationError(`host must be a string, but is ${quoteValue(host)}`);
  return [{ place: 'the key "host"', hosts: splitList(host), ports: portsOf(given), quote: quoteValue }];
}

function portsOf(given: Settings): readonly string[] {
  const port = given['port'];
  // pg too takes its default for a port of 0.
  if (port === undefined || port === null || port === '' || port === 0) return [];
  if (typeof port === 'number' || typeof port === 'string') return splitList(String(port));
  throw new ConfigurationError(`port must be a number or a string, but is ${quoteValue(port)}`);
}

/** The one of `words` that all given values are; undefined if there is none. The environment yields to all others. */
function chooseWord<W extends string>(
  name: string,
  words: readonly W[],
  fromEnvironment: string | undefined,
  candidates: readonly { readonly value: unknown; readonly quote?: ((part: string) => string) | undefined }[],
): W | undefined {
  const given = candidates.filter(({ value }) => value !== undefined && value !== null);
  const [first = { value: nonEmpty(fromEnvironment) }, ...others] = given;
  if (first.value === undefined) return undefined;
  const show = ({ value, quote }: (typeof candidates)[number]): string =>
    quote !== undefined && typeof value === 'string' ? quote(value) : quoteValue(value);
  const contradiction = others.find((other) => other.value !== first.value);
  if (contradiction !== undefined) {
    throw new ConfigurationError(`${name} is given twice: as ${show(first)} and as ${show(contradiction)}`);
  }
  const word = words.find((candidate) => candidate === first.value);
  if (word !== undefined) return word;
  throw new ConfigurationError(`${name} is ${show(first)}, which is none of ${words.join(', ')}`);
}

function nonEmpty(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
