import type { Transaction, Violation } from '../transaction.ts';
import { describe } from './exactly-once.ts';

/** An outcome that the driver gave up, by its event `commitResolved`. */
export interface UnknownResolution {
  readonly at: number;
  readonly reason: string;
}

export interface UnknownOptions {
  /** With tokens no outcome is unknown. */
  readonly allowed: boolean;
  readonly resolutions: readonly UnknownResolution[];
}

/**
 * Reasons of docs/concepts/commit-outcome.md that this workload can meet. The others would need a role or a cluster that
 * it does not have, or a COMMIT that is pipelined.
 */
const REASONS: readonly string[] = [
  'lineage-unproved',
  'status-unavailable',
  'server-in-recovery',
  'waiting-for-sync',
  'still-in-progress',
  'not-replicated',
  'no-answer',
];

/** An outcome may be unknown only where the documentation says so. */
export function checkUnknownOutcomes(
  history: readonly Transaction[],
  { allowed, resolutions }: UnknownOptions,
): Violation[] {
  return history.flatMap((transaction) => {
    const { status, autocommit, error, endSentAt, endedAt, end, effects } = transaction;
    if (status !== 'info') return [];
    const violation = (what: string): Violation[] => [
      { rule: 'unknown', text: `${describe(transaction)}: ${what}` },
    ];
    if (error?.kind !== 'outcome-unknown') return violation('this error leaves it open what became of it');
    if (!allowed) return violation('no outcome should be unknown in this mode');
    // R3: a write outside a transaction has no mark.
    if (autocommit) return [];
    // Nothing was written before, so there is no mark yet, and the string with its COMMIT might be the first that writes.
    if (end !== null && end.includes(';') && effects.length === 0) return [];
    const reasons = resolutions.filter(({ at }) => (endSentAt ?? Infinity) <= at && at <= endedAt + 1);
    if (reasons.some(({ reason }) => REASONS.includes(reason))) return [];
    const found = [...new Set(reasons.map(({ reason }) => reason))].join(', ');
    return violation(`the reason is none of those that are documented (${found === '' ? 'none' : found})`);
  });
}
