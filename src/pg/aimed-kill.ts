import type { Ticket } from '../cluster/failover.ts';
import type { ServerIdentity } from '../cluster/member.ts';

/** Kills that are aimed at one session whatever the server does afterwards (R14). */
const ALWAYS_AIMED: ReadonlySet<string> = new Set([
  '25P03', // idle_in_transaction_session_timeout
  '25P04', // transaction_timeout
  '57P04', // its database was dropped
]);

/** Aimed at one session only if its server goes on as it was (R14). */
const AIMED_IF_SERVER_LIVES: ReadonlySet<string> = new Set([
  '57P01', // pg_terminate_backend; also any shutdown
  '40001', // FATAL: conflict with recovery
]);

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
  ticket: Ticket,
  lost: ServerIdentity,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    const host = await ticket.primary(signal);
    return host.incarnation === lost.incarnation;
  } catch {
    return false;
  }
}
