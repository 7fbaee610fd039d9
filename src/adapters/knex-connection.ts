import { ConfigurationError } from '../errors.ts';
import { quoteValue } from '../quote-value.ts';
import { RenewableConnection } from './renewable-connection.ts';

/**
 * What Knex has left of the `connection` that the application gave.
 *
 * Before a dialect sees a connection string, Knex has taken it apart with a parser that knows one host. One that it
 * can't read it takes for the name of an SQLite file, and one in which only the last host has a port looks as if that
 * were everybody's.
 *
 * @throws ConfigurationError where it can't be told which ports were meant
 */
export function readConnection<Connection>(given: Connection): Connection {
  if (typeof given === 'function') {
    return new RenewableConnection(given as unknown as () => unknown).ask as unknown as Connection;
  }
  if (typeof given !== 'object' || given === null) return given;
  const { filename, host, port, connectionString } = given as Readonly<Record<string, unknown>>;
  if (typeof filename === 'string' && Object.keys(given).length === 1)
    return { connectionString: filename } as Connection;
  const isList = typeof host === 'string' && host.includes(',') && !connectionString;
  if (isList && typeof port === 'string' && port !== '' && !port.includes(',')) {
    throw new ConfigurationError(
      `the hosts ${quoteValue(host)} have the one port ${quoteValue(port)}, and Knex does not tell whether a connection string gave it to the last of them only: give each host its port, or 'connection' as { connectionString }`,
    );
  }
  return given;
}
