import { deadlineSignal } from '../cluster/deadline-signal.ts';
import type { Ticket } from '../cluster/failover.ts';
import type { ServerIdentity } from '../cluster/member.ts';
import type { RecoveringSession } from './recovering-session.ts';

/**
 * An idle session needs no server, but what it lost may be a host: the others on it must know (R12). One look at the
 * hosts, shared by all who ask at the same time.
 */
export class HostReport {
  readonly #session: RecoveringSession;
  #end: (() => void) | null = null;

  constructor(session: RecoveringSession) {
    this.#session = session;
  }

  /** Looks, if anybody else needs to know. `ended` is called when the look is over or given up. */
  begin(lost: ServerIdentity, cause: string | null, ended: () => void): void {
    const session = this.#session;
    const { coordinator, options } = session.context;
    if (!session.followsPrimary || !coordinator.hasOthersOn(session, lost)) return;
    const abort = new AbortController();
    let ticket: Ticket;
    try {
      ticket = coordinator.join(session, lost, cause);
    } catch {
      return; // The waiting room is full: there are others enough who look.
    }
    const end = (): void => {
      abort.abort(new Error('nobody needs to know any more'));
      ticket.leave('ready');
      if (this.#end === end) this.#end = null;
      ended();
    };
    this.#end = end;
    const signal = deadlineSignal(options.dialTimeoutMillis, abort.signal);
    ticket.primary(signal).then(end, end);
  }

  /** Nobody needs to know any more. */
  stop(): void {
    this.#end?.();
  }
}
