import type { Transaction, Violation } from '../transaction.ts';
import { isSnapshotIsolated } from '../transaction.ts';
import type { Lists } from './list-reads.ts';

/**
 * What was acknowledged before a read was sent must be in its result: there is one primary, and everybody asks it. With
 * a snapshot the beginning of the transaction counts in place of the read.
 */
export function checkStaleReads(committed: Iterable<Transaction>, lists: Lists): Violation[] {
  const transactions = [...committed];
  const acknowledgedAt = new Map<number, number>();
  for (const { observations, status, endedAt } of transactions) {
    if (status !== 'ok') continue;
    for (const step of observations) if (step.kind === 'append') acknowledgedAt.set(step.value, endedAt);
  }
  // For each position: when the first one from there on was acknowledged. What stands before it was committed before.
  const earliest = new Map<number, number[]>();
  for (const [key, list] of lists) {
    const times = list.map((value) => acknowledgedAt.get(value) ?? Infinity);
    for (let index = times.length - 2; index >= 0; index--)
      times[index] = Math.min(times[index]!, times[index + 1]!);
    earliest.set(key, times);
  }
  const violations: Violation[] = [];
  for (const reader of transactions) {
    for (const step of reader.observations) {
      if (step.kind !== 'list-read') continue;
      const lookedAt = isSnapshotIsolated(reader) ? reader.beganAt : step.sentAt;
      const missing = earliest.get(step.key)?.[step.list.length];
      if (missing === undefined || missing >= lookedAt) continue;
      violations.push({
        rule: 'stale read',
        text:
          `${reader.marker} (${reader.isolation}) read [${step.list.join()}] from list ${step.key}, looking at it at ` +
          `${lookedAt.toFixed(1)}; what follows there was acknowledged at ${missing.toFixed(1)}`,
      });
    }
  }
  return violations;
}
