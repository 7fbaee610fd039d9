import { deadlineSignal } from '../cluster/deadline-signal.ts';
import type { SessionState } from './state.ts';

/** A session that recovers, as far as its time goes. */
export interface TimedSession {
  readonly state: SessionState;
  readonly context: {
    readonly options: { readonly timeoutMillis: number };
    readonly coordinator: { readonly lastFailoverReason: string };
  };
}

/** The time that one session's recovery may take (`failover.timeoutMillis`), from the loss or from when the session is needed. */
export class RecoveryDeadline {
  readonly #session: TimedSession;
  #abort: AbortController | null = null;
  #timer: NodeJS.Timeout | undefined;
  #startedAt = 0;

  constructor(session: TimedSession) {
    this.#session = session;
  }

  /** A recovery is under way. */
  get isRunning(): boolean {
    return this.#abort !== null;
  }

  /** Aborts when the session is closed. */
  get signal(): AbortSignal | undefined {
    return this.#abort?.signal;
  }

  /** From here on it counts. */
  countFromNow(): void {
    this.#startedAt = performance.now();
  }

  /** A recovery begins, or goes on over another server: the time is not begun anew. */
  begin(timedOut: (reason: string) => void): AbortSignal {
    let abort = this.#abort;
    if (abort === null) {
      abort = new AbortController();
      this.#abort = abort;
      const { timeoutMillis } = this.#session.context.options;
      this.#timer = setTimeout(() => {
        timedOut(
          `the connection was lost and could not be replaced within ${timeoutMillis} ms (failover.timeoutMillis): ` +
            this.#whatTookTooLong(),
        );
      }, timeoutMillis);
    }
    return abort.signal;
  }

  /** For the resolver: it answers 'unknown' a little before the session's own deadline, so that its word is heard. */
  resolveSignal(signal: AbortSignal): AbortSignal {
    const { timeoutMillis } = this.#session.context.options;
    const left = timeoutMillis - (performance.now() - this.#startedAt);
    return deadlineSignal(Math.max(1, Math.floor(left * 0.9)), signal);
  }

  abort(reason: Error): void {
    this.#abort?.abort(reason);
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#abort = null;
  }

  #whatTookTooLong(): string {
    const { state, context } = this.#session;
    switch (state.kind) {
      case 'resolving':
        return 'it was still being found out what became of its COMMIT';
      case 'replaying':
        return 'its statements were still being run again, which may wait for a lock that somebody else holds';
      default:
        return context.coordinator.lastFailoverReason;
    }
  }
}
