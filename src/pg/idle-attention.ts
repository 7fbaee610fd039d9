import type { LogicalSession } from './logical-session.ts';

/** How long a session whose state is in doubt may stay busy before a check goes in front of its next statement. */
const MAX_DOUBT_MILLIS = 250;

/**
 * Finds out what a session's state is, off the hot path: when it is next idle; or, if it never is, once in a while in
 * front of a statement (design review A8).
 */
export class IdleAttention {
  readonly #session: LogicalSession;
  #since: number | null = null;
  #isScheduled = false;

  constructor(session: LogicalSession) {
    this.#session = session;
  }

  /** The session has just become idle, and there is something to find out. */
  wanted(): void {
    const now = performance.now();
    this.#since ??= now;
    if (now - this.#since > MAX_DOUBT_MILLIS) {
      this.#attend();
      return;
    }
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      if (this.#session.isIdle) this.#attend();
    });
  }

  #attend(): void {
    const session = this.#session;
    const { connection } = session;
    if (connection === null || !session.isIdle) return;
    this.#since = null;
    session.hold();
    // Code that nobody could read may have dropped prepared statements, the hidden one among them.
    session.marks.statementMayBeGone();
    const done = (): void => {
      if (session.connection === connection) session.letGo();
    };
    session.memory.attend(connection).then(done, done);
  }
}
