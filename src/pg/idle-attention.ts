import type { ServerConnection } from './server-connection.ts';
import type { SqlRunner } from './sql-runner.ts';

/** A pinned session is refused anyhow: looking again only finds out that it is pinned no more. */
const PINNED_CHECK_MILLIS = 1_000;

/** What looking after a session needs of it. */
export interface AttendedSession {
  readonly connection: ServerConnection | null;
  /** Online, and nothing of anybody's is under way. */
  readonly isIdle: boolean;
  readonly context: {
    readonly options: { readonly stateCheckMillis: number };
    /** Not ready: judging begins with loading the parser, which holds up the whole process for a moment. */
    readonly database: { readonly isReady: boolean };
    readonly memory: { questions(connection: ServerConnection): SqlRunner };
  };
  readonly memory: {
    readonly wantsAttention: boolean;
    readonly isPinned: boolean;
    attend(runner: SqlRunner): Promise<void>;
  };
  readonly marks: { statementMayBeGone(): void };
  /** Nothing of the application's is sent until as many `letGo`. */
  hold(): void;
  letGo(): void;
}

/**
 * Finds out what a session's state is (design review A8): at once when it has come into doubt, which delays at most the
 * next statement by a round trip; but not again within `failover.stateCheckMillis` unless the session is idle.
 */
export class IdleAttention {
  readonly #session: AttendedSession;
  #last = Number.NEGATIVE_INFINITY;
  #isScheduled = false;
  #hasYielded = false;

  constructor(session: AttendedSession) {
    this.#session = session;
  }

  /** The session has just become idle, and there is something to find out. */
  wanted(): void {
    const { context, memory } = this.#session;
    const { stateCheckMillis } = context.options;
    const least = memory.isPinned ? Math.max(stateCheckMillis, PINNED_CHECK_MILLIS) : stateCheckMillis;
    if (performance.now() - this.#last >= least) {
      if (context.database.isReady || this.#hasYielded) this.#attend();
      else this.#attendUnlessEnded();
      return;
    }
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#attend();
    });
  }

  /** What the application does behind a first answer may be to end the session. Its next statement does not go first (A8). */
  #attendUnlessEnded(): void {
    const session = this.#session;
    const { connection } = session;
    if (connection === null || !session.isIdle) return;
    this.#hasYielded = true;
    session.hold();
    setImmediate(() => {
      if (session.connection === connection) this.#look(connection);
    });
  }

  #attend(): void {
    const session = this.#session;
    const { connection } = session;
    if (connection === null || !session.isIdle || !session.memory.wantsAttention) return;
    session.hold();
    this.#look(connection);
  }

  /** Nothing of the application's is sent meanwhile: the session is held. */
  #look(connection: ServerConnection): void {
    const session = this.#session;
    this.#last = performance.now();
    // Code that nobody could read may have dropped prepared statements, the hidden one among them.
    session.marks.statementMayBeGone();
    const done = (): void => {
      if (session.connection === connection) session.letGo();
    };
    const questions = session.context.memory.questions(connection);
    session.memory.attend(questions).then(done, done);
  }
}
