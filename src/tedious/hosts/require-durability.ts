import { ConfigurationError } from '../../errors.ts';
import type { ProbeResult } from './probe.ts';

/**
 * With forced delayed durability a COMMIT is acknowledged before it is in the log: neither the primary nor any secondary
 * need have it (SQL Server, "Control Transaction Durability"). No answer of the driver's would hold.
 *
 * @throws ConfigurationError
 */
export function requireDurability({ delayedDurability }: ProbeResult): void {
  if (delayedDurability !== 'FORCED') return;
  throw new ConfigurationError(
    'the database has DELAYED_DURABILITY = FORCED, so that acknowledged transactions can be lost on any server: ALTER DATABASE … SET DELAYED_DURABILITY = ALLOWED (or DISABLED), or set failover: false',
  );
}
