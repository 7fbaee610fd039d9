import { inspect } from 'node:util';

import type { HostAddress } from '../topology/host-address.ts';

/** Settings as an application gives them: foreign, so nothing is known about the values. */
export type Settings = Readonly<Record<string, unknown>>;

/** What a stock Client finds in a connection text; see pg/lib/client.js. All else it reads from the keys beside it. */
const KEYS_FROM_TEXT = [
  'user',
  'database',
  'password',
  'ssl',
  'sslnegotiation',
  'replication',
  'options',
  'client_encoding',
  'application_name',
  'fallback_application_name',
  'statement_timeout',
  'lock_timeout',
  'idle_in_transaction_session_timeout',
  'query_timeout',
] as const;

const KEYS_NOT_FOR_PG = [
  'connectionString',
  'failover',
  'target_session_attrs',
  'targetSessionAttrs',
  'load_balance_hosts',
  'loadBalanceHosts',
];

/**
 * The configuration for a stock Client that connects to one host.
 *
 * @param fromText - what pg found in a connection text, if there was one. Its values replace those of the keys even
 *   where it has none, as pg does: a `password` key beside a URL without password is not used.
 */
export function makeClientConfig(
  given: Settings,
  host: HostAddress,
  fromText: Settings | undefined,
): Settings {
  const config = valuesOf(given);
  for (const key of KEYS_NOT_FOR_PG) Reflect.deleteProperty(config, key);
  if (fromText !== undefined) for (const key of KEYS_FROM_TEXT) config[key] = fromText[key];
  config['host'] = host.host;
  config['port'] = host.port;
  return withHiddenPassword(config);
}

/** The configuration for `failover: false`: what was given, without the one key that is ours. */
export function makePlainConfig(given: Settings): Settings {
  const config = valuesOf(given);
  delete config['failover'];
  return withHiddenPassword(config);
}

/**
 * All values as enumerable own properties. pg-pool and others hide the password and the TLS key from enumeration, and
 * class instances have theirs on the prototype: a copy by spreading would connect without a password.
 */
function valuesOf(given: Settings): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (
    let holder: object | null = given;
    holder !== null && holder !== Object.prototype;
    holder = Object.getPrototypeOf(holder) as object | null
  ) {
    for (const key of Object.getOwnPropertyNames(holder)) {
      if (key !== 'constructor' && !Object.hasOwn(values, key)) values[key] = given[key];
    }
  }
  return values;
}

/** Enumerable for who copies it, invisible for who prints it. The hooks themselves are not copied by spreading. */
function withHiddenPassword(config: Record<string, unknown>): Settings {
  const visible = (): Settings => {
    const copy = { ...config };
    delete copy['password'];
    return copy;
  };
  Object.defineProperty(config, inspect.custom, { value: visible });
  Object.defineProperty(config, 'toJSON', { value: visible });
  return Object.freeze(config);
}
