import { resolveCommit, type CommitResolution, type ResolutionReason } from './commit-resolver.ts';
import type { RecoveringSession } from './recovering-session.ts';
import type { LostServer } from './session-arrival.ts';
import { endingOf } from './unit-facts.ts';

/** The resolver gave up while the server still owed it an answer. */
const LEAVES_CONNECTION_BUSY: ReadonlySet<ResolutionReason> = new Set<ResolutionReason>([
  'no-answer',
  'not-replicated',
  'still-in-progress',
  'waiting-for-sync',
]);

/**
 * Phase 1 of one session (R6): asks the new server what became of the COMMIT in flight. Null if there is no server to ask
 * or no answer to be had any more: then the session is already being recovered anew.
 */
export async function resolveInDoubt(
  session: RecoveringSession,
  origin: LostServer | null,
  signal: AbortSignal,
): Promise<CommitResolution | null> {
  const { connection, probe } = session;
  if (connection === null || probe === null || origin === null) return null;
  return await resolveCommit({
    mark: session.markInDoubt,
    backend: origin.backend,
    captured: origin.probe,
    runner: connection,
    server: probe,
    lineage: session.context.memory.lineage,
    preparedAs: preparedAs(session),
    signal,
  });
}

/** The event and the counters. */
export function tellResolution(
  session: RecoveringSession,
  resolution: CommitResolution,
  millis: number,
): void {
  const { coordinator } = session.context;
  if (resolution.outcome === 'unknown') coordinator.counters.commitsUnknown++;
  else coordinator.counters.commitsResolved++;
  const { outcome, reason } = resolution;
  coordinator.publish('commitResolved', { session: session.id, outcome, reason, durationMillis: millis });
}

/** The connection still waits for the answer to a question: the session must go on over another one. */
export function leavesConnectionBusy({ reason }: CommitResolution): boolean {
  return LEAVES_CONNECTION_BUSY.has(reason);
}

/** The identifier, if a PREPARE TRANSACTION is in doubt. */
function preparedAs({ state, conversation }: RecoveringSession): string | null {
  if (state.kind !== 'resolving') return null;
  const unit = conversation.pending[state.unit];
  if (unit === undefined || endingOf(unit) !== 'prepare') return null;
  const literal = /'((?:[^']|'')*)'/.exec(unit.texts[0]?.text ?? '')?.[1];
  return literal?.replaceAll("''", "'") ?? null;
}
