import { isIPv6 } from 'node:net';

import { ConfigurationError } from '../errors.ts';
import { quoteValue } from '../quote-value.ts';

/** Where one server listens. A value: it says nothing about who answers there. */
export interface HostAddress {
  /** A name, an IPv4 or IPv6 address (without brackets), or the directory of a unix socket, which begins with `/`. */
  readonly host: string;
  /** 1 to 65535. For a unix socket it is part of the socket's file name, as in libpq. */
  readonly port: number;
}

/**
 * A host as people write it: `'db1'`, `'db1:5433'`, `'[::1]:5433'`, `'::1'`, `'/run/postgresql'`,
 * `'/run/postgresql:5433'`, or an object whose `port` may be left out.
 */
export type HostAddressInput = string | { readonly host: string; readonly port?: number | undefined };

/** PostgreSQL's own port, used wherever none was given. */
export const DEFAULT_PORT = 5432;

const MAX_PORT = 65535;

/** Equal for two addresses that reach the same listener by the same name; names are compared without regard to case. */
export function hostKey(address: HostAddress): string {
  if (address.host.startsWith('/')) return `${address.host}:${address.port}`;
  const host = address.host.toLowerCase();
  return host.includes(':') ? `[${host}]:${address.port}` : `${host}:${address.port}`;
}

/** True for a port number that a server can listen on. */
export function isPort(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= MAX_PORT;
}

/**
 * Why `host` can't be the `host` of a HostAddress, or undefined if it can.
 *
 * Blanks, commas and `@` are refused because they show that a list or a whole URL was given for one host.
 */
export function hostFault(host: unknown): string | undefined {
  if (typeof host !== 'string') return 'it is not a string';
  if (host === '') return 'it is empty';
  if (host.includes('://')) return 'it is a URL, not a host';
  if (host.startsWith('/')) return host.includes('\0') ? 'it contains a zero byte' : undefined;
  if (/[\s,@/\\?#[\]\0]/.test(host)) return 'it contains a character that no host name has';
  if (host.includes(':') && !isIPv6(host)) return 'it contains a colon but is no IPv6 address';
  return undefined;
}

/**
 * Reads one host.
 *
 * @param what - how the message names this value, for instance `failover.hosts[1]`
 * @throws ConfigurationError that quotes the value
 */
export function parseHostAddress(input: unknown, defaultPort: number, what: string): HostAddress {
  const fail = (fault: string): never => {
    throw new ConfigurationError(`${what} is ${quoteValue(input)}: ${fault}`);
  };
  if (typeof input === 'string') {
    const { host, port } = splitHostAndPort(input);
    const fault = hostFault(host);
    if (fault !== undefined) return fail(fault);
    if (port === undefined) return { host, port: defaultPort };
    const number = Number(port);
    if (!/^\d+$/.test(port) || !isPort(number)) {
      return fail(`the port ${quoteValue(port)} is not a number from 1 to ${MAX_PORT}`);
    }
    return { host, port: number };
  }
  if (typeof input !== 'object' || input === null) return fail('it is neither a string nor { host, port }');
  const { host, port = defaultPort } = input as { host?: unknown; port?: unknown };
  const fault = hostFault(host);
  if (fault !== undefined) return fail(`its host is ${quoteValue(host)}: ${fault}`);
  if (!isPort(port)) return fail(`its port ${quoteValue(port)} is not a whole number from 1 to ${MAX_PORT}`);
  return { host: host as string, port };
}

function splitHostAndPort(text: string): { host: string; port: string | undefined } {
  const bracketed = /^\[([^\]]*)\](?::(.*))?$/s.exec(text);
  if (bracketed) return { host: bracketed[1]!, port: bracketed[2] };
  // A colon in a socket directory is legal, so only a number at the very end is taken for a port.
  const socket = /^(\/.*?)(?::(\d+))?$/s.exec(text);
  if (socket) return { host: socket[1]!, port: socket[2] };
  const colon = text.indexOf(':');
  if (colon === -1 || isIPv6(text) || text.includes('://')) return { host: text, port: undefined };
  return { host: text.slice(0, colon), port: text.slice(colon + 1) };
}
