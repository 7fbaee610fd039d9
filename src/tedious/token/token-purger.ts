import type { Coordinator } from '../../cluster/coordinator.ts';
import type { ResolvedFailoverOptions } from '../../options.ts';
import { hostKey } from '../../topology/host-address.ts';
import { mustRun, runBatch } from '../link/batch.ts';
import type { ServerConnection } from '../link/server-connection.ts';
import { moveWatermark, purgeSome, readTime, timeQuestion } from './token-batches.ts';

const TOKENS_AT_ONCE = 1_000;
/** Of the retention. */
const INTERVAL_SHARE = 0.1;

export interface PurgerOptions {
  readonly coordinator: Coordinator;
  readonly schema: string;
  readonly retentionMillis: number;
  /** To the primary. */
  connect(): Promise<ServerConnection>;
}

/**
 * Deletes old tokens in the background, as long as the process has sessions. It keeps no process alive. What is asked for
 * behind the mark gets 'unknown': no clock decides about an answer (design review A11).
 */
export class TokenPurger {
  readonly #options: PurgerOptions;
  #timer: NodeJS.Timeout | null = null;
  #isRunning = false;

  constructor(options: PurgerOptions) {
    this.#options = options;
  }

  start(): void {
    if (this.#timer !== null) return;
    const { coordinator } = this.#options;
    this.#timer = setInterval(() => {
      if (coordinator.snapshot().sessions === 0) this.stop();
      else void this.purge();
    }, this.#intervalMillis);
    this.#timer.unref();
  }

  get #intervalMillis(): number {
    return Math.max(1_000, this.#options.retentionMillis * INTERVAL_SHARE);
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  /** Never rejects: a failure is told as an event, and the next round tries again. */
  async purge(): Promise<void> {
    if (this.#isRunning) return;
    this.#isRunning = true;
    const { schema, retentionMillis, coordinator } = this.#options;
    let connection: ServerConnection | null = null;
    try {
      connection = await this.#options.connect();
      // Its own clock: that of a client may be ahead by more than tokens are to be kept.
      const time = readTime(await runBatch(connection, timeQuestion(schema)));
      if (time === null) throw new Error('the mark of the purge can not be read');
      const below = keyOf(time.serverMillis - retentionMillis);
      await mustRun(connection, moveWatermark(schema, below));
      for (;;) {
        const [row] = await mustRun(connection, purgeSome(schema, below, TOKENS_AT_ONCE));
        if (Number(row?.[0] ?? 0) < TOKENS_AT_ONCE) break;
      }
    } catch (error) {
      coordinator.publish('tokenPurgeFailed', {
        host: connection === null ? null : hostKey(connection.address),
        reason: error instanceof Error ? error.message : String(error),
        retryMillis: this.#intervalMillis,
      });
    } finally {
      connection?.destroy();
      this.#isRunning = false;
    }
  }
}

const purgers = new WeakMap<Coordinator, TokenPurger>();

/** One for each cluster and process: the first session's options hold, and its credentials. */
export function startPurger(
  { coordinator, options }: { readonly coordinator: Coordinator; readonly options: ResolvedFailoverOptions },
  connect: () => Promise<ServerConnection>,
): void {
  let purger = purgers.get(coordinator);
  if (purger === undefined) {
    const { tokenSchema, tokenRetentionMillis } = options;
    purger = new TokenPurger({
      coordinator,
      schema: tokenSchema,
      retentionMillis: tokenRetentionMillis,
      connect,
    });
    purgers.set(coordinator, purger);
  }
  purger.start();
}

/** The least key of a moment. */
function keyOf(millis: number): string {
  return Math.max(0, Math.floor(millis)).toString(16).padStart(12, '0').padEnd(32, '0');
}
