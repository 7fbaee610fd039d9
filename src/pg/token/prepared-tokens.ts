import type { PgUnit } from '../pg-unit.ts';
import { endedPrepared, preparedAs } from '../unit-facts.ts';

/** Prepared transactions whose tokens are remembered. */
const MAX_PREPARED = 1_000;

/**
 * Whose tokens the identifier of a prepared transaction stands for, as long as it does: who ends the transaction, over
 * whichever session, can then be told what became of that.
 */
export class PreparedTokens {
  readonly #keys = new Map<string, readonly Buffer[]>();

  /** A unit was answered: it may have prepared a transaction, or ended a prepared one. */
  completed(unit: PgUnit): void {
    const prepared = unit.committed ? preparedAs(unit) : null;
    if (prepared !== null && unit.token !== null) this.#add(prepared, unit.tokenKeys);
    else if (this.#keys.size > 0) {
      // Prepared no longer, or again by somebody else or without tokens: the name may mean another one.
      const identifier = prepared ?? (unit.error === null ? endedPrepared(unit)?.identifier : null);
      if (identifier !== null && identifier !== undefined) this.#keys.delete(identifier);
    }
  }

  /** Empty if this process has not prepared it, or has forgotten. */
  keysOf(identifier: string): readonly Buffer[] {
    return this.#keys.get(identifier) ?? [];
  }

  #add(identifier: string, keys: readonly Buffer[]): void {
    if (this.#keys.size >= MAX_PREPARED) this.#keys.clear();
    this.#keys.set(identifier, keys);
  }
}
