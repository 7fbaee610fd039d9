import type { Coordinator } from '../../cluster/coordinator.ts';
import type { CommitTokenUnavailable } from '../../events.ts';
import { hostKey, type HostAddress } from '../../topology/host-address.ts';
import { dial } from '../hidden-client.ts';
import type { ResolvedFailoverOptions } from '../../options.ts';
import type { ResolvedConnection } from '../connection-hosts.ts';
import type { SqlRunner } from '../sql-runner.ts';
import { TokenKeys } from '../../session/token-key.ts';
import { askTokenPresence, describePresence, REMEDY, type TokenPresence } from './token-presence.ts';
import { TokenPurger, type PurgeConnection } from './token-purger.ts';

/** What of a context counts here: sessions with the same share one memory. */
export interface TokenContext {
  readonly coordinator: Coordinator;
  readonly resolved: ResolvedConnection;
  readonly options: ResolvedFailoverOptions;
}

/** How much longer than the retention a process looks for its own rows. */
const SPARE_RETENTIONS = 0.1;
const MAX_TOLD = 256;

/** What the sessions of one cluster, database and schema in this process share of commit tokens. */
export class TokenMemory {
  readonly keys = new TokenKeys();
  readonly purger: TokenPurger;
  readonly #context: TokenContext;
  readonly #startedAt = performance.now();
  readonly #told = new Set<string>();
  readonly #news: CommitTokenUnavailable[] = [];

  constructor(context: TokenContext) {
    this.#context = context;
    const { coordinator, options } = context;
    this.purger = new TokenPurger({
      schema: options.tokenSchema,
      retentionMillis: options.tokenRetentionMillis,
      connect: async (signal) => await this.#connect(signal),
      isNeeded: () => this.#mayHaveRows(),
      isOver: () => coordinator.snapshot().sessions === 0,
      onConnected: async (runner) => await this.#look(runner),
      onFailure: (failure) => {
        coordinator.publish('tokenPurgeFailed', failure);
      },
    });
  }

  /**
   * A connection to a primary was made, and nothing runs on it yet: whether tokens can be used on it. To be told by
   * `publishNews` if not. Rejects only if the connection was lost, or the server is going down.
   */
  async connected(runner: SqlRunner, address: HostAddress): Promise<TokenPresence> {
    const presence = await this.#look(runner);
    if (presence.kind === 'present') {
      if (presence.canPurge) this.purger.start();
    } else {
      this.#tell(hostKey(address), presence);
    }
    return presence;
  }

  /** Publishes what was found missing, once the session that found it has joined those who are told. */
  publishNews(): void {
    for (const event of this.#news.splice(0))
      this.#context.coordinator.publish('commitTokenUnavailable', event);
  }

  async #look(runner: SqlRunner): Promise<TokenPresence> {
    const presence = await askTokenPresence(runner, this.#context.options.tokenSchema);
    if (presence.kind === 'present') this.keys.observe(presence.time);
    return presence;
  }

  #tell(host: string, presence: Exclude<TokenPresence, { kind: 'present' }>): void {
    const { tokenSchema: schema } = this.#context.options;
    if (this.#told.has(host)) return;
    if (this.#told.size >= MAX_TOLD) this.#told.clear();
    this.#told.add(host);
    const reason = describePresence(presence, schema);
    this.#news.push({ host, schema, reason, remedy: REMEDY });
  }

  /** Rows of ours, or in the first time those of processes that have gone. */
  #mayHaveRows(): boolean {
    const { options } = this.#context;
    const since = performance.now() - (this.keys.lastMadeAt ?? this.#startedAt);
    return since <= options.tokenRetentionMillis * (1 + SPARE_RETENTIONS);
  }

  async #connect(signal: AbortSignal): Promise<PurgeConnection | null> {
    const { coordinator, resolved, options } = this.#context;
    const { primary } = coordinator.knowledge;
    if (primary === null || coordinator.isFailingOver) return null;
    const connection = await coordinator.dial(
      async () =>
        await dial(resolved.clientConfig, primary.address, {
          timeoutMillis: options.dialTimeoutMillis,
          signal,
        }),
      signal,
    );
    connection.unref();
    return {
      runner: connection,
      host: hostKey(primary.address),
      close: () => {
        connection.terminate();
      },
      destroy: () => {
        connection.destroy();
      },
    };
  }
}

const memories = new WeakMap<Coordinator, Map<string, TokenMemory>>();

/** The memory that belongs to this cluster, database and schema. The first one's options hold for all. */
export function tokenMemory(context: TokenContext): TokenMemory {
  const { coordinator, resolved, options } = context;
  let known = memories.get(coordinator);
  if (known === undefined) {
    known = new Map();
    memories.set(coordinator, known);
  }
  const { database, user } = resolved.clientConfig;
  const name = [database, process.env['PGDATABASE'], user].find(
    (one) => typeof one === 'string' && one !== '',
  );
  const key = JSON.stringify([name, options.tokenSchema]);
  let memory = known.get(key);
  if (memory === undefined) {
    memory = new TokenMemory(context);
    known.set(key, memory);
  }
  return memory;
}
