import type { TdsUnit } from './tds-unit.ts';

/**
 * What a session's earlier statements have left in the server for later ones: `@@IDENTITY`, `SCOPE_IDENTITY()`, and
 * `@@ROWCOUNT` with `@@ERROR`. The driver's own statements change them, and a new server has none of them; nothing can set them. A
 * request that asks for what is gone is refused: a wrong answer would be worse.
 */
export class LastResult {
  /** @@IDENTITY, which is the session's. */
  #isIdentityLost = false;
  /** SCOPE_IDENTITY() of batches; a call has a scope of its own, which begins without one. */
  #isScopeIdentityLost = false;
  #isRowCountLost = false;
  /** The session has done something that leaves the last of them. */
  #hasRun = false;
  /** The same of all of them. */
  #hasWritten = false;

  /** Why a unit must not run; null if it may. */
  refusal({ analysis }: TdsUnit): string | null {
    const { asksForIdentity, asksForScopeIdentity, asksForRowCount } = analysis;
    if ((asksForIdentity && this.#isIdentityLost) || (asksForScopeIdentity && this.#isScopeIdentityLost)) {
      return 'it asks for the identity value of an earlier request, which a commit token or a failover has taken away: ask in the same request as the INSERT (OUTPUT inserted.id, SCOPE_IDENTITY()), or in its transaction';
    }
    if (asksForRowCount && this.#isRowCountLost) {
      return 'it asks for @@ROWCOUNT or @@ERROR of an earlier request, which a commit token or a failover has taken away: ask in the same request';
    }
    return null;
  }

  /** A unit of the application's has run. */
  ran(unit: TdsUnit): void {
    const { form, request, analysis } = unit;
    this.#hasRun = true;
    this.#hasWritten ||= !analysis.isRepeatable;
    switch (form) {
      case 'wrapped':
        // Its COMMIT comes last.
        this.#isRowCountLost = true;
        // Its token came first: an INSERT behind it has left its own.
        if (!hasInserted(unit)) this.#isIdentityLost = true;
        // It went out as a call.
        if (request.kind === 'batch') this.#isScopeIdentityLost = true;
        return;
      case 'commit-batch':
        this.#isRowCountLost = false;
        this.#isIdentityLost = true;
        this.#isScopeIdentityLost = true;
        return;
      case 'plain':
        this.#isRowCountLost = false;
        this.#inserted(unit);
    }
  }

  /** A token was written into the open transaction. */
  tokenWritten(): void {
    this.#isIdentityLost = true;
    this.#isScopeIdentityLost = true;
    this.#isRowCountLost = true;
  }

  /** The session goes on with another connection, on which the units of its open transaction have run again. */
  reconnected(replayed: readonly TdsUnit[]): void {
    // Behind a replay the driver has set the lock timeout, which leaves 0 rows.
    if (this.#hasRun) this.#isRowCountLost = true;
    if (!this.#hasWritten) return;
    this.#isIdentityLost = true;
    this.#isScopeIdentityLost = true;
    for (const unit of replayed) this.#inserted(unit);
  }

  /** An INSERT leaves another identity value, be it none. */
  #inserted(unit: TdsUnit): void {
    if (!hasInserted(unit)) return;
    this.#isIdentityLost = false;
    if (unit.request.kind === 'batch') this.#isScopeIdentityLost = false;
  }
}

function hasInserted({ analysis, errors, isCancelled }: TdsUnit): boolean {
  return analysis.inserts && errors.length === 0 && !isCancelled;
}
