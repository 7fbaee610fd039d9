import type { LogicalSession } from './logical-session.ts';

/** Sessions of this process by their backend's cancel key, so that a cancel finds the right server after a swap. */
const sessions = new Map<string, WeakRef<LogicalSession>>();

export function enterLiveSession(session: LogicalSession, processId: number, secretKey: number): void {
  sessions.set(`${processId}/${secretKey}`, new WeakRef(session));
}

export function leaveLiveSession(processId: number, secretKey: number): void {
  sessions.delete(`${processId}/${secretKey}`);
}

export function liveSessionOf(processId: number, secretKey: number): LogicalSession | undefined {
  return sessions.get(`${processId}/${secretKey}`)?.deref();
}
