import type { CommitResolved } from '../../../src/events.ts';
import { HoldfastError, type HoldfastErrorKind, type Outcome } from '../../../src/errors.ts';

/** What the application may conclude from what it was told about one transaction. */
export type Told = 'committed' | 'absent' | 'unknown';

/** One transaction with an id of the application's own making, which is in every row that it writes. */
export class Entry {
  readonly id: string;
  /** Name of the script that made it. */
  readonly script: string;
  readonly session: number;
  /** The rows that are there if it is committed; those of a savepoint that was rolled back are not among them. */
  readonly parts: number[] = [];
  /** The row of `tally` that it has raised by one. */
  slot: number | null = null;
  /** The application has sent what ends the transaction. Before that it can't be there, whatever is said. */
  isEndSent = false;
  /** False with synchronous_commit=off: the server may forget it even after its answer. */
  isDurable = true;
  told: Told | null = null;
  /** What the driver found out about its COMMIT in doubt; null if the server's own answer came. */
  verdict: CommitResolved | null = null;
  /** When the application was told, by performance.now(). */
  toldAt = 0;
  /** Error or event that came with it. */
  words = '';
  #written = 0;

  constructor(id: string, script: string, session: number) {
    this.id = id;
    this.script = script;
    this.session = session;
  }

  /** The word is the driver's, not the old server's own. */
  get isResolvedAsCommitted(): boolean {
    return this.told === 'committed' && this.verdict?.outcome === 'committed';
  }

  /** The number of its next row. One that is not `kept` must never be seen. */
  nextPart(kept = true): number {
    const part = this.#written++;
    if (kept) this.parts.push(part);
    return part;
  }

  conclude(told: Told, words: string): void {
    if (this.told !== null) return;
    this.told = told;
    this.words = words;
    this.toldAt = performance.now();
  }
}

/** Everything that the application was told. */
export class Ledger {
  readonly entries: Entry[] = [];
  /** The driver's errors, in the order in which they came. */
  readonly errors: { readonly kind: HoldfastErrorKind; readonly words: string }[] = [];
  /** What no application should ever see. */
  readonly surprises: string[] = [];

  open(script: string, session: number): Entry {
    const entry = new Entry(`s${session}-${this.entries.length}`, script, session);
    this.entries.push(entry);
    return entry;
  }

  count(told: Told): number {
    return this.entries.filter((entry) => entry.told === told).length;
  }

  /** Notes an error, and what it says about the transaction in which it came. */
  failed(entry: Entry, error: unknown): void {
    const words = `${String(error)} ${codeOf(error)}`;
    if (error instanceof HoldfastError) {
      const when = `${entry.id} (${entry.script}${entry.isEndSent ? ', ending' : ''}) at ${performance.now().toFixed(0)}`;
      this.errors.push({ kind: error.kind, words: `${when}: ${words}` });
      if (entry.isEndSent) entry.conclude(TOLD[error.outcome], `${error.outcome}: ${words}`);
      else if (error.outcome === 'committed')
        this.surprises.push(`${entry.id} (${entry.script}) before its COMMIT: ${words}`);
    } else {
      this.surprises.push(`${entry.id} (${entry.script}): ${words}`);
    }
    entry.conclude(entry.isEndSent ? 'unknown' : 'absent', words);
  }
}

const TOLD = {
  committed: 'committed',
  unknown: 'unknown',
  'rolled-back': 'absent',
  'not-executed': 'absent',
} as const satisfies Record<Outcome, Told>;

function codeOf(error: unknown): string {
  const { code } = error as { readonly code?: unknown };
  return typeof code === 'string' ? code : '';
}
