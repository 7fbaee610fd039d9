import { ConfigurationError } from './errors.ts';
import { quoteValue } from './quote-value.ts';

/** Longer names would be cut off by the server. */
const MAX_NAME_BYTES = 63;

/**
 * The name of a schema that can be made.
 *
 * @param option - what the message calls it
 * @throws ConfigurationError for anything else
 */
export function checkSchemaName(name: unknown, option: string): string {
  const isName =
    typeof name === 'string' &&
    name !== '' &&
    !name.includes('\0') &&
    Buffer.byteLength(name) <= MAX_NAME_BYTES &&
    !name.startsWith('pg_');
  if (isName) return name;
  throw new ConfigurationError(
    `${option} must be the name of a schema, of 1 to ${MAX_NAME_BYTES} bytes and not beginning with pg_, but is ${quoteValue(name)}`,
  );
}
