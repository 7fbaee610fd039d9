import type { Ticket } from '../cluster/failover.ts';
import type { ServerIdentity } from '../cluster/member.ts';
import type { RecoveringSession } from './recovering-session.ts';

/** Kills that are aimed at one session whatever the server does afterwards (R14). */
const ALWAYS_AIMED: ReadonlySet<string> = new Set([
  '25P03', // idle_in_transaction_session_timeout
  '25P04', // transaction_timeout
  '57P04', // its database was dropped
]);

/** Aimed at one session only if its server goes on as it was (R14). */
const AIMED_IF_SERVER_LIVES: ReadonlySet<string> = new Set([
  '57P01', // pg_terminate_backend; DROP DATABASE … WITH (FORCE); also any shutdown
  '40001', // FATAL: conflict with recovery
]);

/** The database is not there: what the server says to a new session where it has just been dropped. */
const NO_SUCH_DATABASE = '3D000';

/** True if the SQLSTATE of a FATAL error says by itself that this one session was meant. */
export function isAimed(code: string | null): boolean {
  return code !== null && ALWAYS_AIMED.has(code);
}

/** True if it depends on what became of the server. */
export function mayBeAimed(code: string | null): boolean {
  return code !== null && AIMED_IF_SERVER_LIVES.has(code);
}

/** R14: a session that was killed on a server which goes on as before was meant to be killed. */
export async function serverGoesOn(
  session: RecoveringSession,
  ticket: Ticket,
  lost: ServerIdentity,
  signal: AbortSignal,
): Promise<boolean> {
  // Both at once: they have little time. It never rejects.
  const look = session.observe(lost.address, signal);
  if (session.followsPrimary) {
    try {
      // A server may go on and have been deposed.
      return (await ticket.primary(signal)).incarnation === lost.incarnation;
    } catch {
      // No primary was found in time.
    }
  }
  const seen = await look;
  if (seen.kind === 'rejected') return seen.code === NO_SUCH_DATABASE;
  return seen.kind === 'reachable' && seen.incarnation === lost.incarnation;
}
