import type { ErrorWords, Isolation } from './transaction.ts';
import { isSnapshotIsolated } from './transaction.ts';

/** Only with a snapshot can another transaction have been in the way without a deadlock. */
const SERIALIZATION_FAILURE = '40001';
/** What the server may say to any application that does such work. */
const ORDINARY_CODES: readonly string[] = [
  '40P01', // deadlock_detected
  '23514', // check_violation: the account would be overdrawn
];

/** The driver's own errors that say what an application has to do, by `kind`. */
const TELLING_KINDS: readonly string[] = [
  'replay-diverged',
  'transaction-not-replayable',
  'result-lost',
  'outcome-unknown',
];
/** object_not_in_prerequisite_state: `currval`, behind a replayed INSERT that was given its old id. */
const CURRVAL = '55000';

/** True for what an application may meet at a failover; whether it is right there is for the checks to say. */
export function isExpected({ kind, code, message }: ErrorWords): boolean {
  return kind === null ? code === CURRVAL && message.startsWith('currval') : TELLING_KINDS.includes(kind);
}

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

function isOrdinary(code: string, isolation: Isolation): boolean {
  return (
    ORDINARY_CODES.includes(code) || (code === SERIALIZATION_FAILURE && isSnapshotIsolated({ isolation }))
  );
}

/** Errors that the application would not have got from a server that lives, counted by what they are. */
export class ApplicationErrors {
  readonly #counts = new Map<
    string,
    { count: number; readonly example: string; readonly isExpected: boolean }
  >();

  /**
   * @param where - for the report only
   * @param isolation - of the transaction whose error it is, if there is one
   */
  note(where: string, error: unknown, isolation: Isolation = 'READ COMMITTED'): void {
    const words = toWords(error);
    const { name, message, code, kind, outcome } = words;
    if (kind === null && code !== null && isOrdinary(code, isolation)) return;
    const key = `${name} ${code ?? ''} (${outcome ?? 'no outcome'}) ${where}`;
    const entry = this.#counts.get(key);
    if (entry === undefined)
      this.#counts.set(key, { count: 1, example: message, isExpected: isExpected(words) });
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

  /** Those that are never right: they leak what the driver is there to hide, or speak of its own faults. */
  get defects(): string[] {
    return [...this.#counts]
      .filter(([, entry]) => !entry.isExpected)
      .map(([key, { count, example }]) => `${count} × ${key}: ${example}`);
  }
}
