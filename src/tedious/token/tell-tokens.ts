import type { Coordinator } from '../../cluster/coordinator.ts';
import { ConfigurationError } from '../../errors.ts';
import { hostKey, type HostAddress } from '../../topology/host-address.ts';
import type { SessionContext } from '../session/session-context.ts';
import type { SessionTokens } from '../session/session-tokens.ts';

const REMEDY =
  "run 'npx holdfast init --engine mssql' and execute what it prints in this database, as its owner";

const told = new WeakMap<Coordinator, Set<string>>();

/**
 * Says once for each host that outcomes in doubt will be unknown, as there are no tokens.
 *
 * @throws ConfigurationError with `commitOutcome: 'token'`
 */
export function tellTokens(
  tokens: SessionTokens,
  { coordinator, options }: SessionContext,
  address: HostAddress,
): void {
  if (!tokens.areWanted || tokens.areAvailable) return;
  const { tokenSchema: schema } = options;
  const reason =
    tokens.presence === 'absent'
      ? `the database has no tables for commit tokens in the schema ${schema}`
      : `this login may not use the tables of commit tokens in the schema ${schema}`;
  if (options.commitOutcome === 'token') {
    throw new ConfigurationError(`failover.commitOutcome is 'token', but ${reason}: ${REMEDY}`);
  }
  const host = hostKey(address);
  let hosts = told.get(coordinator);
  if (hosts === undefined) {
    hosts = new Set();
    told.set(coordinator, hosts);
  }
  if (hosts.has(host)) return;
  hosts.add(host);
  // The session that found it joins those who are told with its login.
  setImmediate(() => {
    coordinator.publish('commitTokenUnavailable', { host, schema, reason, remedy: REMEDY });
  });
}
