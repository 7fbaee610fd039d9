/** What the application was told about a transfer. */
export type Told = 'acknowledged' | 'failed' | 'unknown';

/** Everything that the application was told, to be held against the database in the end. */
export class Ledger {
  readonly #told = new Map<string, Told>();
  readonly #counts: Record<Told, number> = { acknowledged: 0, failed: 0, unknown: 0 };
  readonly #errors = new Map<string, number>();

  acknowledge(id: string): void {
    this.#record(id, 'acknowledged');
  }

  reject(id: string, error: unknown, commitWasSent: boolean): void {
    this.#record(id, toldBy(error, commitWasSent));
    const text = describe(error);
    this.#errors.set(text, (this.#errors.get(text) ?? 0) + 1);
  }

  get told(): ReadonlyMap<string, Told> {
    return this.#told;
  }

  get counts(): Readonly<Record<Told, number>> {
    return this.#counts;
  }

  /** Each different error and how often it came, the most frequent first. */
  get errors(): readonly (readonly [string, number])[] {
    return [...this.#errors].sort(([, a], [, b]) => b - a);
  }

  #record(id: string, told: Told): void {
    this.#told.set(id, told);
    this.#counts[told] += 1;
  }
}

interface ErrorFields {
  readonly outcome?: unknown;
  readonly code?: unknown;
  readonly severity?: unknown;
}

/** The driver's own errors say what became of the transaction; of pg's errors the application must know it itself. */
function toldBy(error: unknown, commitWasSent: boolean): Told {
  const { outcome, code, severity } = error as ErrorFields;
  if (outcome === 'committed') return 'acknowledged';
  if (outcome === 'unknown') return 'unknown';
  if (typeof outcome === 'string' || !commitWasSent) return 'failed';
  // An ERROR in answer to COMMIT means that it was rolled back. A lost connection, or its FATAL end, means nothing.
  return typeof code === 'string' && severity === 'ERROR' ? 'failed' : 'unknown';
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code } = error as ErrorFields;
  return `${error.name}${typeof code === 'string' ? ` ${code}` : ''}: ${error.message}`;
}
