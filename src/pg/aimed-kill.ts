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
  // Who is on a standby asks for no primary. Both at once: they have little time.
  const search = session.followsPrimary ? ticket.primary(signal) : Promise.reject(new Error('not asked'));
  const [found, seen] = await Promise.allSettled([search, session.observe(lost.address, signal)]);
  // A server may go on and have been deposed.
  if (found.status === 'fulfilled') return found.value.incarnation === lost.incarnation;
  if (seen.status === 'rejected') return false;
  const { value } = seen;
  if (value.kind === 'rejected') return value.code === NO_SUCH_DATABASE;
  return value.kind === 'reachable' && value.incarnation === lost.incarnation;
}
