import { ConfigurationError } from '../../src/errors.ts';
import type { FailoverOptions } from '../../src/options.ts';
import { resolveFailoverOptions } from '../../src/resolve-options.ts';
import type { ChaosOptions } from './options.ts';

/** How the driver is configured, and what may be demanded of it therefore. */
export interface DriverMode {
  readonly failover: FailoverOptions;
  /** The database has the objects of commit tokens. */
  readonly tokens: boolean;
  /** What the driver does with lost commits; null if it says nothing of them. */
  readonly lostCommits: 'report' | 'reapply' | null;
}

/**
 * Gives the options for the driver.
 *
 * @throws Error that names an option which this build of the driver does not have
 */
export function driverMode({ commitOutcome, lostCommits }: ChaosOptions): DriverMode {
  const failover: Record<string, unknown> = { commitOutcome };
  if (lostCommits !== undefined) failover['lostCommits'] = lostCommits;
  for (const [name, value] of Object.entries(failover)) {
    if (!accepts(name, value))
      throw new Error(
        `this build of holdfast has no option failover.${name} with the value '${String(value)}' yet`,
      );
  }
  return {
    failover: failover,
    tokens: commitOutcome === 'token' || commitOutcome === 'auto',
    lostCommits: lostCommits === 'ignore' ? null : (lostCommits ?? 'report'),
  };
}

function accepts(name: string, value: unknown): boolean {
  try {
    resolveFailoverOptions({ [name]: value });
    return true;
  } catch (error) {
    if (error instanceof ConfigurationError) return false;
    throw error;
  }
}
