import type { SqlRunner } from '../sql-runner.ts';
import { expressionFacts } from './made-values.ts';
import { moveSequence } from './move-sequence.ts';
import type { StatementPins } from './pinning-input.ts';
import type { TableFacts } from './table-facts.ts';

/** The sequences that a journal has drawn from, by their object identifiers, and what `currval` must tell of them (A9). */
export class DrawnSequences {
  /** Sequence → why it could not be moved, null if it was. */
  readonly #moved = new Map<number, string | null>();
  /** Sequence → its last value in the session, where that was given and not drawn. */
  readonly #current = new Map<number, bigint>();
  #areSet = false;

  /** Moves sequences past what was drawn from them. */
  async move(drawn: ReadonlyMap<number, readonly bigint[]>, runner: SqlRunner): Promise<void> {
    for (const [oid, values] of drawn) this.#moved.set(oid, await moveSequence(oid, values, runner));
  }

  /** The transaction sets sequences itself: what is drawn behind that depends on it, and is drawn again. */
  setByTransaction(): void {
    this.#areSet = true;
  }

  /** Why values of the sequence must not be given; null if they may. */
  whyNotMoved(sequence: number | null): string | null {
    if (sequence === null) return 'its sequence is not found';
    if (this.#areSet) return 'its transaction sets sequences itself';
    const why = this.#moved.get(sequence);
    return why === undefined ? 'its sequence was made in the same transaction' : why;
  }

  /** The value that was given last in place of one that is drawn. */
  currentOf(sequence: number | null): bigint | undefined {
    return this.#current.get(sequence ?? 0);
  }

  /** Something runs that may draw from any of them. */
  forgetCurrent(): void {
    this.#current.clear();
  }

  /** The statement runs, pinned like that. */
  passed(
    pins: StatementPins,
    oidOf: (sequence: number | string) => number | null,
    tree: unknown,
    table: TableFacts | null,
  ): void {
    // What nobody sees through may have drawn as well.
    const isUnknown = pins.reason !== null && !pins.isPinned;
    const { unseen, hasNextval } = expressionFacts(tree);
    const isUnseen = unseen?.startsWith('it calls') === true || table?.hasTriggers === true;
    if (isUnknown || hasNextval || isUnseen) this.forgetCurrent();
    for (const sequence of pins.drawsFrom) this.#current.delete(oidOf(sequence) ?? 0);
    for (const { sequence, values } of pins.drawn) {
      const oid = oidOf(sequence) ?? 0;
      const last = values.at(-1);
      if (last === undefined || !pins.givesCurrent) this.#current.delete(oid);
      else this.#current.set(oid, last);
    }
  }
}
