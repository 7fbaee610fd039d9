import type { ErrorWords } from './transaction.ts';

/** What the server may say to any application that does such work: its transaction is in another one's way. */
const ORDINARY_CODES: readonly string[] = [
  '40001', // serialization_failure
  '40P01', // deadlock_detected
  '23514', // check_violation: the account would be overdrawn
];

export function toWords(error: unknown): ErrorWords {
  const { name, message, code, kind, outcome } = error as Partial<Record<keyof ErrorWords, unknown>>;
  const textOr = <T>(value: unknown, otherwise: T): string | T =>
    typeof value === 'string' ? value : otherwise;
  return {
    name: textOr(name, 'Error'),
    message: textOr(message, String(error)),
    code: textOr(code, null),
    kind: textOr(kind, null),
    outcome: textOr(outcome, null),
  };
}

/** Errors that the application would not have got from a server that lives, counted by what they are. */
export class ApplicationErrors {
  readonly #counts = new Map<
    string,
    { count: number; readonly example: string; readonly kind: string | null }
  >();

  /** @param where - for the report only */
  note(where: string, error: unknown): void {
    const { name, message, code, kind, outcome } = toWords(error);
    if (kind === null && code !== null && ORDINARY_CODES.includes(code)) return;
    const key = `${name} ${code ?? ''} (${outcome ?? 'no outcome'}) ${where}`;
    const entry = this.#counts.get(key);
    if (entry === undefined) this.#counts.set(key, { count: 1, example: message, kind });
    else entry.count++;
  }

  get total(): number {
    return [...this.#counts.values()].reduce((sum, { count }) => sum + count, 0);
  }

  /** One line for each sort, the most frequent first. */
  get lines(): string[] {
    return [...this.#counts]
      .sort(([, one], [, other]) => other.count - one.count)
      .map(([key, { count, example }]) => `${count} × ${key}: ${example}`);
  }

  /** Those that are never right. */
  get defects(): string[] {
    return [...this.#counts]
      .filter(([, { kind }]) => kind === 'internal' || kind === 'configuration')
      .map(([key, { example }]) => `${key}: ${example}`);
  }
}
