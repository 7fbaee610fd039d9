import type { HostAddress } from '../topology/host-address.ts';
import { FailoverFailedError } from '../errors.ts';
import { abortable } from './abortable.ts';
import type { CommittedLog, LoggedTransaction } from './committed-log.ts';
import type { PositionSource } from './position-poller.ts';

/** One life of one server. */
export interface ServerLife {
  readonly address: HostAddress;
  readonly incarnation: string;
}

/** What the judgement of acknowledged transactions has come to. */
export interface Settled {
  /** The server has them; they stay in the log. */
  readonly survived: readonly LoggedTransaction[];
  /** Not judged: the server was lost meanwhile, or gave no answer in time. The next one will tell. */
  readonly open: readonly LoggedTransaction[];
  /** Why the sessions that wait must not go on; null if they may. */
  readonly failure: string | null;
}

/** What is asked of servers about acknowledged transactions, with somebody's credentials. */
export interface CommittedAgent {
  readonly positions: PositionSource;
  /** Judges them by this server, and tells what is to be told. */
  settle(entries: readonly LoggedTransaction[], server: ServerLife): Promise<Settled>;
}

/** A server that gave no answer is asked again by those who come later, but not by each of them. */
const PAUSE_MILLIS = 5_000;

/** Judges what was acknowledged on a server that is gone, once for all sessions that are to go on with another one (R9). */
export class Settlement {
  readonly #log: CommittedLog;
  #running: Promise<void> | null = null;
  /** The last server that left some open, and when it may be asked again. */
  #failed: { readonly incarnation: string; readonly until: number } | null = null;

  constructor(log: CommittedLog) {
    this.#log = log;
  }

  /**
   * Waits until all that was acknowledged elsewhere is judged by this server, or it has turned out that it can't be.
   *
   * @throws FailoverFailedError if the application wants nobody to go on without what was lost
   */
  async run(server: ServerLife, agent: CommittedAgent, signal: AbortSignal): Promise<void> {
    while (this.#running !== null) await abortable(this.#running, signal);
    if (!this.#log.hasUnsettled(server.incarnation)) return;
    if (this.#failed?.incarnation === server.incarnation && performance.now() < this.#failed.until) return;
    this.#running = this.#settle(server, agent);
    await abortable(this.#running, signal);
  }

  async #settle(server: ServerLife, agent: CommittedAgent): Promise<void> {
    const { incarnation } = server;
    const entries = this.#log.takeUnsettled(incarnation);
    let open = entries;
    let failure: string | null = null;
    try {
      const settled = await agent.settle(entries, server);
      this.#log.putBack(settled.survived);
      open = settled.open;
      failure = settled.failure;
    } catch {
      // All are open still.
    }
    this.#log.putBack(open);
    this.#failed = open.length === 0 ? null : { incarnation, until: performance.now() + PAUSE_MILLIS };
    this.#running = null;
    if (failure !== null) throw new FailoverFailedError(failure);
  }
}
