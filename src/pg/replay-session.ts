import { abortable } from '../cluster/abortable.ts';
import type { Ticket } from '../cluster/failover.ts';
import { JournalPins } from './pinning/journal-pins.ts';
import type { RecoveringSession } from './recovering-session.ts';
import { replayJournal, type ReplayResult } from './replay.ts';
import type { ServerConnection } from './server-connection.ts';

/**
 * Sequences are moved past what the application has seen of them before any journal is replayed: what another one draws
 * must not be in its way.
 */
export async function preparePins(
  session: RecoveringSession,
  connection: ServerConnection,
  signal: AbortSignal,
): Promise<JournalPins | null> {
  return await abortable(
    JournalPins.prepare(session, connection, async (run) => {
      await session.context.memory.sequenceMoves.run(async () => {
        const other = await session.scouts.open(connection.address, signal);
        try {
          await run(other.connection);
        } finally {
          other.connection.terminate();
        }
      }, signal);
    }),
    signal,
  );
}

/** One replay of a session's open transaction. */
export interface SessionReplay {
  readonly session: RecoveringSession;
  readonly connection: ServerConnection;
  readonly ticket: Ticket;
  readonly pins: JournalPins | null;
  readonly signal: AbortSignal;
  /** False: the connection was lost meanwhile, and all begins again. */
  isCurrent(): boolean;
}

/**
 * Runs the journal of the session's open transaction (phase 2), with its events and counters, and has all who keep
 * account of the session take the transaction for the one that was lost. Null if the result is about nothing any more.
 */
export async function replaySession(replay: SessionReplay): Promise<ReplayResult | null> {
  const { session, connection, ticket, pins, signal } = replay;
  const { coordinator } = session.context;
  const startedAt = performance.now();
  const about = { id: ticket.failoverId, session: session.id, statements: session.units.length };
  coordinator.counters.replays++;
  coordinator.publish('replayStarted', about);
  const result = await replayJournal(session, connection, ticket.order, pins, signal);
  if (!replay.isCurrent()) return null;
  const durationMillis = (): number => performance.now() - startedAt;
  switch (result.kind) {
    case 'replayed':
      session.pinned.replayed(pins);
      session.memory.transactionBegan();
      for (const unit of session.units) session.memory.ran(unit.texts);
      await session.marks.afterReplay(connection, session.units, result.status);
      if (!replay.isCurrent()) return null;
      coordinator.publish('replaySucceeded', { ...about, durationMillis: durationMillis() });
      return result;
    case 'diverged':
      coordinator.counters.replaysDiverged++;
      coordinator.publish('replayDiverged', {
        ...about,
        durationMillis: durationMillis(),
        reason: result.reason,
      });
      return result;
    case 'not-replayable':
    case 'again':
      coordinator.publish('replayFailed', {
        ...about,
        durationMillis: durationMillis(),
        reason: result.reason,
      });
      return result;
  }
}
