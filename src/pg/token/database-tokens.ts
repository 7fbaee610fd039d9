import type { Coordinator } from '../../cluster/coordinator.ts';
import { ConfigurationError } from '../../errors.ts';
import { hostKey, type HostAddress } from '../../topology/host-address.ts';
import type { ProbeResult } from '../probe.ts';
import type { SqlRunner } from '../sql-runner.ts';
import type { TokenSource } from './token-keeper.ts';
import { TokenKeys } from './token-key.ts';
import { putTokenSql } from './token-objects.ts';
import { askTokenPresence, CURE, describeMissing, type TokenPresence } from './token-presence.ts';
import type { TokenRefusal } from './unit-token.ts';

/** Somebody may install the objects while we run. */
const ASK_AGAIN_MILLIS = 30_000;
/** A clock that was read drifts, and tokens are purged. */
const MAX_KNOWN_MILLIS = 600_000;
/** The statement is gone: it is prepared anew on the next connection. */
const NO_SUCH_STATEMENT = '26000';
/** The key was as old as those that were purged. */
const KEY_TOO_OLD = 'HF001';
/** Written by a READ ONLY transaction, into temporary tables say: it can't have a token. */
const READ_ONLY_TRANSACTION = '25006';

/** What a process knows of the commit tokens of one database, for one role. */
export class DatabaseTokens implements TokenSource {
  readonly schema: string;
  readonly sql: string;
  readonly #coordinator: Coordinator;
  readonly #keys = new TokenKeys();
  /** What was found in one life of one server. */
  #known: { readonly incarnation: string; readonly until: number; readonly isThere: boolean } | null = null;
  #hasTold = false;

  constructor(schema: string, coordinator: Coordinator) {
    this.schema = schema;
    this.sql = putTokenSql(schema);
    this.#coordinator = coordinator;
  }

  /**
   * Whether tokens can be used over this connection. Told once if they can't.
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
    if (known?.incarnation === life && performance.now() < known.until && (known.isThere || !isRequired)) {
      return known.isThere ? this : null;
    }
    const presence = await askTokenPresence(runner, this.schema);
    const isThere = presence.kind === 'present';
    if (isThere) this.#keys.observe(presence.time);
    const millis = isThere ? MAX_KNOWN_MILLIS : ASK_AGAIN_MILLIS;
    this.#known = { incarnation: life, until: performance.now() + millis, isThere };
    if (isThere) return this;
    const reason = whyMissing(presence, this.schema);
    if (isRequired) {
      throw new ConfigurationError(`failover.commitOutcome is 'token', but ${reason}: ${CURE}`);
    }
    this.#tell(address, reason);
    return null;
  }

  nextKey(): Buffer {
    return this.#keys.next();
  }

  refused({ code }: TokenRefusal): boolean {
    if (code === READ_ONLY_TRANSACTION) return false;
    // The objects were changed, or are gone: the next connection asks again.
    this.#known = null;
    return code === NO_SUCH_STATEMENT || code === KEY_TOO_OLD;
  }

  #tell(address: HostAddress, reason: string): void {
    if (this.#hasTold) return;
    this.#hasTold = true;
    // Behind the connecting: the session that found out must have joined those who are told.
    setImmediate(() => {
      this.#coordinator.publish('commitTokenUnavailable', { host: hostKey(address), reason, cure: CURE });
    });
  }
}

function whyMissing(presence: TokenPresence, schema: string): string {
  switch (presence.kind) {
    case 'missing':
      return describeMissing(presence.missing, schema);
    case 'refused':
      return `the server refuses to tell what there is in its catalogue (${presence.code})`;
    case 'present':
      return '';
  }
}
