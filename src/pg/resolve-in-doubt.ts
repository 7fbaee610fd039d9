import { resolveCommit, type CommitResolution, type ResolutionReason } from './commit-resolver.ts';
import { resolvePreparedEnd, type PreparedResolution } from './resolve-prepared.ts';
import type { RecoveringSession } from './recovering-session.ts';
import type { LostServer } from './session-arrival.ts';
import { resolveTokens, type TokensReason } from './token/resolve-tokens.ts';
import { endedPrepared, preparedAs } from './unit-facts.ts';

/** What became of a unit in doubt. */
export interface UnitResolution {
  readonly outcome: CommitResolution['outcome'];
  readonly reason: ResolutionReason | TokensReason | PreparedResolution['reason'];
  readonly isByToken: boolean;
  /** Of a unit with several attempts: it was not the last of them that took effect. */
  readonly isOfEarlierAttempt?: boolean;
}

/** The resolver gave up while the server still owed it an answer. */
const LEAVES_CONNECTION_BUSY: ReadonlySet<UnitResolution['reason']> = new Set<UnitResolution['reason']>([
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
): Promise<UnitResolution | null> {
  const { connection, probe, state } = session;
  if (connection === null || probe === null || origin === null || state.kind !== 'resolving') return null;
  const unit = session.conversation.pending[state.unit];
  const backend = probe.incarnation === origin.probe.incarnation ? origin.backend : null;
  const { tokens } = session.context;
  const ended = unit === undefined ? null : endedPrepared(unit);
  if (ended !== null) {
    const keys = tokens.prepared.keysOf(ended.identifier);
    const { schema } = tokens;
    const resolution = await resolvePreparedEnd({
      ...ended,
      keys,
      runner: connection,
      schema,
      backend,
      signal,
    });
    return { ...resolution, isByToken: true };
  }
  if (unit !== undefined && unit.tokenKeys.length > 0) {
    const resolution = await resolveTokens({
      keys: unit.tokenKeys,
      runner: connection,
      schema: tokens.schema,
      backend,
      preparedAs: preparedInDoubt(session),
      synchronousStandbys: probe.synchronousStandbys,
      signal,
    });
    return { ...resolution, isByToken: true };
  }
  const resolution = await resolveCommit({
    mark: session.markInDoubt,
    backend: origin.backend,
    captured: origin.probe,
    runner: connection,
    server: probe,
    lineage: session.context.memory.lineage,
    preparedAs: preparedInDoubt(session),
    replicatedHistory: () => session.scouts.timelineHistory(connection.address, probe, signal),
    signal,
  });
  return { ...resolution, isByToken: false };
}

/** The event and the counters. */
export function tellResolution(session: RecoveringSession, resolution: UnitResolution, millis: number): void {
  const { coordinator } = session.context;
  if (resolution.outcome === 'unknown') coordinator.counters.commitsUnknown++;
  else coordinator.counters.commitsResolved++;
  const { outcome, reason } = resolution;
  coordinator.publish('commitResolved', { session: session.id, outcome, reason, durationMillis: millis });
}

/** The connection still waits for the answer to a question: the session must go on over another one. */
export function leavesConnectionBusy({ reason }: UnitResolution): boolean {
  return LEAVES_CONNECTION_BUSY.has(reason);
}

/** The identifier, if a PREPARE TRANSACTION is in doubt. */
function preparedInDoubt({ state, conversation }: RecoveringSession): string | null {
  if (state.kind !== 'resolving') return null;
  const unit = conversation.pending[state.unit];
  return unit === undefined ? null : preparedAs(unit);
}
