import type { HostAddress } from '../topology/host-address.ts';

/** A session whose server can be found by its cancel key. */
export interface LiveSession {
  readonly connection: { readonly address: HostAddress } | null;
}

/** Sessions of this process by their backend's cancel key, so that a cancel finds the right server after a swap. */
const sessions = new Map<string, WeakRef<LiveSession>>();

export function enterLiveSession(session: LiveSession, processId: number, secretKey: number): void {
  sessions.set(`${processId}/${secretKey}`, new WeakRef(session));
}

export function leaveLiveSession(processId: number, secretKey: number): void {
  sessions.delete(`${processId}/${secretKey}`);
}

export function liveSessionOf(processId: number, secretKey: number): LiveSession | undefined {
  return sessions.get(`${processId}/${secretKey}`)?.deref();
}
