import { ConfigurationError } from '../errors.ts';
import { quoteValue } from '../quote-value.ts';

/** Host names as one place of the settings spells them, before any is checked. */
export interface HostNames {
  readonly hosts: readonly string[];
  /** One for each host, one for all of them, or none at all; '' where this host has none. */
  readonly ports: readonly string[];
}

/** What a connection URL says about hosts, and the same URL as pg's own parser can read it. */
export interface ConnectionUrl {
  /** For pg: the URL as it was given, or, if its authority lists several hosts, with a single one that stands for them. */
  readonly forPg: string;
  /** The hosts between `//` and the path. No hosts: there is nothing. */
  readonly authority: HostNames;
  /** The hosts of `?host=…&port=…`. No hosts: there is no `host`. */
  readonly query: HostNames;
  /** Further libpq parameters that pg does not know. */
  readonly targetSessionAttrs: string | undefined;
  readonly loadBalanceHosts: string | undefined;
  /** How messages show a part of this URL. */
  readonly quote: (part: string) => string;
}

/** Stands for a list of hosts in what pg parses. Reserved by RFC 2606, so it can't be anybody's server. */
const STAND_IN_HOST = 'host-list.invalid';

const HOST_AND_PORT = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::([^:]*))?$/s;

/**
 * Takes a `scheme://[user[:password]@][host[:port][,…]][/database][?parameters]` apart, as libpq does, as far as hosts
 * are concerned. Everything else in it is left to pg.
 *
 * @returns undefined for what is no such URL: the other forms that pg reads (`/directory database`, `socket:…`, a bare
 *   database name) have one host at most
 * @throws ConfigurationError for a host list that can't be read; the user and the password are never quoted
 */
export function splitConnectionUrl(text: string): ConnectionUrl | undefined {
  const match = /^([a-z][a-z0-9+.-]*:\/\/)([^/?#]*)(.*)$/is.exec(text);
  if (match === null) return undefined;
  const [, scheme, fullAuthority, rest] = match as unknown as [string, string, string, string];

  // An "@" after the authority shows a password with an unescaped "/", "?" or "#": the "hosts" are a part of it.
  const isPasswordCut = rest.includes('@');
  const quote = (part: string): string =>
    isPasswordCut
      ? '(not shown, as it may be a part of the password: write "/", "?", "#", "@" as %2F, %3F, %23, %40)'
      : quoteValue(part);

  const userLength = fullAuthority.lastIndexOf('@') + 1;
  const userInfo = fullAuthority.slice(0, userLength);
  const hostPart = fullAuthority.slice(userLength);
  const isList = hostPart.includes(',');
  const parameters = new URLSearchParams(/\?([^#]*)/.exec(rest)?.[1] ?? '');
  return {
    forPg: isList ? `${scheme}${userInfo}${STAND_IN_HOST}${rest}` : text,
    authority: isList || /%2c/i.test(hostPart) ? readHostList(hostPart, quote) : readSingleHost(hostPart),
    query: {
      hosts: splitList(lastOf(parameters, 'host')),
      ports: splitList(lastOf(parameters, 'port')),
    },
    targetSessionAttrs: lastOf(parameters, 'target_session_attrs'),
    loadBalanceHosts: lastOf(parameters, 'load_balance_hosts'),
    quote,
  };
}

/** The items of a comma-separated list; none for nothing or an empty text. A single item stays as it is. */
export function splitList(text: string | undefined): readonly string[] {
  if (text === undefined || text === '') return [];
  return text.includes(',') ? text.split(',').map((item) => item.trim()) : [text];
}

/** Only what is needed to compare it: pg itself reads a single host, and says itself what is wrong with it. */
function readSingleHost(hostPart: string): HostNames {
  const match = HOST_AND_PORT.exec(hostPart);
  const host = match?.[1] ?? match?.[2] ?? hostPart;
  const port = match?.[3] ?? '';
  return { hosts: host === '' ? [] : [host], ports: port === '' ? [] : [port] };
}

function readHostList(hostPart: string, quote: (part: string) => string): HostNames {
  const hosts: string[] = [];
  const ports: string[] = [];
  for (const item of hostPart.split(',')) {
    const match = HOST_AND_PORT.exec(item);
    if (match === null) {
      throw new ConfigurationError(
        `the connection URL lists the host ${quote(item)}, which can't be read: write name:port or [IPv6 address]:port`,
      );
    }
    // An encoded comma separates hosts too: libpq decodes the list before it splits it.
    const names = splitList(decode(match[1] ?? match[2] ?? '', quote));
    hosts.push(...(names.length === 0 ? [''] : names));
    ports.push(match[3] ?? '');
  }
  return { hosts, ports: ports.every((port) => port === '') ? [] : ports };
}

function decode(host: string, quote: (part: string) => string): string {
  try {
    return decodeURIComponent(host);
  } catch {
    throw new ConfigurationError(
      `the connection URL lists the host ${quote(host)}, whose %-encoding is broken`,
    );
  }
}

/** pg and libpq both take the last of repeated parameters. */
function lastOf(parameters: URLSearchParams, name: string): string | undefined {
  return parameters.getAll(name).at(-1);
}
