import type { ServerIdentity } from '../../cluster/member.ts';
import { hostKey } from '../../topology/host-address.ts';
import type { PreparedHandles } from '../session/prepared-handles.ts';
import type { SessionContext } from '../session/session-context.ts';
import type { TdsUnit } from '../session/tds-unit.ts';
import { committedWork } from './committed-work.ts';

/** A session that commits. */
export interface CommittingSession {
  readonly id: number;
  readonly context: SessionContext;
  readonly server: ServerIdentity | null;
  readonly handles: PreparedHandles;
}

/**
 * R9: a unit has committed. Its token, if it has one, will tell whether a later server has the transaction.
 *
 * @param before the units of the transaction in front of it
 */
export function keepAcknowledged(
  { id, context, server, handles }: CommittingSession,
  unit: TdsUnit,
  before: readonly TdsUnit[],
): void {
  const key = unit.keys.at(-1);
  const { lostCommits, maxJournalBytes } = context.options;
  if (key === undefined || lostCommits === 'ignore' || server?.incarnation == null) return;
  const { authentication, options } = context.config;
  context.acknowledged.add({
    ...committedWork([...before, unit], (handle) => handles.sqlOf(handle), maxJournalBytes),
    key,
    session: id,
    sentAtMillis: unit.sentAtMillis,
    acknowledgedAtMillis: Date.now(),
    database: options?.database ?? '',
    user: (authentication?.options as { userName?: string } | undefined)?.userName ?? null,
    server: hostKey(server.address),
    incarnation: server.incarnation,
  });
}
