import { ConfigurationError } from '../../errors.ts';
import { hostKey, type HostAddress } from '../../topology/host-address.ts';
import type { ProbeResult } from '../probe.ts';
import type { SqlRunner } from '../sql-runner.ts';
import { PreparedTokens } from './prepared-tokens.ts';
import type { TokenSource } from './token-keeper.ts';
import type { TokenMemory } from './token-memory.ts';
import { KEY_TOO_OLD, tokenStatements, type TokenStatements } from './token-objects.ts';
import { describePresence, REMEDY } from './token-presence.ts';
import type { TokenRefusal } from './unit-token.ts';

/** Somebody may install the objects while we run. */
const ASK_AGAIN_MILLIS = 30_000;
/** Clocks drift, and tokens are purged. */
const MAX_KNOWN_MILLIS = 600_000;
/** The statement is gone: it is prepared anew on the next connection. */
const NO_SUCH_STATEMENT = '26000';
/** Written by a READ ONLY transaction, into temporary tables say: it can't have a token. */
const READ_ONLY_TRANSACTION = '25006';

/** What a process knows of the commit tokens of one database for one role, whose rights count. */
export class DatabaseTokens implements TokenSource {
  readonly schema: string;
  readonly statements: TokenStatements;
  readonly prepared = new PreparedTokens();
  readonly #memory: TokenMemory;
  /** What was found in one life of one server. */
  #known: {
    readonly life: string;
    readonly until: number;
    readonly isThere: boolean;
    readonly canPurge: boolean;
  } | null = null;

  constructor(schema: string, memory: TokenMemory) {
    this.schema = schema;
    this.statements = tokenStatements(schema);
    this.#memory = memory;
  }

  /**
   * Whether tokens can be used over this connection, on which nothing runs yet. If not, that is told by `publishNews`.
   *
   * @throws ConfigurationError if they must be used and can't
   */
  async learn(
    runner: SqlRunner,
    address: HostAddress,
    { inRecovery, incarnation }: ProbeResult,
    isRequired: boolean,
  ): Promise<TokenSource | null> {
    if (inRecovery) return null;
    const life = incarnation ?? hostKey(address);
    const known = this.#known;
    if (known?.life === life && performance.now() < known.until && (known.isThere || !isRequired)) {
      // It stops when there are no sessions.
      if (known.canPurge) this.#memory.purger.start();
      return known.isThere ? this : null;
    }
    const presence = await this.#memory.connected(runner, address);
    const isThere = presence.kind === 'present';
    const millis = isThere ? MAX_KNOWN_MILLIS : ASK_AGAIN_MILLIS;
    const canPurge = isThere && presence.canPurge;
    this.#known = { life, until: performance.now() + millis, isThere, canPurge };
    if (isThere) return this;
    if (!isRequired) return null;
    throw new ConfigurationError(
      `failover.commitOutcome is 'token', but ${describePresence(presence, this.schema)}: ${REMEDY}`,
    );
  }

  /** Once the session that found something out has joined those who are told. */
  publishNews(): void {
    this.#memory.publishNews();
  }

  nextKey(): Buffer {
    return this.#memory.keys.next();
  }

  refused({ code }: TokenRefusal): boolean {
    if (code === READ_ONLY_TRANSACTION) return false;
    // The objects were changed, or are gone: the next connection asks again.
    this.#known = null;
    return code === NO_SUCH_STATEMENT || code === KEY_TOO_OLD;
  }
}
