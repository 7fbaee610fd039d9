import type { LogicalSession } from './logical-session.ts';

/**
 * Finds out what a session's state is (design review A8): at once when it has come into doubt, which delays at most the
 * next statement by a round trip; but not again within `failover.stateCheckMillis` unless the session is idle.
 */
export class IdleAttention {
  readonly #session: LogicalSession;
  #last = Number.NEGATIVE_INFINITY;
  #isScheduled = false;

  constructor(session: LogicalSession) {
    this.#session = session;
  }

  /** The session has just become idle, and there is something to find out. */
  wanted(): void {
    if (performance.now() - this.#last >= this.#session.context.options.stateCheckMillis) {
      this.#attend();
      return;
    }
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#attend();
    });
  }

  #attend(): void {
    const session = this.#session;
    const { connection } = session;
    if (connection === null || !session.isIdle || !session.memory.wantsAttention) return;
    this.#last = performance.now();
    session.hold();
    // Code that nobody could read may have dropped prepared statements, the hidden one among them.
    session.marks.statementMayBeGone();
    const done = (): void => {
      if (session.connection === connection) session.letGo();
    };
    session.memory.attend(connection).then(done, done);
  }
}
