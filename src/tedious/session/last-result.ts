import type { TdsUnit } from './tds-unit.ts';

/**
 * What a session's earlier statements have left in the server for later ones: `@@IDENTITY` and `SCOPE_IDENTITY()`, and
 * `@@ROWCOUNT` and `@@ERROR`. The driver's own statements change them, and a new server has none of them; nothing can set them. A
 * request that asks for what is gone is refused: a wrong answer would be worse.
 */
export class LastResult {
  #isIdentityLost = false;
  #isRowCountLost = false;
  /** The session has done something that leaves them. */
  #hasRun = false;

  /** Why a unit must not run; null if it may. */
  refusal({ analysis }: TdsUnit): string | null {
    const { asksForIdentity, asksForRowCount } = analysis;
    if (asksForIdentity && this.#isIdentityLost) {
      return 'it asks for the identity value of an earlier request, which a commit token or a failover has taken away: ask in the same request as the INSERT (OUTPUT inserted.id, SCOPE_IDENTITY()), or in its transaction';
    }
    if (asksForRowCount && this.#isRowCountLost) {
      return 'it asks for @@ROWCOUNT or @@ERROR of an earlier request, which a commit token or a failover has taken away: ask in the same request';
    }
    return null;
  }

  /** A unit of the application's has run. */
  ran({ form, request, analysis, errors }: TdsUnit): void {
    this.#hasRun ||= !analysis.isRepeatable;
    switch (form) {
      case 'wrapped':
        // Its COMMIT comes last, and its token came first.
        this.#isRowCountLost = true;
        // A call of the application's has a scope of its own anyway.
        if (request.kind !== 'statement' || !analysis.inserts) this.#isIdentityLost = true;
        return;
      case 'commit-batch':
        this.#isRowCountLost = false;
        this.#isIdentityLost = true;
        return;
      case 'plain':
        this.#isRowCountLost = false;
        if (analysis.inserts && errors.length === 0) this.#isIdentityLost = false;
    }
  }

  /** A token was written into the open transaction. */
  tokenWritten(): void {
    this.#isIdentityLost = true;
    this.#isRowCountLost = true;
  }

  /** The session goes on with another connection, on which the units of its open transaction have run again. */
  reconnected(replayed: readonly TdsUnit[]): void {
    if (!this.#hasRun) return;
    this.#isIdentityLost = true;
    this.#isRowCountLost = true;
    for (const unit of replayed) this.ran(unit);
  }
}
